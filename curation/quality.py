"""The quality filter: rows that would teach the model something wrong, broken or nothing.

A rule takes one entry and returns why the row is bad, or None. The first rule that finds fault names the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from curation.ledger import Entry, Ledger, Removals
from registry.filter_schema import QualityConfig
from scoring import statements
from scoring.extraction import cleaned, extract_choice
from scoring.free_text import text_matches
from scoring.text import clean, tokens_of

CONCLUSION_CHARACTERS: Final = 400
"""How much of a trace's end is read as its conclusion: two or three sentences."""

# Methods of extraction that are enough to discard a row. An answer may be no more than a letter or an option's text; a
# trace must say that it concludes, because it may well end in a list of which one line is an option's text.
_ANSWERING: Final = statements.METHODS | {"lone_letter", "leading_letter", "option_text"}

OPENING_CHARACTERS: Final = 300
"""A refusal is how a text begins; further down, such words may be a patient's."""

_REFUSAL: Final = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:ai |large )?language) (?:model|assistant)\b"
    r"|\bI(?:['’]m| am) sorry,? but (?:I|as)\b"
    r"|\bI(?: can(?:['’]|no)t| won['’]t| will not|(?:['’]m| am) (?:unable|not able) to)"
    r" (?:help|assist|answer|provide|comply|give)\b",
    re.IGNORECASE,
)

STEM: Final = 4
"""So many letters at its beginning are compared of a word, so that "infections" is the same as "infectious"."""
SHORT_STATEMENT: Final = 6
"""Words of a statement (of `STEM` letters and more) that is an answer and no explanation."""
_SENTENCE_END: Final = re.compile(r"[.;](?:\s|\Z)|\n")

Rule = Callable[[Entry, QualityConfig], str | None]


def missing_fields(entries: Ledger, needs_reasoning: bool = True) -> Removals:
    """Rows without a question, an answer or a reasoning that is needed, or with a broken one: of no use."""
    needed = ("question", "answer", "reasoning") if needs_reasoning else ("question", "answer")
    return _judge(entries, lambda entry: _missing_field(entry, needed) or _broken_field(entry))


def poor_quality(entries: Ledger, config: QualityConfig) -> Removals:
    """Rows that break a rule of `RULES`."""
    return _judge(entries, lambda entry: next(filter(None, (rule(entry, config) for rule in RULES)), None))


def _judge(entries: Ledger, rule: Callable[[Entry], str | None]) -> dict[str, str]:
    judged = ((entry.row.id, rule(entry)) for entry in entries)
    return {row_id: reason for row_id, reason in judged if reason is not None}


def _missing_field(entry: Entry, needed: Sequence[str]) -> str | None:
    missing = [name for name in needed if _is_blank(getattr(entry.row, name))]
    return f"missing {' and '.join(missing)}" if missing else None


def _is_blank(text: str) -> bool:
    """Whether a text shows nothing: zero-width signs are no white space, but nobody sees them either."""
    return not any(sign.isprintable() and not sign.isspace() for sign in text)


def _truncated(entry: Entry, config: QualityConfig) -> str | None:
    # A length that hits a generator's limit to the token is that limit, not a coincidence.
    if entry.reasoning_tokens in config.truncation_tokens:
        return f"truncated at {entry.reasoning_tokens} tokens"
    return None


def _broken_field(entry: Entry) -> str | None:
    # Many a C library ends a text at a NUL, so that what comes after it may be gone or not.
    broken = [name for name in ("question", "answer", "reasoning") if "\0" in getattr(entry.row, name)]
    return f"NUL character in {' and '.join(broken)}" if broken else None


def _too_long(entry: Entry, config: QualityConfig) -> str | None:
    if config.max_tokens is not None and entry.reasoning_tokens > config.max_tokens:
        return f"reasoning over {config.max_tokens} tokens"
    return None


def _repeated_options(entry: Entry, config: QualityConfig) -> str | None:
    texts = [" ".join(option.text.casefold().split()) for option in entry.row.options]
    return "repeated options" if len(set(texts)) < len(texts) else None


def _answer_not_an_option(entry: Entry, config: QualityConfig) -> str | None:
    if entry.row.options and entry.row.answer_idx is None:
        return "gold answer is not among the options"
    return None


def _contradictory_answer(entry: Entry, config: QualityConfig) -> str | None:
    """The answer text must be the gold option's letter or text, or name the one or state the other."""
    row = entry.row
    gold = row.gold
    if gold is None or row.answer in (gold.letter, gold.text):
        return None
    named = _stated(row.answer, entry, _ANSWERING)
    if named == gold.letter or (named is None and text_matches(gold.text, row.answer)):
        return None
    return "answer text contradicts the gold letter"


def _contradictory_conclusion(entry: Entry, config: QualityConfig) -> str | None:
    row, ending = entry.row, entry.row.reasoning[-CONCLUSION_CHARACTERS:]
    if row.answer_idx is not None:
        concluded = _stated(ending, entry, statements.METHODS)
        contradicts = concluded is not None and concluded not in row.answer_idx.split(",")
    else:
        contradicts = not row.options and _concludes_otherwise(ending, row.answer)
    return "reasoning concludes another answer than the gold one" if contradicts else None


def _concludes_otherwise(ending: str, answer: str) -> bool:
    """Whether the last "the answer is ..." (or box) of a trace and a free-text answer have no word in common.

    A short one: a sentence of its own may well put the answer in other words. So may a short one, with a synonym;
    that a row is lost to that is the price of the rule.
    """
    if "answer" not in ending.lower() and "\\boxed" not in ending:
        return False
    plain = cleaned(ending)
    for trigger in statements.triggers(plain):
        if trigger.method == "boxed" or "answer" in plain[trigger.start : trigger.at].lower():
            stated = trigger.content or _SENTENCE_END.split(plain[trigger.at :], maxsplit=1)[0]
            stems = {word[:STEM] for word in tokens_of(stated) if len(word) >= STEM}
            said = {word[:STEM] for word in tokens_of(clean(answer))}
            return 0 < len(stems) <= SHORT_STATEMENT and not stems & said
    return False


def _refusal(entry: Entry, config: QualityConfig) -> str | None:
    return "refusal" if any(map(is_refusal, (entry.row.reasoning, entry.row.answer))) else None


def is_refusal(text: str) -> bool:
    """Whether a text begins as a model that refuses does."""
    return _REFUSAL.search(text[:OPENING_CHARACTERS]) is not None


def _stated(text: str, entry: Entry, methods: frozenset[str]) -> str | None:
    """The option that a text states, read by one of the `methods`."""
    extraction = extract_choice(text, entry.row.choices)
    return extraction.letter if extraction.method in methods else None


RULES: Final[tuple[Rule, ...]] = (
    _truncated,
    _too_long,
    _repeated_options,
    _answer_not_an_option,
    _contradictory_answer,
    _refusal,
    _contradictory_conclusion,
)
