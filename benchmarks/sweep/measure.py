"""Submit a sweep to a throw-away Slurm and look at it: seconds, and calls of Slurm's commands."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.clock import seconds_of
from benchmarks.sweep.counted import calls_since_asked, counted
from registry.errors import MissingError, StageFailure
from registry.schema import STAGES
from tests.cluster import throwaway
from tests.lab import CHECKOUT, Lab, lab_environment
from tests.quick_lab import HELD, quick_config
from tests.small_lab import make_weights, write_json
from tests.stages import record, write_jsonl

Say = Callable[[str], None]
ONE_QUERY = {"squeue": 1, "sacct": 1}


@dataclass(frozen=True)
class Wish:
    """How many experiments are in the sweep, how many are submitted job by job, and how often one looks at them."""

    experiments: int = 1_000
    singles: int = 50
    repeats: int = 5


@dataclass(frozen=True)
class Figure:
    """One thing, done once or several times: its seconds, and the most calls of each command of Slurm.

    `jobs` is how many it submitted. `limit` and `most` are what issue 4 asks for of 1,000 experiments.
    """

    what: str
    jobs: int
    seconds: tuple[float, ...]
    calls: Mapping[str, int]
    limit: float | None = None
    most: Mapping[str, int] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Half of the times are at most this long."""
        return statistics.median(self.seconds)

    @property
    def few_calls(self) -> bool:
        """Whether no command was called more often than it may be."""
        return all(self.calls.get(command, 0) <= most for command, most in self.most.items())


def measure(wish: Wish, say: Say) -> list[Figure]:
    """Measure on a cluster of its own; `StageFailure` when what was to be measured has not come about."""
    reason = throwaway.why_unavailable()
    if reason is not None:
        raise MissingError(reason)
    say("starting a cluster")
    with throwaway.fresh() as cluster, tempfile.TemporaryDirectory(prefix="meds1-sweep-") as folder, _on(cluster):
        lab = counted(make_sweep_lab(Path(folder, "sweep"), wish.experiments))
        figures = [_submit(lab, wish, say), *_singles(Path(folder, "singles"), wish, say)]
        figures += _look(lab, wish, "submitted", "status", say)
        if cluster.accounting:
            _forget_all_jobs(cluster, say)
            (figure, _) = _look(lab, wish, "cancelled", "status of jobs that only accounting knows", say)
            figures.append(figure)
        return figures


def make_sweep_lab(folder: Path, experiments: int) -> Lab:
    """A lab of experiments that differ in the seed of their curation; its jobs wait for tomorrow."""
    make_weights(folder / "model")
    write_jsonl(folder / "train.jsonl", [record(number) for number in range(8)])
    write_jsonl(folder / "held-out.jsonl", [record(100 + number) for number in range(4)])
    catalog = {
        "models": {"tiny": {"file_path": "model", "max_length": 256}},
        "train_datasets": {"train": {"file_path": "train.jsonl"}},
        "eval_datasets": {"held-out": {"file_path": "held-out.jsonl"}},
        "slurm": HELD,
    }
    write_json(folder / "config.json", catalog)
    bodies = {f"e{number:04d}": {"config": quick_config(number)} for number in range(experiments)}
    write_json(folder / "results.json", {"format": 1, "experiments": bodies})
    return Lab(folder, lab_environment(folder))


def _submit(lab: Lab, wish: Wish, say: Say) -> Figure:
    say(f"submitting {wish.experiments} experiments by one command")
    calls_since_asked(lab)
    seconds = seconds_of(lambda: _meds1(lab, "submit", "--all"))
    calls = calls_since_asked(lab)
    waiting = _in_queue()
    if waiting != 3 * wish.experiments:
        raise StageFailure(f"{waiting} jobs are in the queue, not {3 * wish.experiments}: the time means nothing")
    return Figure(f"meds1 submit --all: {waiting:,} jobs", waiting, (seconds,), calls, 10.0, {"sbatch": 6})


def _singles(folder: Path, wish: Wish, say: Say) -> Iterator[Figure]:
    """Submit some experiments of a lab that is like the other, one by one: by our command, and by submitit alone."""
    lab = counted(make_sweep_lab(folder, wish.experiments))
    loop = f'for name in $(seq -f "e%04g" 0 {wish.singles - 1}); do "$0" submit "$name" >/dev/null || exit; done'
    submitit = [sys.executable, "-m", "benchmarks.sweep.singles", str(lab.folder / "singles"), str(wish.singles)]
    for what, command in (
        ("meds1 submit NAME, again and again", ["bash", "-c", loop, str(lab.code / "bin" / "meds1")]),
        ("submitit, job by job", [*submitit, "pause"]),
        ("submitit, job by job without its pause", submitit),
    ):
        say(f"submitting {wish.singles} experiments: {what}")
        before = _in_queue()
        calls_since_asked(lab)
        seconds = seconds_of(lambda: _run(lab, command))  # noqa: B023
        new = _in_queue() - before
        if new != 3 * wish.singles:
            raise StageFailure(f"{new} jobs came into the queue, not {3 * wish.singles}: the time means nothing")
        yield Figure(f"{what}: {new:,} jobs", new, (seconds,), calls_since_asked(lab))


def _look(lab: Lab, wish: Wish, word: str, what: str, say: Say) -> list[Figure]:
    """Look when nobody has asked Slurm yet, and again within seconds."""
    say(f"looking at them {wish.repeats} times")
    cold: list[tuple[float, Counter[str]]] = []
    shared: list[tuple[float, Counter[str]]] = []
    for _ in range(wish.repeats):
        (lab.folder / ".registry" / "queue.json").unlink(missing_ok=True)
        for times in (cold, shared):
            calls_since_asked(lab)
            start = time.perf_counter()
            said = _meds1(lab, "status")
            times.append((time.perf_counter() - start, calls_since_asked(lab)))
            expected = "; ".join(f"{stage}: {wish.experiments} {word}" for stage in STAGES)
            if expected not in said:
                raise StageFailure(f"`meds1 status` does not say {expected!r} but ends with {said[-300:]!r}")
    return [
        _looked(f"{what}, nobody has asked yet", cold, ONE_QUERY),
        _looked(f"{what}, asked a moment ago", shared, {"squeue": 0, "sacct": 0}),
    ]


def _looked(what: str, times: list[tuple[float, Counter[str]]], most: Mapping[str, int]) -> Figure:
    calls: Counter[str] = Counter()
    for _, own in times:
        calls |= own
    return Figure(what, 0, tuple(seconds for seconds, _ in times), calls, 1.5, most)


def _forget_all_jobs(cluster: throwaway.Cluster, say: Say) -> None:
    """Cancel all jobs and take them from Slurm's memory, as MinJobAge does after minutes."""
    say("letting Slurm forget the jobs")
    calls = set(_output(["squeue", "--noheader", "--format=%F"]).split())  # %F: one id for all elements of an array
    subprocess.run(["scancel", "--user", "root"], check=True)
    end = time.monotonic() + 120
    while not calls <= _cancelled(calls):
        if time.monotonic() > end:
            raise StageFailure("accounting does not learn that the jobs are cancelled")
        time.sleep(0.5)
    with throwaway.controller_down(cluster):
        shutil.rmtree(cluster.conf.parent / "state")
        (cluster.conf.parent / "state").mkdir()
    if _in_queue():
        raise StageFailure("Slurm still knows the jobs")


def _cancelled(calls: Iterable[str]) -> set[str]:
    """Which of these jobs and arrays accounting knows as cancelled."""
    command = ["sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={','.join(calls)}"]
    command += ["--format=JobID,State"]
    fields = (line.split("|") for line in _output(command).splitlines())
    return {job.partition("_")[0] for job, word in fields if word.startswith("CANCELLED")}


def _in_queue() -> int:
    return len(_output(["squeue", "--noheader", "--array", "--format=%i"]).split())


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _meds1(lab: Lab, *arguments: str) -> str:
    return _run(lab, [str(lab.code / "bin" / "meds1"), *arguments])


def _run(lab: Lab, command: list[str]) -> str:
    done = subprocess.run(command, cwd=CHECKOUT, env=dict(lab.environment), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StageFailure(f"{' '.join(command)}: {done.stderr.strip()[-1000:]}")
    return done.stdout


@contextmanager
def _on(cluster: throwaway.Cluster) -> Iterator[None]:
    """Let SLURM_CONF name the cluster."""
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(cluster.conf)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
