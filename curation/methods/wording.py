"""Choosing by how a reasoning is worded: traces in which somebody doubts, checks and turns back.

Both methods are the original med-s1's, in which they stand for a question's difficulty without asking any model.
"""

from __future__ import annotations

import math
import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from curation.ledger import Removals
from curation.methods.markers import MARKERS
from curation.methods.pool import NOT_DRAWN, Pool
from registry.curation_schema import NgramRows, SubstringRows
from registry.errors import UsageError

WITHOUT: Final = "reasoning holds none of the substrings"
OUTSCORED: Final = "other reasoning scores higher"

# A hyphen joins two words ("double-check"), an apostrophe stands inside one ("doesn't").
_WORD: Final = re.compile(r"\w+(?:'\w+)*")

Phrases = Mapping[str, Sequence[tuple[tuple[str, ...], float]]]
"""First word -> the phrases that begin with it, as words, with their weights."""


def draw_substring(pool: Pool, config: SubstringRows) -> Removals:
    """Draw `n_samples` rows uniformly among those whose reasoning holds one of the substrings, in any case."""
    parts = [part.casefold() for part in config.substrings]
    texts = ((entry.row.id, entry.row.reasoning.casefold()) for entry in pool.entries)
    holding = [row_id for row_id, text in texts if any(part in text for part in parts)]
    drawn = set(random.Random(config.seed).sample(holding, min(config.n_samples, len(holding))))
    removals = {entry.row.id: WITHOUT for entry in pool.entries}
    removals |= dict.fromkeys(holding, NOT_DRAWN)
    return {row_id: reason for row_id, reason in removals.items() if row_id not in drawn}


def take_by_ngrams(pool: Pool, config: NgramRows) -> Removals:
    """Take the `n_samples` rows whose reasoning scores highest; of equal scores those with the first ids.

    A score is the sum of weight times occurrences over all phrases, divided by the number of words plus one. A
    phrase occurs where its words stand one after the other, whatever their case and the signs between them. Raises
    `UsageError` for a phrase without a word.
    """
    phrases = _phrases(MARKERS if config.ngrams is None else config.ngrams)
    scores = {entry.row.id: _score(_words(entry.row.reasoning), phrases) for entry in pool.entries}
    ranked = sorted(scores, key=lambda row_id: (-scores[row_id], row_id))
    return dict.fromkeys(ranked[config.n_samples :], OUTSCORED)


def _words(text: str) -> list[str]:
    """The words of a text in NFKC and lower case."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text).replace("’", "'")
    return _WORD.findall(plain.casefold().replace("_", " "))


def _phrases(weights: Mapping[str, float]) -> Phrases:
    found: dict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
    for phrase, weight in weights.items():
        words = tuple(_words(phrase))
        if not words:
            raise UsageError(f"curation.ngrams: {phrase!r} holds no word; remove it")
        found[words[0]].append((words, weight))
    return dict(found)


def _score(words: Sequence[str], phrases: Phrases) -> float:
    # An exact sum, so that the order in which a config writes its phrases decides nothing.
    return math.fsum(_hits(words, phrases)) / (len(words) + 1)


def _hits(words: Sequence[str], phrases: Phrases) -> Iterator[float]:
    for at in [at for at, word in enumerate(words) if word in phrases]:
        for phrase, weight in phrases[words[at]]:
            if tuple(words[at : at + len(phrase)]) == phrase:
                yield weight
