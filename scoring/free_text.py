"""Whether a free-text answer states the gold answer, for questions without options."""

from __future__ import annotations

import re

from scoring.final_part import final_part
from scoring.text import clean, tokens_of

_STATED = re.compile(r"(?i)\b(?:answer|diagnosis)(?:\s+(?:is|would be|was)\b|\s*:)\s*:?\s*([^\n]+)")
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_NEGATIONS = frozenset({"not", "no", "never", "neither", "nor", "without", "unlikely", "excludes", "except"})
_WINDOW = 3


def text_matches(answer: str, text: str) -> bool:
    """Return whether `text` states the gold `answer`: case, markup, punctuation, articles and width do not count.

    The gold answer must be the whole text, its last line, what follows the last "answer is" or "Answer:", or what a
    box holds; or, for an answer of two words or more or of one long word, a phrase of the text that no negation
    stands before. Signs that change a meaning (Na+, <5, ↑) count. An empty gold answer matches nothing.
    Only the part after the thinking counts.
    """
    gold = tokens_of(answer)
    if not gold:
        return False
    plain = clean(final_part(text))
    lines = [line for line in plain.splitlines() if line.strip()]
    stated = [*_STATED.findall(plain)[-1:], *_BOXED.findall(plain)[-1:]]
    whole = [plain, *lines[-1:], *stated, *(re.split(r"[.;](?:\s|$)", part)[0] for part in stated)]
    if any(tokens_of(part) == gold for part in whole):
        return True
    return (len(gold) > 1 or len(gold[0]) > 4) and _affirmed(gold, tokens_of(plain))


def _affirmed(phrase: tuple[str, ...], tokens: tuple[str, ...]) -> bool:
    size = len(phrase)
    return any(
        tokens[start : start + size] == phrase
        and (phrase[0] in _NEGATIONS or not _NEGATIONS.intersection(tokens[max(0, start - _WINDOW) : start]))
        for start in range(len(tokens) - size + 1)
    )
