"""Rows that hold a benchmark's question would teach the test: they are removed, and each pair is named.

A row is paired with a benchmark's question in one of three ways, of which the first that holds is named:

- `equal`: it asks the question, word for word (with the same options, where both have any);
- `n-gram`: its question, reasoning or answer hold so many of the question's word n-grams (`curation.ngrams`);
- `similar`: its question differs from it in a few words (`curation.near_duplicates`).

The options of a benchmark are not searched for: they are everybody's words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal

from curation.ledger import Ledger, Removals
from curation.near_duplicates import Asked, asked, shingles, similar_pairs, similarity
from curation.ngrams import Words, gram_size, held_questions
from data.rows import Row
from registry.filter_schema import DecontaminationConfig

Kind = Literal["equal", "n-gram", "similar"]
REASONS: Final[Mapping[Kind, str]] = {
    "equal": "asks a question of {}",
    "n-gram": "holds a question of {}",
    "similar": "asks nearly a question of {}",
}
"""Why a row is removed, by the way that it was found, strongest first."""


@dataclass(frozen=True)
class Contamination:
    """Which rows to remove and why, the pairs found (JSON values), and counts for the metrics."""

    removals: Removals
    pairs: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Question:
    """A question of a benchmark."""

    benchmark: str
    row: Row
    asked: Asked


@dataclass(frozen=True, slots=True)
class _Match:
    """Entry and question, by their places, and how they were found."""

    entry: int
    question: int
    kind: Kind
    score: float


def contamination(
    entries: Ledger, benchmarks: Mapping[str, Sequence[Row]], config: DecontaminationConfig
) -> Contamination:
    """Compare every entry with every question of `benchmarks` (by their key).

    A pair has `row_id`, `row_question`, `benchmark`, `benchmark_id`, `benchmark_question`, `kind` and `score`: the
    covered part of the n-grams or the similarity. Its row is removed for the benchmark of its strongest pair.
    """
    questions = [each for key in sorted(benchmarks) for each in _questions(key, benchmarks[key])]
    rows = [asked(entry.row) for entry in entries]
    found: dict[tuple[int, int], _Match] = {}
    for match in chain(
        _equal(rows, questions), _by_ngrams(entries, questions, config), _similar(rows, questions, config)
    ):
        found.setdefault((match.entry, match.question), match)
    ways = list(REASONS)
    ordered = sorted(found.values(), key=lambda it: (it.entry, ways.index(it.kind), -it.score, it.question))
    removals: dict[str, str] = {}
    for match in ordered:
        reason = REASONS[match.kind].format(questions[match.question].benchmark)
        removals.setdefault(entries[match.entry].row.id, reason)
    pairs = [_pair(entries[match.entry].row, questions[match.question], match) for match in ordered]
    return Contamination(removals, pairs, _metrics(sorted(benchmarks), questions, pairs, config))


def _questions(key: str, rows: Sequence[Row]) -> list[_Question]:
    """Each question of a benchmark once, in the order of their ids."""
    first: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.id):
        first.setdefault(row.question_id, row)
    return [_Question(key, row, asked(row)) for row in first.values()]


def _equal(rows: Sequence[Asked], questions: Sequence[_Question]) -> Iterator[_Match]:
    places = _by_words(questions)
    for entry, row in enumerate(rows):
        for question in places.get(row.words, ()):
            if similarity(shingles(row), shingles(questions[question].asked)) == 1.0:
                yield _Match(entry, question, "equal", 1.0)


def _by_ngrams(entries: Ledger, questions: Sequence[_Question], config: DecontaminationConfig) -> Iterator[_Match]:
    places = _by_words(questions)
    different = list(places)
    texts = [(entry.row.question, entry.row.reasoning, entry.row.answer) for entry in entries]
    for held in held_questions(texts, different, config.ngram, config.coverage):
        for question in places[different[held.question]]:
            yield _Match(held.text, question, "n-gram", held.coverage)


def _similar(rows: Sequence[Asked], questions: Sequence[_Question], config: DecontaminationConfig) -> Iterator[_Match]:
    if config.similarity is None:
        return
    against = [question.asked for question in questions]
    for question, entry, score in similar_pairs(against, rows, config.similarity):
        yield _Match(entry, question, "similar", score)


def _by_words(questions: Sequence[_Question]) -> dict[Words, list[int]]:
    places: dict[Words, list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        places[question.asked.words].append(place)
    return dict(places)


def _pair(row: Row, question: _Question, match: _Match) -> dict[str, Any]:
    return {
        "row_id": row.id,
        "row_question": row.question,
        "benchmark": question.benchmark,
        "benchmark_id": question.row.id,
        "benchmark_question": question.row.question,
        "kind": match.kind,
        "score": match.score,
    }


def _metrics(
    keys: Sequence[str],
    questions: Sequence[_Question],
    pairs: Sequence[Mapping[str, Any]],
    config: DecontaminationConfig,
) -> dict[str, Any]:
    """By benchmark: its different questions, those too short for n-grams, and the rows found in each way."""
    metrics: dict[str, Any] = {}
    for key in keys:
        words = [question.asked.words for question in questions if question.benchmark == key]
        rows = {kind: {p["row_id"] for p in pairs if (p["benchmark"], p["kind"]) == (key, kind)} for kind in REASONS}
        metrics[key] = {
            "questions": len(words),
            "without_ngrams": sum(gram_size(each, config.ngram) is None for each in words),
            "rows": len(set().union(*rows.values())),
            **{f"rows_{kind.replace('-', '_')}": len(ids) for kind, ids in rows.items()},
        }
    return metrics
