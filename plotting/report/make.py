"""Making a report: predictions and tests in two processes beside this one, pages and figures here."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from plotting.figures.kinds import KINDS, Request
from plotting.paired_tests import PairedTest
from plotting.report import pairs
from plotting.report.config_table import config_rows
from plotting.report.curves import curve_of, draw_curve
from plotting.report.figures import draw
from plotting.report.folder import replaced
from plotting.report.index import benchmark_list, index_data, leaderboard, stage_counts
from plotting.report.pages import Site, experiment_values, page_links
from plotting.report.predictions import Predictions, write_predictions
from plotting.report.scripts import write_data
from plotting.report.stages import stage_pages
from plotting.runs import Run
from plotting.scores import benchmarks_of
from registry.errors import StageFailure
from registry.events import history_of
from registry.progress import Progress
from registry.reading import View
from registry.store import Registry

log = logging.getLogger(__name__)
T = TypeVar("T")
_PROCESSES = 2
_MANY_TESTS = 10_000  # of 100 experiments on two benchmarks
_TEST_SECONDS = 1.2e-6  # for each answer, as measured


@dataclass(frozen=True)
class Made:
    """What was made: how many files and bytes, experiments with predictions, and what the user should know."""

    files: int
    size: int
    with_predictions: int
    warnings: Sequence[str]


@dataclass(frozen=True, eq=False)
class _Work:
    opened: Registry
    view: View
    runs: Sequence[Run]
    site: Site
    pool: Executor
    progress: Progress

    @property
    def report(self) -> Path:
        return self.site.report

    def step(self) -> None:
        """One more is done."""
        self.progress.advance()
        self.progress.tell()

    def result(self, future: Future[T]) -> T:
        """What another process made, a step."""
        result = future.result()
        self.step()
        return result


def make_report(opened: Registry, view: View, runs: Sequence[Run], out: Path) -> Made:
    """Write the report of these experiments to the folder `out`, in the place of an older one.

    Raises what `folder.replaced` raises; a file of predictions that cannot be read is a warning.
    """
    with replaced(out) as report, _processes() as pool:
        made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        site = Site(report, made, opened.paths.file.name)
        with Progress(2 * len(runs), "report", "step") as progress:
            try:
                predictions = _fill(_Work(opened, view, runs, site, pool, progress))
            except BrokenProcessPool:
                raise StageFailure(f"{out}: a process of the report was killed; is there enough memory?") from None
            except BaseException:
                _stop(pool)
                raise
        sizes = [path.stat().st_size for path in report.rglob("*") if path.is_file()]
    return Made(len(sizes), sum(sizes), len(predictions.marks), predictions.warnings)


def _processes() -> ProcessPoolExecutor:
    # Not forked: this process has threads by now. Begun at once, while interrupts are ignored, which they inherit: an
    # interrupt is this process's to answer, also while they still import.
    pool = ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn"), _serve)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(_PROCESSES):
            pool.submit(os.getpid)
    finally:
        signal.signal(signal.SIGINT, before)
    return pool


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the processes, whatever they do: nobody may write into a folder that is taken away."""
    for process in multiprocessing.active_children():
        process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)


def _serve() -> None:
    """In each process: end when the one that began it has ended, however it did."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _fill(work: _Work) -> Predictions:
    runs, display = work.runs, work.opened.catalog.display
    sources = benchmarks_of(run.row for run in runs if run.row is not None)
    numbered = {source: number for number, source in enumerate(sources)}
    found = write_predictions(runs, numbered, work.report, work.pool, work.step)

    curves = {run.experiment: work.pool.submit(draw_curve, *job) for run in runs if (job := _curve(work, run))}
    request = Request(runs, display)
    figures = [work.pool.submit(draw, kind, request, work.report) for kind in KINDS]
    work.progress.more(len(curves) + len(figures))
    reference = pairs.reference_of(runs, found.marks)
    found.warnings += [reference.reason] if reference else []
    standings = pairs.comparisons(runs, found.marks, found.absent, reference)
    tasks = pairs.tasks(standings, found.marks)
    _say_if_many(tasks)
    tests = [work.pool.submit(pairs.run_tests, task) for task in tasks]
    work.progress.more(len(tests))

    benchmarks = benchmark_list(runs, display)
    head = {"reference": asdict(reference) if reference else None}
    write_data(work.report, "index", {**head, **index_data(runs, benchmarks, found.absent)})
    _pages(work, found)
    for run in runs:
        curve = curves.get(run.experiment)
        _experiment_page(work, run, found, work.result(curve) if curve else "")
        work.step()
    work.site.write("figures", {"figures": [work.result(figure) for figure in figures]})
    results: dict[pairs.Key, PairedTest] = {}
    for future in tests:
        tested = work.result(future)
        results |= tested
    titles = {benchmark["key"]: benchmark["title"] for benchmark in benchmarks}
    for name, content in pairs.by_run(standings, results, runs, titles):
        write_data(work.report, f"pairs/{name}", content)
    return found


def _say_if_many(tasks: Sequence[pairs.Against]) -> None:
    count = sum(len(task.others) for task in tasks)
    if count > _MANY_TESTS:
        seconds = sum(len(task.others) * len(task.first.correct) for task in tasks) * _TEST_SECONDS / _PROCESSES
        log.info("%s paired tests take about %.0f s; name fewer experiments to be done sooner", f"{count:,}", seconds)


def _curve(work: _Work, run: Run) -> tuple[Path, Path] | None:
    log = run.file("training", "log_path")
    return None if log is None else (log, work.report / curve_of(run.experiment))


def _pages(work: _Work, found: Predictions) -> None:
    """The pages of all experiments, but for that of the figures."""
    site, runs = work.site, work.runs
    site.copy_assets()
    counts = {
        "experiments": len(runs),
        "scored": sum(run.row is not None for run in runs),
        "with_predictions": len(found.marks),
    }
    board = leaderboard(runs, work.opened.catalog.display)
    values = {"stages": stage_counts(runs), "board": board, "warnings": found.warnings}
    site.write("index", {"counts": counts, **values})
    for page in ("compare", "predictions"):
        site.write(page, {"counts": counts})


def _experiment_page(work: _Work, run: Run, found: Predictions, quantity: str) -> None:
    name = run.experiment
    config = config_rows(work.opened, work.view, run)
    write_data(work.report, f"config/{name}", [[row["path"], row["content"], row["origin"]] for row in config])
    history, stages = history_of(work.view.state, name), stage_pages(run, work.view.state)
    values = experiment_values(run, history, found.failures.get(name, {}), work.opened.catalog.display)
    values |= {
        "config": config,
        "stages": stages,
        "links": page_links(run, [stage["stage"] for stage in stages], name in found.marks),
        "curve": curve_of(name) if quantity else "",
        "quantity": quantity,
        "predictions": name in found.marks,
        "why_no_predictions": found.absent.get(name, ""),
    }
    work.site.write("experiment", values, f"experiments/{name}.html")
