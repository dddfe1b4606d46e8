"""The eval results of a registry as comparable rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from registry.catalog import Display
from registry.errors import MissingError
from registry.status import Word


@dataclass(frozen=True)
class Score:
    """One experiment on one benchmark: shares between 0 and 1, and how many questions they rest on."""

    accuracy: float
    low: float
    high: float
    correct: int
    total: int


@dataclass(frozen=True)
class Row:
    """One experiment's scores by benchmark; `remark` says what must be known before it is compared."""

    experiment: str
    label: str
    group: str | None
    color: str | None
    status: Word
    remark: str
    scores: Mapping[str, Score]


def row_of(name: str, entry: Mapping[str, Any], status: Word, reason: str, display: Display) -> Row:
    """The row of an experiment whose eval result is `entry`; `MissingError` when that holds no benchmark."""
    metrics = entry.get("metrics") or {}
    found = metrics.get("benchmarks") or metrics.get("summary") or {}
    scores = {source: _score(numbers) for source, numbers in found.items()}
    if not scores:
        raise MissingError(f"{name}: its eval result holds no benchmark; run `meds1 run {name} --stage eval --force`")
    shown = display.experiments.get(name)
    remarks = [reason] if status == "stale" else []
    if metrics.get("limit"):
        remarks.append(f"first {metrics['limit']} questions only")
    return Row(
        experiment=name,
        label=(shown.name if shown and shown.name else name),
        group=shown.group if shown else None,
        color=shown.color if shown else None,
        status=status,
        remark="; ".join(remarks),
        scores=scores,
    )


def benchmarks_of(rows: Iterable[Row]) -> list[str]:
    """All benchmarks of the rows, in order of their first appearance."""
    return list(dict.fromkeys(source for row in rows for source in row.scores))


def macro_averages(rows: list[Row]) -> dict[str, float]:
    """Mean accuracy over benchmarks, only for the experiments that have every benchmark of the table."""
    sources = benchmarks_of(rows)
    return {
        row.experiment: sum(row.scores[source].accuracy for source in sources) / len(sources)
        for row in rows
        if all(source in row.scores for source in sources)
    }


def _score(numbers: Mapping[str, Any]) -> Score:
    low, high = numbers["accuracy_ci"]
    return Score(numbers["accuracy"], low, high, numbers["num_correct"], numbers["total_examples"])
