"""Which texts hold which questions: the share of a question's word n-grams that occur in a text.

A text is compared as its words: NFKC, case-folded, without punctuation and white space. An n-gram is a 64-bit hash
of its words, the same in every process; among ten million of them and half a million of questions a chance hit is
one in several million.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final

import numpy as np

Words = tuple[str, ...]

SHORTEST: Final = 8
"""Questions of fewer words have no n-grams. GPT-3's filter has the same bound (Brown et al., 2020, appendix C)."""
COMMON: Final = 10
"""An n-gram of more questions than this is how questions are put, not what one of them asks."""

_WORD: Final = re.compile(r"[^\W_]+")
# The same for ASCII, three times as fast: everything else than letters and digits becomes a space to split at.
_ASCII: Final = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)
_BATCH: Final = 256
_TABLE_BITS: Final = 24
_TABLE_SHIFT: Final = np.uint64(64 - _TABLE_BITS)


@dataclass(frozen=True, slots=True)
class Held:
    """Text number `text` holds the part `coverage` of the own n-grams of question number `question`."""

    text: int
    question: int
    coverage: float


@dataclass(frozen=True)
class _Grams:
    """The n-grams of one size: `keys` sorted hashes, `owners[starts[k]:starts[k + 1]]` the questions that hold key k.

    `seen` says of the first bits of a hash whether any key begins so. `own` counts the n-grams of each question.
    """

    size: int
    keys: np.ndarray
    starts: np.ndarray
    owners: np.ndarray
    own: np.ndarray
    seen: np.ndarray


def words_of(text: str) -> Words:
    """The words of a text as they are compared."""
    return tuple(_words(text))


def gram_size(question: Words, ngram: int) -> int | None:
    """The n of a question's n-grams: `ngram`, `SHORTEST` for a question shorter than that; null: it has none."""
    return ngram if len(question) >= ngram else SHORTEST if len(question) >= SHORTEST else None


def held_questions(
    texts: Sequence[Sequence[str]], questions: Sequence[Words], ngram: int, coverage: float
) -> list[Held]:
    """Return which texts hold at least `coverage` of a question's n-grams, in the order of texts, then questions.

    A text is given in parts, across which no n-gram runs. `questions` must be distinct. N-grams that more than `COMMON`
    questions hold do not count; a question that has no other is held by no text.
    """
    numbers = {word: number for number, word in enumerate(sorted(set(chain.from_iterable(questions))), start=1)}
    codes = _scattered(np.arange(len(numbers) + 1, dtype=np.uint64))
    tables = [_grams(questions, numbers, codes, size, ngram) for size in sorted({ngram, SHORTEST})]
    tables = [table for table in tables if len(table.keys)]
    found: list[Held] = []
    if not tables:
        return found
    for first in range(0, len(texts), _BATCH):
        encoded, text_of = _encoded(texts[first : first + _BATCH], numbers)
        for table in tables:
            found += _held(table, _hashes(codes[encoded], table.size), text_of + first, coverage)
    return sorted(found, key=lambda held: (held.text, held.question))


def _words(text: str) -> list[str]:
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return plain.translate(_ASCII).split() if plain.isascii() else _WORD.findall(plain)


def _scattered(numbers: np.ndarray) -> np.ndarray:
    """A 64-bit code for each number: the finaliser of splitmix64 (Steele et al., 2014)."""
    mixed = (numbers + np.uint64(1)) * _BASE
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _hashes(codes: np.ndarray, size: int) -> np.ndarray:
    """The hash of the `size` words from each position on, of shape (words - size + 1,)."""
    count = max(0, len(codes) - size + 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(size):
        hashes *= _BASE
        hashes += codes[offset : offset + count]
    return hashes


def _grams(questions: Sequence[Words], numbers: dict[str, int], codes: np.ndarray, size: int, ngram: int) -> _Grams:
    """The n-grams of those questions that have them of this size; in how many they are is counted in all questions."""
    encoded = np.array(
        [number for words in questions for number in (*map(numbers.__getitem__, words), 0)], dtype=np.int64
    )
    owner_of = np.repeat(np.arange(len(questions)), [len(words) + 1 for words in questions])
    borders = np.concatenate([[0], np.cumsum(encoded == 0)])
    whole = np.flatnonzero(borders[size:] == borders[: max(0, len(borders) - size)])
    keys, owners = _hashes(codes[encoded], size)[whole], owner_of[whole]
    order = np.lexsort((owners, keys))
    keys, owners = keys[order], owners[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])
    keys, owners = keys[first], owners[first]
    _, which, held_by = np.unique(keys, return_inverse=True, return_counts=True)
    sized = np.array([gram_size(words, ngram) == size for words in questions], dtype=bool)
    counted = (held_by[which] <= COMMON) & sized[owners]
    owners = owners[counted]
    keys, counts = np.unique(keys[counted], return_counts=True)
    seen = np.zeros(1 << _TABLE_BITS, dtype=bool)
    seen[keys >> _TABLE_SHIFT] = True
    starts = np.concatenate([[0], np.cumsum(counts)])
    return _Grams(size, keys, starts, owners, np.bincount(owners, minlength=len(questions)), seen)


def _encoded(texts: Sequence[Sequence[str]], numbers: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of all words of the texts, one after the other, and of which text each is.

    A word that no question has is 0, and so is the border after each part: no question's n-gram holds a 0.
    """
    encoded: list[int] = []
    ends = []
    for parts in texts:
        for part in parts:
            encoded.extend(map(numbers.get, _words(part), repeat(0)))
            encoded.append(0)
        ends.append(len(encoded))
    lengths = np.diff(np.array([0, *ends]))
    return np.array(encoded, dtype=np.int64), np.repeat(np.arange(len(texts)), lengths)


def _held(grams: _Grams, hashes: np.ndarray, text_of: np.ndarray, coverage: float) -> Iterator[Held]:
    """The questions held, from the hash at each position and the text that it lies in."""
    at = np.flatnonzero(grams.seen[hashes >> _TABLE_SHIFT])
    key = np.minimum(np.searchsorted(grams.keys, hashes[at]), len(grams.keys) - 1)
    hit = grams.keys[key] == hashes[at]
    pairs = np.unique(np.stack([text_of[at[hit]], key[hit]], axis=1), axis=0)
    counts = np.diff(grams.starts)[pairs[:, 1]]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    owners = grams.owners[np.repeat(grams.starts[pairs[:, 1]], counts) + within]
    texts = np.repeat(pairs[:, 0], counts)
    found, shared = np.unique(np.stack([texts, owners], axis=1), axis=0, return_counts=True)
    shares = shared / grams.own[found[:, 1]]
    enough = shares >= coverage
    for (text, question), share in zip(found[enough].tolist(), shares[enough].tolist(), strict=True):
        yield Held(text, question, share)
