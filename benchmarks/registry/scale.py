"""How long a fold, `meds1 status`, `meds1 list` and `meds1 --help` take with 1,000 experiments and 10,000 records."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clock import seconds_of
from benchmarks.registry.big_lab import EXPERIMENTS, RECORDS_EACH, make_big_lab, make_stale, name_of, one_more
from registry.errors import StageFailure
from registry.paths import CHECKOUT
from registry.schema import STAGES
from registry.store import Registry


@dataclass(frozen=True)
class Timed:
    """One thing, done several times; seconds. `limit` is what issue 3 asks for, for the median on an idle machine."""

    what: str
    seconds: tuple[float, ...]
    limit: float | None = None

    @property
    def median(self) -> float:
        """Half of the times are at most this long."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Scale:
    """All times, and the bytes of what the lab consists of."""

    times: tuple[Timed, ...]
    sizes: Mapping[str, int]


def measure_scale(repeats: int, say: Callable[[str], None], experiments: int = EXPERIMENTS) -> Scale:
    """Prepare the lab in a temporary folder and time each thing `repeats` times; `say` is told what is being done."""
    with tempfile.TemporaryDirectory(prefix="meds1-scale-") as name:
        folder = Path(name)
        cache = folder / "cache"
        with _environment(CACHE_DIR=str(cache), MED_S1K_OUTPUT=str(folder / "output"), VIRTUAL_ENV=sys.prefix):
            say(f"preparing {experiments} experiments with {experiments * RECORDS_EACH} records")
            lab = make_big_lab(folder / "lab", cache, experiments)
            say("folds")
            times = [*_folds(lab, cache, repeats, experiments)]
            stale = make_stale(lab)
            lab.fold()
            say("commands")
            times += _commands(lab, repeats, experiments, stale)
            return Scale(tuple(times), _sizes(lab))


def _folds(lab: Registry, cache: Path, repeats: int, experiments: int) -> Iterator[Timed]:
    yield Timed("first fold of all records", (seconds_of(lambda: _fold(lab, experiments * RECORDS_EACH)),))
    adding = []
    for i in range(repeats):
        record = one_more(lab, name_of(i * 37 % experiments), cache)
        lab.save(record)
        adding.append(seconds_of(lambda: _fold(lab, 1)))
    yield Timed("fold that adds one result", tuple(adding), 1.0)
    yield Timed("fold with nothing to do", tuple(seconds_of(lambda: _fold(lab, 0)) for _ in range(repeats)))
    yield Timed("read", tuple(seconds_of(lab.read) for _ in range(repeats)))


def _fold(lab: Registry, expected: int) -> None:
    report = lab.fold()
    if report.skipped or report.warnings or report.applied != expected:
        raise StageFailure(f"the fold of {expected} records said {report}: its time means nothing")


def _commands(lab: Registry, repeats: int, experiments: int, stale: int) -> Iterator[Timed]:
    _check_status(lab, experiments, stale)
    for arguments, limit in ((("status",), 1.0), (("list",), None), (("--help",), 0.2)):
        of_lab = () if arguments == ("--help",) else ("--registry", str(lab.paths.file))
        seconds = tuple(seconds_of(lambda: _meds1(*arguments, *of_lab)) for _ in range(repeats))  # noqa: B023
        yield Timed(f"meds1 {' '.join(arguments)}", seconds, limit)
    bare = [sys.executable, "-c", "pass"]
    yield Timed("python alone", tuple(seconds_of(lambda: subprocess.run(bare, check=True)) for _ in range(repeats)))


def _check_status(lab: Registry, experiments: int, stale: int) -> None:
    """A fast answer that is wrong is worth nothing."""
    said = json.loads(_meds1("status", "--json", "--registry", str(lab.paths.file)))["data"]
    words = [[stages[stage]["status"] for stage in STAGES] for stages in said.values()]
    if words.count(["stale"] * 3) != stale or words.count(["completed"] * 3) != experiments - stale:
        raise StageFailure(f"of {experiments} experiments {stale} are stale; `meds1 status` says something else")


def _meds1(*arguments: str) -> bytes:
    done = subprocess.run([CHECKOUT / "bin" / "meds1", *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        raise StageFailure(f"meds1 {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout


def _sizes(lab: Registry) -> dict[str, int]:
    records = [entry.stat().st_size for entry in os.scandir(lab.paths.applied)]
    return {
        "results.json": lab.paths.file.stat().st_size,
        **{path.name: path.stat().st_size for path in sorted(lab.paths.root.iterdir()) if path.is_file()},
        f"{len(records)} records": sum(records),
    }


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
