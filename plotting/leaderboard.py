"""The leaderboard: one row per experiment, one column per benchmark, each with its 95 % interval."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from plotting.comparability import asked, judge_of, place_of_most
from plotting.metrics import ACCURACY, Measure, Metric, metric_of
from plotting.scores import Row, benchmarks_of, chosen_benchmarks, chosen_metric, row_of
from registry.catalog import Display
from registry.console import Answer, Grid
from registry.errors import Meds1Error, MissingError, UsageError
from registry.fingerprint import changed_fields
from registry.options import say
from registry.reading import View
from registry.store import Registry, results_of
from scoring.intervals import interval_of_mean

_MEASURE = tuple(field.name for field in fields(Measure))


@dataclass(frozen=True)
class Board:
    """Experiments, best first, by a metric on some benchmarks.

    `cells` are the values by experiment and benchmark; `sizes` what most values of a benchmark are out of. `shared` are
    the benchmarks of the macro average: the mean over them, which only experiments with all of them have (in
    `averages`), so that no two of one table are of different benchmarks. They are those that were asked for, else those
    that more than half of the experiments have; there is no such average of fewer than two. It has an interval where
    all of them have, as of independent benchmarks. `without` are experiments that have the metric on no benchmark.
    """

    metric: Metric
    benchmarks: Sequence[str]
    shared: Sequence[str]
    rows: Sequence[Row]
    cells: Mapping[str, Mapping[str, Measure]]
    averages: Mapping[str, Measure]
    sizes: Mapping[str, str]
    without: Sequence[Row]

    @property
    def caption(self) -> str:
        """What the table shows, in a sentence or two."""
        order = {"higher": "", "lower": " (lower is better)", None: " (neither way is better)"}[self.metric.better]
        interval = any(cell.low is not None for cells in self.cells.values() for cell in cells.values())
        return f"{self.metric.heading}{order}{' with 95 % interval' if interval else ''}"

    def macro_rule(self, display: Display) -> str:
        """What the macro average is over."""
        names = ", ".join(display.benchmarks.get(source, source) for source in self.shared)
        sure = any(average.low is not None for average in self.averages.values())
        independent = "; its interval takes the benchmarks as independent" if sure else ""
        return f"macro: mean over {names}; only for experiments that have them all{independent}"


def rows_of(opened: Registry, view: View, selected: list[str], answer: Answer, names: list[str] | None) -> list[Row]:
    """The comparable rows; what keeps an experiment out is an error when it was named, else a warning."""
    rows = []
    for name in selected:
        try:
            status = opened.statuses(view, name)["eval"]
            rows.append(row_of(name, results_of(view, name), status, opened.catalog.display))
        except Meds1Error as error:
            say(answer, name, error, names)
    return rows


def board_of(rows: Sequence[Row], benchmarks: Sequence[str] = (), metric: str = ACCURACY) -> Board:
    """The leaderboard of some rows; `UsageError` for a benchmark that none has, or a metric that none has there."""
    chosen, found = chosen_benchmarks(rows, benchmarks), chosen_metric(rows, metric) if rows else metric_of(metric)
    cells = {row.experiment: _cells(row, chosen, metric) for row in rows}
    if not benchmarks:
        chosen = [source for source in chosen if any(source in own for own in cells.values())]
    having = [row for row in rows if cells[row.experiment]]
    if rows and not having:
        raise UsageError(f"--metric {metric}: no result has it on {', '.join(chosen)}")
    shared = chosen if benchmarks else _of_most([cells[row.experiment] for row in having], chosen)
    complete = {row.experiment for row in having if all(source in cells[row.experiment] for source in shared)}
    means = {
        row.experiment: _mean(cells[row.experiment], (shared if row.experiment in complete else ()) or chosen)
        for row in having
    }

    def place(row: Row) -> tuple[bool, bool, float, str]:
        name = row.experiment
        return (not row.comparable, name not in complete, found.order(means[name].value), name)

    averages = {name: means[name] for name in complete} if len(shared) > 1 else {}
    without = [row for row in rows if not cells[row.experiment]]
    counted = {source: Counter(own[source].size for own in cells.values() if source in own) for source in chosen}
    sizes = {source: sizes.most_common(1)[0][0] for source, sizes in counted.items() if sizes}
    told = _told(having, cells, found)
    return Board(found, chosen, shared, sorted(told, key=place), cells, averages, sizes, without)


def _told(rows: Sequence[Row], cells: Mapping[str, Mapping[str, Measure]], metric: Metric) -> list[Row]:
    """The rows, of which those say so that were asked in another way than most, or judged by another judge.

    Where no way is that of most, the first of the most common ones is named. What is marked already is left out.
    """
    remarks: dict[tuple[str, str], dict[str, None]] = {}
    for source in benchmarks_of(rows):
        having = [row for row in rows if row.comparable and row.inputs and source in cells[row.experiment]]
        ways = [{**asked(row.inputs, source), **_judge(row, metric)} for row in having]
        if not having:
            continue
        place = place_of_most([json.dumps(way, sort_keys=True) for way in ways])
        whom = "most" if 2 * ways.count(ways[place]) > len(ways) else having[place].experiment
        for row, way in zip(having, ways, strict=True):
            if way != ways[place]:  # which costs less than to name what differs
                changes = changed_fields(ways[place], way)
                remarks.setdefault((row.experiment, whom), {}).update(dict.fromkeys(changes))
    told: dict[str, list[str]] = {}
    for (name, whom), found in remarks.items():
        told.setdefault(name, []).append(f"asked in another way than {whom}: {'; '.join(found)}")
    return [replace(row, remark="; ".join(filter(None, [row.remark, *told.get(row.experiment, [])]))) for row in rows]


def _judge(row: Row, metric: Metric) -> dict[str, Any]:
    return {"judge": judge_of(row.inputs)} if metric.judged else {}


def table(board: Board, display: Display, top: int | None = None) -> Grid:
    """The leaderboard for a terminal: by the names that one types, with the readable ones where there are any."""
    rows = board.rows[:top]
    named = any(row.label != row.experiment for row in rows)
    header = ["experiment", *(["name"] if named else []), *headings(board, display), "remark"]
    names = [["" if row.label == row.experiment else row.label] if named else [] for row in rows]
    body = [[row.experiment, *name, *cells_of(board, row), row.remark] for row, name in zip(rows, names, strict=True)]
    return Grid(header, body, title=board.caption, right=range(1 + named, len(header) - 1))


def headings(board: Board, display: Display) -> list[str]:
    """The benchmarks' titles with what most values are out of; and the macro average's where there is any."""
    titles = [
        f"{display.benchmarks.get(source, source)} (n={board.sizes.get(source, 0)})" for source in board.benchmarks
    ]
    return [*titles, *(["macro"] if board.averages else [])]


def cells_of(board: Board, row: Row) -> list[str]:
    """A row's values as tables show them, `-` for none; with what one is out of where that is not as for most."""
    own, found = board.cells[row.experiment], []
    for source in board.benchmarks:
        cell = own.get(source)
        out_of = "" if cell is None or cell.size == board.sizes[source] else f" n={cell.size}"
        found.append("-" if cell is None else shown(board.metric, cell) + out_of)
    if board.averages:
        average = board.averages.get(row.experiment)
        found.append("-" if average is None else shown(board.metric, average))
    return found


def shown(metric: Metric, cell: Measure) -> str:
    """`62.5 [57.4, 67.3]`; the value alone where the result has no interval."""
    if cell.low is None or cell.high is None:
        return metric.shown(cell.value)
    return f"{metric.shown(cell.value)} [{metric.shown(cell.low)}, {metric.shown(cell.high)}]"


def say_without(board: Board, answer: Answer, names: list[str] | None) -> None:
    """Report the experiments that are not in the table: an error for those that were named, else a warning."""
    where = ", ".join(board.benchmarks)
    for row in board.without:
        lack = f"its eval result has no {board.metric.name} on {where}"
        say(answer, row.experiment, MissingError(f"{row.experiment}: {lack}"), names)


def as_json(board: Board, top: int | None = None) -> list[dict[str, Any]]:
    """The leaderboard for `--json`, best first."""
    return [
        {
            "experiment": row.experiment,
            "label": row.label,
            "status": row.status,
            "remark": row.remark,
            "limit": row.limit,
            "metric": board.metric.name,
            **_macro(board, row),
            "benchmarks": {source: _numbers(board, row, source) for source in board.benchmarks if source in row.scores},
        }
        for row in board.rows[:top]
    ]


def _macro(board: Board, row: Row) -> dict[str, Any]:
    average = board.averages.get(row.experiment)
    return {
        "macro_average": average.value if average else None,
        "macro_ci": [average.low, average.high] if average and average.low is not None else None,
        "macro_benchmarks": list(board.shared) if board.averages else [],
    }


def _numbers(board: Board, row: Row, source: str) -> dict[str, Any]:
    score, cell = row.scores[source], board.cells[row.experiment].get(source)
    return {
        "accuracy": score.accuracy,
        "ci": [score.low, score.high],
        "correct": score.correct,
        "total": score.total,
        "flags": list(score.flags),
        "measure": {name: getattr(cell, name) for name in _MEASURE} if cell else None,
    }


def _cells(row: Row, benchmarks: Sequence[str], metric: str) -> dict[str, Measure]:
    found = {source: row.scores[source].measure(metric) for source in benchmarks if source in row.scores}
    return {source: cell for source, cell in found.items() if cell is not None}


def _of_most(cells: Sequence[Mapping[str, Measure]], benchmarks: Sequence[str]) -> list[str]:
    """The benchmarks that more than half of the experiments have: one experiment's extra ones do not count for all."""
    counts = Counter(source for own in cells for source in own)
    return [source for source in benchmarks if 2 * counts[source] > len(cells)]


def _mean(cells: Mapping[str, Measure], benchmarks: Sequence[str]) -> Measure:
    """Over those of the benchmarks that there are."""
    found = [cells[source] for source in benchmarks if source in cells]
    values = [cell.value for cell in found]
    bounds = [(cell.low, cell.high) for cell in found if cell.low is not None and cell.high is not None]
    low, high = interval_of_mean(values, bounds) if len(bounds) == len(found) else (None, None)
    return Measure(sum(values) / len(values), sum(cell.n for cell in found), low, high)
