"""What stands on the first page and in `data/index.js`: counts, the leaderboard, and what the browser's views need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

from plotting.leaderboard import board_of, cells_of, headings
from plotting.metrics import ACCURACY, metric_of, tells
from plotting.report.answers import CHUNK
from plotting.runs import Run
from plotting.scores import Row, benchmarks_of
from registry.catalog import Display
from registry.schema import STAGES


def benchmark_list(runs: Sequence[Run], display: Display) -> list[dict[str, Any]]:
    """The benchmarks in the order of their numbers."""
    return [
        {"key": source, "title": display.benchmarks.get(source, source), "headline": ACCURACY, "chunk": CHUNK}
        for source in benchmarks_of(_scored(runs))
    ]


def index_data(
    runs: Sequence[Run], benchmarks: Sequence[Mapping[str, Any]], absent: Mapping[str, str]
) -> dict[str, Any]:
    """The content of `data/index.js`; `absent` says by experiment why its predictions are not in the report."""
    scores = [score.measures() for row in _scored(runs) for score in row.scores.values()]
    measured = {name for score in scores for name in score if tells(name, [score])}
    metrics = [metric_of(name) for name in sorted(measured, key=lambda name: (name != ACCURACY, name))]
    return {
        "benchmarks": benchmarks,
        "metrics": [{**asdict(metric), "heading": metric.heading} for metric in metrics],
        "experiments": [_experiment(run, absent) for run in runs],
    }


def leaderboard(runs: Sequence[Run], display: Display) -> dict[str, Any]:
    """The leaderboard by accuracy: caption, headings and rows; those without scores come last."""
    board = board_of(_scored(runs))
    by_name = {run.experiment: run for run in runs}
    rows = []
    for row in board.rows:
        own = board.cells[row.experiment]
        values = [own[source].value if source in own else None for source in board.benchmarks]
        if board.averages:
            average = board.averages.get(row.experiment)
            values.append(average.value if average else None)
        flags = ["; ".join(row.scores[source].flags) if source in row.scores else "" for source in board.benchmarks]
        cells = zip_longest(cells_of(board, row), values, flags, fillvalue="")
        rows.append(_row(by_name[row.experiment], list(cells), row.remark))
    columns = headings(board, display)
    rows += [_row(run, [("-", None, "")] * len(columns), remark_of(run)) for run in runs if run.row is None]
    keys = [(f"b{number}", source) for number, source in enumerate(board.benchmarks)]
    return {
        "caption": board.caption,
        "rule": board.macro_rule(display) if board.averages else "",
        "columns": list(zip_longest(columns, keys, fillvalue=("macro", ""))),
        "rows": rows,
    }


def _row(run: Run, cells: list[tuple[Any, ...]], remark: str) -> dict[str, Any]:
    return {"run": run, "tags": run.body.get("tags") or [], "cells": cells, "remark": remark}


def stage_counts(runs: Sequence[Run]) -> dict[str, dict[str, int]]:
    """How many experiments are in which state, by stage."""
    return {stage: dict(Counter(run.statuses[stage].status for run in runs).most_common()) for stage in STAGES}


def remark_of(run: Run) -> str:
    """What must be known before its scores are compared, or why it has none."""
    return run.row.remark if run.row else str(run.why_unscored or "")


def _scored(runs: Sequence[Run]) -> list[Row]:
    return [run.row for run in runs if run.row is not None]


def _experiment(run: Run, absent: Mapping[str, str]) -> dict[str, Any]:
    row = run.row
    scores = {
        source: {
            "measures": {name: [m.value, m.low, m.high, m.n] for name, m in score.measures().items()},
        }
        for source, score in (row.scores.items() if row else ())
    }
    return {
        "name": run.experiment,
        "label": run.label,
        "remark": remark_of(run),
        "predictions": run.experiment not in absent,
        "why_no_predictions": absent.get(run.experiment, ""),
        "scores": scores,
    }
