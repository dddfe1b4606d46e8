"""Scores in the long form: one row per experiment, benchmark and metric, with the fields of the effective config.

`plotting.frame` makes a pandas frame of the rows, `meds1 export --format csv` a file.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plotting.config_differences import named
from plotting.metrics import Measure, measures_by_budget
from plotting.runs import Run, run_of
from registry.errors import Meds1Error
from registry.json_path import join
from registry.origins import leaves
from registry.store import experiments_of, open_registry

if TYPE_CHECKING:
    import pandas

RESULT_COLUMNS = (
    *("experiment", "label", "group", "benchmark", "metric", "budget", "value", "low", "high", "n", "questions"),
    *("status", "stale", "limit", "flags"),
)
_FIELDS = ("model_key", "datasets", "curation", "training_params", "prompting", "eval", "reference_gpus")
_WHOLE = ("budget", "n", "questions", "limit")
_VALUES = ("value", "low", "high")

Row = dict[str, Any]


def frame(path: Path | str | None = None, config: Path | str | None = None) -> pandas.DataFrame:
    """See `plotting.frame`."""
    import pandas as pd

    opened = open_registry(None if path is None else Path(path), None if config is None else Path(config))
    view = opened.read()
    for line in view.warnings:
        warnings.warn(line, stacklevel=3)
    _ = opened.catalog  # a broken one is one error here, not one for each experiment
    runs, left_out = [], {}
    for name in experiments_of(view):
        try:
            run = run_of(opened, view, name)
            _ = run.scored
            runs.append(run)
        except Meds1Error as error:
            left_out[name] = str(error)
    rows = long_rows(runs)
    columns = {column: [row.get(column) for row in rows] for column in columns_of(rows)}
    made = pd.DataFrame({name: pd.Series(cells, dtype=_type_of(name, cells)) for name, cells in columns.items()})
    made.attrs["left_out"] = left_out
    return made


def long_rows(runs: Iterable[Run]) -> list[Row]:
    """The rows of the runs with scores, each with `RESULT_COLUMNS` and the fields of its config by dotted path.

    Of a config that has no effective form here (another program's, or of entries that the catalog has not), the fields
    are those that are written, references followed.
    """
    rows: list[Row] = []
    for run in runs:
        if run.row is not None:
            found = named(run.config) if run.config else run.written
            body = {field: found.get(field) for field in _FIELDS}
            rows += _rows_of(run, {join(*steps): _scalar(value) for steps, value in leaves(body)})
    return rows


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns of all rows: results first. An object that some experiment has needs none that says it is absent."""
    found: dict[str, bool] = {}
    for row in rows:
        for column, value in row.items():
            found[column] = found.get(column, False) or value is not None
    fields = [column for column in found if column not in RESULT_COLUMNS]
    inner = {column[:at] for column in fields for at, letter in enumerate(column) if letter == "."}
    return [*RESULT_COLUMNS, *(column for column in fields if found[column] or column not in inner)]


def _rows_of(run: Run, fields: Row) -> Iterator[Row]:
    scores = run.scored
    for source, score in scores.scores.items():
        sets: list[tuple[int | None, Mapping[str, Measure]]] = [(None, score.measures())]
        sets += measures_by_budget(score.numbers).items()
        for budget, measures in sets:
            for metric, measure in measures.items():
                yield {
                    "experiment": run.experiment,
                    "label": run.label,
                    "group": run.group,
                    "benchmark": source,
                    "metric": metric,
                    "budget": budget,
                    "value": measure.value,
                    "low": measure.low,
                    "high": measure.high,
                    "n": measure.n,
                    "questions": measure.questions,
                    "status": scores.status,
                    "stale": scores.status == "stale",
                    "limit": scores.limit,
                    "flags": "; ".join(score.flags),
                    **fields,
                }


def _type_of(column: str, cells: Sequence[Any]) -> str:
    """The column's type: whole numbers stay whole where others are missing, and an empty column keeps what it is."""
    if column in _WHOLE:
        return "Int64"
    kinds = {type(cell) for cell in cells if cell is not None}
    if column in _VALUES or kinds in ({float}, {int, float}):
        return "float64"
    if kinds in ({int}, {bool}):
        missing = None in cells
        return ("Int64" if missing else "int64") if kinds == {int} else ("boolean" if missing else "bool")
    return "str" if kinds == {str} else "object"


def _scalar(value: Any) -> Any:
    """Lists and empty objects as text: a cell must be something to group by."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
