"""The commands that read results: the leaderboard of a big lab, and the comparison of two runs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.compare.answers import make_exam
from benchmarks.compare.timing import HEADER, Goal, run_meds1, times
from benchmarks.parts import Report, Say
from benchmarks.registry.big_lab import EXPERIMENTS, RECORDS_EACH, make_big_lab, name_of
from registry.console import Grid
from registry.errors import StageFailure

ROUNDS = 3
ITEMS, RESAMPLES = 8_262, 10_000
LEADERBOARD_SECONDS, COMPARE_SECONDS = 1.5, 2.0


def measure_leaderboard(full: bool, say: Say) -> Report:
    """`meds1 leaderboard` of 1,000 experiments with 10,000 records, which the last fold has seen."""
    return leaderboard(EXPERIMENTS, ROUNDS, say)


def measure_compare(full: bool, say: Say) -> Report:
    """`meds1 compare` of two runs of 8,262 items, whose predictions are files of some 25 MB."""
    return compare(ITEMS, ROUNDS, say)


def leaderboard(experiments: int, rounds: int, say: Say) -> Report:
    """The leaderboard of so many experiments; each has to have a row."""
    with tempfile.TemporaryDirectory(prefix="meds1-leaderboard-") as name:
        folder, cache = Path(name), Path(name) / "cache"
        say(f"preparing {experiments} experiments with {experiments * RECORDS_EACH} records")
        lab = make_big_lab(folder / "lab", cache, experiments)
        lab.fold()
        rows = json.loads(run_meds1(lab, cache, "leaderboard", "--json").stdout)["data"]
        if len(rows) != experiments:
            raise StageFailure(f"meds1 leaderboard has {len(rows)} rows where {experiments} experiments have results")
        goal = Goal("meds1 leaderboard", times(rounds, lab, cache, ["leaderboard"]), LEADERBOARD_SECONDS)
        bare = Goal("meds1 --help", times(rounds, lab, cache, ["--help"]))
    data = {"experiments": experiments, "seconds": goal.values, "limit": goal.limit}
    return Report(data, (Grid(HEADER, [goal.row(), bare.row()], right=(1, 2, 3)),))


def compare(items: int, rounds: int, say: Say) -> Report:
    """The comparison of two runs of so many items; every benchmark has to be tested on all of its items."""
    with tempfile.TemporaryDirectory(prefix="meds1-compare-") as name:
        folder, cache = Path(name), Path(name) / "cache"
        say(f"preparing two runs of {items} items")
        exam = make_exam(items)
        lab = make_big_lab(folder / "lab", cache, 2, exam.payload)
        lab.fold()
        arguments = ["compare", name_of(0), name_of(1), "--resamples", str(RESAMPLES)]
        said = run_meds1(lab, cache, *arguments, "--json").stdout
        tested = sum(test["n"] for test in json.loads(said)["data"]["tests"])
        if tested != len(exam.items):
            raise StageFailure(f"meds1 compare has tested {tested} of {len(exam.items)} items")
        goal = Goal(f"meds1 compare, {items:,} items", times(rounds, lab, cache, arguments), COMPARE_SECONDS)
        size = sum(file.stat().st_size for file in cache.rglob("eval_predictions.jsonl")) / 2e6
    data = {"items": items, "resamples": RESAMPLES, "seconds": goal.values, "limit": goal.limit}
    return Report(data, (Grid(HEADER, [goal.row()], right=(1, 2, 3)), f"{size:.0f} MB of predictions in each run"))
