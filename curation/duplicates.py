"""One row of each question: repeats, and questions that differ in a few words, teach nothing new."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from curation.ledger import Entry, Ledger, Removals
from curation.near_duplicates import asked, similar_pairs
from registry.filter_schema import DuplicatesConfig

REPEATED: Final = "repeats another row's question"
NEARLY_REPEATED: Final = "nearly repeats another row's question"


@dataclass(frozen=True)
class Duplicates:
    """Which rows to remove and why, and for each of them the row that it repeats (JSON values)."""

    removals: Removals
    pairs: Sequence[Mapping[str, Any]]


def duplicates(entries: Ledger, config: DuplicatesConfig) -> Duplicates:
    """Go through the entries, the longest reasoning first (ties by id), and keep those that repeat none kept before.

    The order of the entries decides nothing. Only a kept row removes others: of three questions each of which is
    similar to the next, the outer two stay where the middle one has to go. A pair has `row_id`, `row_question`,
    `kept_id` and `kept_question` (of the row that it repeats), `kind` (`equal` or `similar`) and `similarity`.
    """
    different: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (-entry.reasoning_tokens, entry.row.id)):
        different.setdefault(entry.row.question_id, entry)
    stands_for = _without_similar(list(different.values()), config.similarity)
    removals: dict[str, str] = {}
    pairs = []
    for entry in sorted(entries, key=lambda entry: entry.row.id):
        kept, score = stands_for[entry.row.question_id]
        if kept is not entry:
            equal = kept.row.question_id == entry.row.question_id
            removals[entry.row.id] = REPEATED if equal else NEARLY_REPEATED
            pairs.append(_pair(entry, kept, "equal" if equal else "similar", score))
    return Duplicates(removals, pairs)


def _without_similar(ranked: Sequence[Entry], threshold: float | None) -> Mapping[str, tuple[Entry, float]]:
    """Question id -> the entry that is kept for it, and how similar the two questions are."""
    earlier = _similar(ranked, threshold)
    kept: set[int] = set()
    stands_for: dict[str, tuple[Entry, float]] = {}
    for place, entry in enumerate(ranked):
        rivals = [(score, -other) for other, score in earlier.get(place, {}).items() if other in kept]
        if rivals:
            score, other = max(rivals)
            stands_for[entry.row.question_id] = ranked[-other], score
        else:
            kept.add(place)
            stands_for[entry.row.question_id] = entry, 1.0
    return stands_for


def _similar(ranked: Sequence[Entry], threshold: float | None) -> Mapping[int, Mapping[int, float]]:
    """For each place the earlier ones that are similar to it, with the similarity."""
    earlier: dict[int, dict[int, float]] = defaultdict(dict)
    if threshold is not None:
        questions = [asked(entry.row) for entry in ranked]
        for first, second, score in similar_pairs(questions, questions, threshold):
            if first != second:
                earlier[max(first, second)][min(first, second)] = score
    return earlier


def _pair(entry: Entry, kept: Entry, kind: str, score: float) -> dict[str, Any]:
    return {
        "row_id": entry.row.id,
        "row_question": entry.row.question,
        "kept_id": kept.row.id,
        "kept_question": kept.row.question,
        "kind": kind,
        "similarity": score,
    }
