"""The HTML report: how long it takes to make, how much memory and disk, and how fast its pages open in Chromium."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.compare.answers import make_exam
from benchmarks.compare.timing import HEADER, Goal, Ran, run_meds1
from benchmarks.parts import Report, Say
from benchmarks.registry.big_lab import make_big_lab, name_of
from registry.console import Grid
from registry.errors import StageFailure
from tests.browser import running, why_unavailable

ROUNDS = 3
SECONDS, MEGABYTES, OPEN_SECONDS = 60.0, 1_000.0, 2.0


@dataclass(frozen=True)
class Made:
    """A report that was made, and what that took; it is gone when `scratch` is."""

    scratch: tempfile.TemporaryDirectory[str]
    folder: Path
    experiments: int
    items: int
    ran: Ran


def measure_report(full: bool, say: Say) -> Report:
    """`meds1 report` of 10 experiments with 2,000 predictions each (full: of 50 with 8,000), once."""
    return described(_made(full, say))


def measure_open(full: bool, say: Say) -> Report:
    """The same report's first page and its browser of predictions, each in a newly started Chromium."""
    why = why_unavailable()
    return Report({"skipped": why}, (f"not run: {why}",)) if why else opened(_made(full, say), ROUNDS, say)


@cache
def _made(full: bool, say: Say) -> Made:
    """Both parts look at one report."""
    return make(50, 8_000, say) if full else make(10, 2_000, say)


def make(experiments: int, items: int, say: Say) -> Made:
    """Make a lab and its report, measured."""
    scratch = tempfile.TemporaryDirectory(prefix="meds1-report-")
    root = Path(scratch.name)
    say(f"preparing {experiments} experiments with {items} predictions each")
    exam = make_exam(items)
    lab = make_big_lab(root / "lab", root / "cache", experiments, exam.payload)
    lab.fold()
    say("report")
    ran = run_meds1(lab, root / "cache", "report", "--out", str(root / "report"), "--json")
    pages = len(list((root / "report" / "experiments").glob("*.html")))
    warnings = json.loads(ran.stdout)["warnings"]
    if pages != experiments or warnings:
        raise StageFailure(f"meds1 report made {pages} pages of {experiments} experiments, and said: {warnings}")
    return Made(scratch, root / "report", experiments, len(exam.items), ran)


def described(made: Made) -> Report:
    """Time, memory and size of a report."""
    files = [file.stat().st_size for file in made.folder.rglob("*") if file.is_file()]
    what = f"{made.experiments} experiments x {made.items:,} predictions"
    goals = [
        Goal(f"meds1 report, {what}", (made.ran.seconds,), SECONDS),
        Goal("  processor time in that", (made.ran.processor,)),
        Goal("  peak memory of its processes", (made.ran.megabytes,), MEGABYTES, "MB"),
        Goal(f"  folder of {len(files):,} files", (sum(files) / 1e6,), unit="MB"),
    ]
    data: dict[str, float] = {"experiments": made.experiments, "items": made.items, "bytes": sum(files)}
    data |= {"seconds": made.ran.seconds, "processor": made.ran.processor, "megabytes": made.ran.megabytes}
    return Report(data, (Grid(HEADER, [goal.row() for goal in goals], right=(1, 2, 3)),))


def opened(made: Made, rounds: int, say: Say) -> Report:
    """Seconds from asking for a page to what a reader came for: the table, and one answer in full."""
    asked = urlencode({"run": name_of(0), "benchmark": "exam-0", "item": 0})
    goals = []
    for what, address, selector in (
        ("first page, table shown", "index.html", "#leaderboard tbody tr"),
        ("browser of predictions, an answer shown", f"predictions.html#{asked}", "section.answered"),
    ):
        say(what)
        values = tuple(_seconds(made.folder, address, selector) for _ in range(rounds))
        goals.append(Goal(what, values, OPEN_SECONDS))
    data = {goal.what: goal.values for goal in goals}
    return Report(data, (Grid(HEADER, [goal.row() for goal in goals], right=(1, 2, 3)),))


def _seconds(folder: Path, address: str, selector: str) -> float:
    with running() as browser:
        page = browser.new_page()
        started = time.perf_counter()
        page.goto(f"{folder.as_uri()}/{address}")
        page.locator(selector).first.wait_for()
        return time.perf_counter() - started
