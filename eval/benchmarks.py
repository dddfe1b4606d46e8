"""The questions of an evaluation: every benchmark of every data set, in order, each with a gold answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from data.load import load_rows
from data.rows import Row
from registry.catalog import DatasetEntry
from registry.errors import UsageError


def load_benchmarks(datasets: Mapping[str, DatasetEntry], limit: int | None) -> dict[str, list[Row]]:
    """Load benchmark (a row's `source`) -> rows, the first `limit` of each.

    Raises `UsageError` for rows without a gold answer (one wrong gold answer would count
    against every model), and for a benchmark that two data sets hold (its questions would count twice).
    """
    benchmarks: dict[str, list[Row]] = defaultdict(list)
    origin: dict[str, str] = {}
    for key, entry in datasets.items():
        rows = load_rows(key, entry)
        _require_gold(key, rows)
        for row in rows:
            if origin.setdefault(row.source, key) != key:
                raise UsageError(
                    f"benchmark {row.source} is in both eval datasets {origin[row.source]} and {key}; "
                    "name only one of them in the experiment's datasets.eval, or tell the sources apart"
                )
            benchmarks[row.source].append(row)
    return {source: rows[:limit] for source, rows in benchmarks.items()}


def _require_gold(key: str, rows: Sequence[Row]) -> None:
    bad = [number for number, row in enumerate(rows, start=1) if not row.question or not _has_gold(row)]
    if bad:
        shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise UsageError(
            f"eval dataset {key}: {len(bad)} of {len(rows)} rows have no question or no valid gold answer "
            f"(rows {shown}, counted from 1); mend them, or its columns and answer_index_base in config.json"
        )


def _has_gold(row: Row) -> bool:
    return row.answer_idx is not None if row.options else bool(row.answer)
