"""The quality filter: rows that would teach the model something wrong, broken or nothing.

A rule takes one entry and returns why the row is bad, or None. The first rule that finds fault names the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from curation.ledger import Entry, Ledger, Removals
from registry.curation_schema import QualityConfig
from scoring import statements
from scoring.extraction import extract_choice
from scoring.free_text import text_matches

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

Rule = Callable[[Entry, QualityConfig], str | None]


def missing_fields(entries: Ledger) -> Removals:
    """Rows without a question, an answer or a reasoning: no method can train on them."""
    return _judge(entries, _missing_field)


def poor_quality(entries: Ledger, config: QualityConfig) -> Removals:
    """Rows that break a rule of `RULES`."""
    return _judge(entries, lambda entry: next(filter(None, (rule(entry, config) for rule in RULES)), None))


def _judge(entries: Ledger, rule: Callable[[Entry], str | None]) -> dict[str, str]:
    judged = ((entry.row.id, rule(entry)) for entry in entries)
    return {row_id: reason for row_id, reason in judged if reason is not None}


def _missing_field(entry: Entry) -> str | None:
    row = entry.row
    missing = [name for name in ("question", "answer", "reasoning") if not getattr(row, name).strip()]
    return f"missing {' and '.join(missing)}" if missing else None


def _truncated(entry: Entry, config: QualityConfig) -> str | None:
    # A length that hits a generator's limit to the token is that limit, not a coincidence.
    if entry.reasoning_tokens in config.truncation_tokens:
        return f"truncated at {entry.reasoning_tokens} tokens"
    return None


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
    row = entry.row
    if row.answer_idx is None:
        return None
    concluded = _stated(row.reasoning[-CONCLUSION_CHARACTERS:], entry, statements.METHODS)
    if concluded is not None and concluded != row.answer_idx:
        return "reasoning concludes another answer than the gold one"
    return None


def _refusal(entry: Entry, config: QualityConfig) -> str | None:
    openings = (text[:OPENING_CHARACTERS] for text in (entry.row.reasoning, entry.row.answer))
    return "refusal" if any(_REFUSAL.search(opening) for opening in openings) else None


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
