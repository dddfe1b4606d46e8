"""Making a report: predictions and tests in two processes beside this one, pages and figures here."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from plotting.figures.kinds import Request
from plotting.report import pairs
from plotting.report.config_table import config_rows
from plotting.report.curves import draw_curve
from plotting.report.figures import draw_all
from plotting.report.folder import replaced
from plotting.report.index import benchmark_list, board, index_data, stage_counts
from plotting.report.pages import Site, experiment_values
from plotting.report.predictions import Predictions, write_predictions
from plotting.report.scripts import write_data
from plotting.report.stages import stage_pages
from plotting.runs import Run
from plotting.scores import benchmarks_of
from registry.events import history_of
from registry.reading import View
from registry.store import Registry

_PROCESSES = 2


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
    step: Callable[[], object]

    @property
    def report(self) -> Path:
        return self.site.report


def make_report(opened: Registry, view: View, runs: Sequence[Run], out: Path) -> Made:
    """Write the report of these experiments to the folder `out`, in the place of an older one.

    Raises what `folder.replaced` raises; a file of predictions that cannot be read is a warning.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    with replaced(out) as report, _processes() as pool:
        made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        site = Site(report, made, opened.paths.file.name)
        with tqdm(total=2 * len(runs), desc="report", unit="step", file=sys.stderr, disable=None) as bar:
            try:
                predictions = _fill(_Work(opened, view, runs, site, pool, bar.update))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)  # nobody may write into a folder that is taken away
                raise
        sizes = [path.stat().st_size for path in report.rglob("*") if path.is_file()]
    return Made(len(sizes), sum(sizes), len(predictions.marks), predictions.torn)


def _processes() -> ProcessPoolExecutor:
    # Not forked: this process has threads by now. An interrupt is for this process, which ends the others.
    return ProcessPoolExecutor(
        _PROCESSES, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    )


def _fill(work: _Work) -> Predictions:
    runs, display = work.runs, work.opened.catalog.display
    sources = benchmarks_of(run.row for run in runs if run.row is not None)
    numbered = {source: number for number, source in enumerate(sources)}
    found = write_predictions(runs, numbered, work.report, work.pool, work.step)
    ranked = pairs.ranking(runs)
    untested = {
        key: why
        for key, reasons in ranked.items()
        if reasons is None and (why := pairs.untested(key, found.marks, found.absent)) is not None
    }
    keys = [key for key, reasons in ranked.items() if reasons is None and key not in untested]
    tests = [work.pool.submit(pairs.run_tests, task) for task in pairs.tasks(keys, found.marks)]

    benchmarks = benchmark_list(runs, display, found.n_questions)
    index = {"made": work.site.made, "registry": work.site.registry, **index_data(runs, benchmarks, found.absent)}
    write_data(work.report, "index", index)
    _pages(work, benchmarks, found)
    titles = {benchmark["key"]: benchmark["title"] for benchmark in benchmarks}
    _write_pairs(work, pairs.Comparisons(ranked, untested, _results(tests), titles))
    return found


def _results(tests: Sequence[Future[dict[pairs.Key, Any]]]) -> dict[pairs.Key, Any]:
    return {key: test for future in tests for key, test in future.result().items()}


def _write_pairs(work: _Work, comparisons: pairs.Comparisons) -> None:
    for name, content in comparisons.by_run(work.runs):
        write_data(work.report, f"pairs/{name}", content)


def _pages(work: _Work, benchmarks: Sequence[dict[str, Any]], found: Predictions) -> None:
    site, runs = work.site, work.runs
    site.copy_assets()
    counts = {
        "experiments": len(runs),
        "scored": sum(run.row is not None for run in runs),
        "with_predictions": len(found.marks),
    }
    site.write(
        "index",
        {
            "counts": counts,
            "stages": stage_counts(runs),
            "benchmarks": benchmarks,
            "board": board(runs),
            "warnings": found.torn,
        },
    )
    for page in ("compare", "predictions"):
        site.write(page, {"counts": counts})
    figures = list(draw_all(Request(runs, work.opened.catalog.display), work.report))
    site.write("figures", {"figures": figures})
    for run in runs:
        _experiment_page(work, run, found)
        work.step()


def _experiment_page(work: _Work, run: Run, found: Predictions) -> None:
    config = config_rows(work.opened, work.view, run)
    write_data(
        work.report, f"config/{run.experiment}", [[row["path"], row["content"], row["origin"]] for row in config]
    )
    log, curve = run.file("training", "log_path"), f"figures/curves/{run.experiment}.svg"
    drawn = log is not None and draw_curve(log, work.report / curve)
    history = history_of(work.view.state, run.experiment)
    values = experiment_values(run, history, found.failures.get(run.experiment, {}))
    values |= {
        "config": config,
        "stages": stage_pages(run, work.view.state),
        "curve": curve if drawn else "",
        "predictions": run.experiment in found.marks,
        "why_no_predictions": found.absent.get(run.experiment, ""),
    }
    work.site.write("experiment", values, f"experiments/{run.experiment}.html")
