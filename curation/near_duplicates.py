"""Questions that differ in a few words: MinHash finds the candidates, and each is checked by its exact similarity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from rensa import RMinHash, RMinHashLSH

from curation.ngrams import Words, words_of
from data.rows import Row

SHINGLE: Final = 3
_PERMUTATIONS: Final = 128
_BATCH: Final = 1024
_MISSED: Final = 1e-3
"""The largest chance that a pair just similar enough becomes no candidate."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is compared: the words of its text and those of each option."""

    words: Words
    options: tuple[Words, ...]


def asked(row: Row) -> Asked:
    """The question of a row as it is compared; an option without words is none."""
    options = (words_of(option.text) for option in row.options)
    return Asked(words_of(row.question), tuple(words for words in options if words))


@dataclass(frozen=True, slots=True)
class Shingles:
    """Every `SHINGLE` words in a row of a question, and of each of its options; all words of a shorter text."""

    question: frozenset[str]
    options: frozenset[str]

    @property
    def whole(self) -> frozenset[str]:
        """Those of the question and of its options, in whatever order these stand."""
        return self.question | self.options


def shingles(question: Asked) -> Shingles:
    """The shingles of a question; empty where it has no words."""
    return Shingles(_shingles(question.words), frozenset().union(*map(_shingles, question.options)))


def similarity(first: Shingles, second: Shingles) -> float:
    """The Jaccard similarity of the questions' shingles; 0 where a question has no words.

    Where both have options it is the smaller of that and the similarity of question and options together: a
    "which of these is true?" is another question with other options.
    """
    alone = _jaccard(first.question, second.question)
    return min(alone, _jaccard(first.whole, second.whole)) if first.options and second.options else alone


def similar_pairs(left: Sequence[Asked], right: Sequence[Asked], threshold: float) -> Iterator[tuple[int, int, float]]:
    """Yield each pair of at least that similarity once: its place in `left`, its place in `right`, the similarity."""
    # The shingles of all questions would fill the memory: only those of candidates are kept.
    of_left, of_right = (cache(lambda place, side=side: shingles(side[place])) for side in (left, right))
    for first, second, whole in (
        (_places(left, True), _places(right, True), True),
        (_places(left, False), _places(right, None), False),
        (_places(left, True), _places(right, False), False),
    ):
        for i, j in _candidates([left[at] for at in first], [right[at] for at in second], threshold, whole):
            score = similarity(of_left(first[i]), of_right(second[j]))
            if score >= threshold:
                yield first[i], second[j], score


def _places(questions: Sequence[Asked], with_options: bool | None) -> Sequence[int]:
    """The places of the questions with options, without, or (null) of both; one without words has no place."""
    return [place for place, each in enumerate(questions) if each.words and with_options in (None, bool(each.options))]


def _candidates(
    left: Sequence[Asked], right: Sequence[Asked], threshold: float, whole: bool
) -> Iterator[tuple[int, int]]:
    if not left or not right:
        return
    index = RMinHashLSH(threshold, _PERMUTATIONS, _bands(threshold))
    for start in range(0, len(left), _BATCH):
        index.insert_many(_sketches(left[start : start + _BATCH], whole), start)
    for start in range(0, len(right), _BATCH):
        sketches = _sketches(right[start : start + _BATCH], whole)
        for j, places in enumerate(index.query_all(sketches), start):
            for i in sorted(places):
                yield i, j


def _sketches(questions: Sequence[Asked], whole: bool) -> list[RMinHash]:
    sets = (shingles(each) for each in questions)
    sketches: list[RMinHash] = RMinHash.from_token_sets(
        [sorted(each.whole if whole else each.question) for each in sets], _PERMUTATIONS, 0
    )
    return sketches


def _bands(threshold: float) -> int:
    """As few bands as miss a pair of that similarity with at most `_MISSED` (Mining of Massive Datasets, ch. 3)."""
    rows = [_PERMUTATIONS >> power for power in range(_PERMUTATIONS.bit_length())]
    enough = (each for each in rows if (1 - threshold**each) ** (_PERMUTATIONS // each) <= _MISSED)
    return _PERMUTATIONS // next(enough, 1)


def _shingles(words: Words) -> frozenset[str]:
    starts = range(max(1, len(words) - SHINGLE + 1)) if words else ()
    return frozenset(" ".join(words[start : start + SHINGLE]) for start in starts)


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared) if shared else 0.0
