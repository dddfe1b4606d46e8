"""A matrix of experiments like the original study's: every style, lists of styles, every perturbation, restored or not.

Each is a whole curation of made-up rows, as a catalog's experiments are, against a server in another process that gives
one row in five a bad answer first (`benchmarks.rewriting.writer`). All must come to their end with counts that add up.
Every perturbation is done to the same steps, so that these are paid for once.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise, product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, get_args

from benchmarks.curation.made_rows import make_model, make_rows
from benchmarks.parts import Report, Say
from registry.console import Grid
from registry.rewriting_schema import STYLE_NAMES, PerturbationName

ROWS: Final = 20
ROWS_OF_FULL: Final = 200
RATES: Final = (0.1, 0.5, 1.0)
LISTS: Final[tuple[tuple[str, ...], ...]] = (
    ("cot", "step"),
    ("cot", "qa"),
    ("step", "1-sentence"),
    ("nejmcr-qa", "nejmcr-reason"),
    ("nejmcr-qa", "nejmcr-reason", "nejmcr-clean"),
    ("nejmcr-transform", "step-evidence"),
)
Experiments = Mapping[str, Mapping[str, Any]]
_COUNTED: Final = ("accepted", "repaired", "unchanged", "given_up")


def experiments() -> dict[str, dict[str, Any]]:
    """What the curation of each experiment says of rewriting, by name."""
    found: dict[str, dict[str, Any]] = {style: {"extract": style} for style in STYLE_NAMES}
    found |= {" + ".join(styles): {"extract": list(styles)} for styles in LISTS}
    for kind, rate, restore in product(get_args(PerturbationName), RATES, (False, True)):
        name = f"{kind} {rate:g}{' + restore' if restore else ''}"
        perturbation = {"type": kind, "rate": rate}
        found[name] = {"extract": "step", "perturbation": perturbation, "restore": restore}
    return found


def measure_matrix(full: bool, say: Say) -> Report:
    """All experiments on 20 rows (full: 200)."""
    with tempfile.TemporaryDirectory(prefix="meds1-matrix-") as scratch:
        return matrix(Path(scratch), experiments(), ROWS_OF_FULL if full else ROWS, say)


def matrix(folder: Path, chosen: Experiments, count: int, say: Say) -> Report:
    """Run the chosen experiments on `count` made-up rows, and hold their counts together."""
    model = make_model(folder / "model")
    rows = list(make_rows(count * 2, seed=0))[:count]
    found: dict[str, dict[str, Any]] = {}
    with _server() as (url, asked):
        for number, (name, rewriting) in enumerate(chosen.items(), start=1):
            say(f"matrix: {number} of {len(chosen)}: {name}")
            before, start = asked(), time.perf_counter()
            metrics = _curated(folder / f"run-{number}", model, url, rows, rewriting)
            seconds = time.perf_counter() - start
            found[name] = {"seconds": seconds, "calls": asked() - before, **metrics, "sound": adds_up(metrics)}
    grid = Grid(
        ["experiment", "rows in", "accepted", "repaired", "unchanged", "given up", "rows out", "calls", ""],
        [line for name, each in found.items() for line in _lines(name, each)],
        title=f"{len(found)} experiments in {sum(each['seconds'] for each in found.values()):.0f} s",
        right=(1, 2, 3, 4, 5, 6, 7),
    )
    return Report({"experiments": found}, (grid,), all(each["sound"] for each in found.values()))


def _curated(
    folder: Path, model: Path, url: str, rows: Sequence[Mapping[str, Any]], rewriting: Mapping[str, Any]
) -> dict[str, Any]:
    from curation.stage import run
    from tests.rewriting_stage import rewriting_context

    metrics = run(rewriting_context(folder, model, url, rows, **rewriting)).metrics
    return {name: metrics[name] for name in ("funnel", "rewriting", "reasons", "n_train", "n_validation")}


def adds_up(metrics: Mapping[str, Any]) -> bool:
    """Whether every row that was chosen is trained on or was given up once, with a reason, in every count."""
    funnel, counts = metrics["funnel"], metrics["rewriting"]
    lost = sum(count["given_up"] for count in counts)
    left = [funnel["after_selection"], *(count["rows"] - count["given_up"] for count in counts)]
    return (
        all(count["rows"] == sum(count[name] for name in _COUNTED) for count in counts)
        and all(count["given_up"] == sum(count["reasons"].values()) for count in counts)
        and [count["rows"] for count in counts] == left[:-1]
        and left[-1] == funnel["after_rewriting"] == metrics["n_train"] + metrics["n_validation"]
        and sum(metrics["reasons"].get("rewriting", {}).values()) == lost
        and all(before >= after for before, after in pairwise(left))
    )


def _lines(name: str, found: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line for each rewriting; the experiment's own numbers are on the first."""
    for place, count in enumerate(found["rewriting"]):
        numbers = [str(count[field]) for field in ("rows", *_COUNTED)]
        left = str(count["rows"] - count["given_up"])
        calls = "" if place else str(found["calls"])
        verdict = "" if found["sound"] or place else "MISSED"
        title = name if len(found["rewriting"]) == 1 else (f"{name}: " if not place else "    ") + count["name"]
        yield [title, *numbers, left, calls, verdict]


@contextmanager
def _server() -> Iterator[tuple[str, Any]]:
    """A server in another process: its URL, and what tells how many requests it has got so far."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(its,), daemon=True)
    process.start()

    def asked() -> int:
        ours.send("how many")
        return int(ours.recv())

    try:
        yield str(ours.recv()), asked
    finally:
        ours.send("end")
        process.join()


def _serve(pipe: Connection) -> None:
    from tests.faulty_server import serving
    from tests.rewriting_stage import writing

    with serving(writing) as server:
        pipe.send(server.url)
        while pipe.recv() != "end":
            pipe.send(len(server.bodies))
