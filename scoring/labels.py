"""Which labels an answer chose where several may be right: letters or texts, joined by commas, "and" or line breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scoring.choices import Choices, choices_of
from scoring.extraction import cleaned, first_turn
from scoring.final_part import marked_part
from scoring.methods import Method
from scoring.reading import LETTERLIKE, is_condition
from scoring.statements import Trigger, triggers

_LETTER = r"[(\[]?[A-Z][)\]]?"
_LIST_IS_RIGHT = re.compile(
    rf"(?<![\w-])({_LETTER}(?:\s*(?:,|;|/|&|and\b|,\s*and\b)\s*{_LETTER}){{1,14}})\s+are\s+(?:(?:both|all|the)\s+)*"
    r"(?:correct|right|true|appropriate|answers?|best)\b"
)
_LABELS_ARE = re.compile(r"(?i)\b(?:labels?|categories|classes)\s*(?::|are\b|is\b)")
_BEFORE_ITEM = re.compile(r"(?i)[\s\"'«\[(:•*–-]*(?:(?:both|the|options?|choices?|labels?|letters?)\s+)*[\"'(\[]*")
_ITEM_LETTER = re.compile(rf"([A-Za-z])(?!{LETTERLIKE}|[\d_+'-])[\"')\]]*")
_TEXT_OF_LETTER = re.compile(r"\s*[.):(–-]*\s*")
_SEPARATOR = re.compile(
    r"(?i)[\"')\]]*\s*(?:(?:[,;/+&]|\n+(?=\s*[-•*]?\s*[(\[]?\w))\s*(?:and\b|&)?|\band\b|\by\b|\bet\b|\bund\b|[和与與及])\s*(?:also\s+)?"
)
_ALTERNATIVE = re.compile(r"(?i)[\"')\]]*\s*,?\s*(?:or|and/or|或)\b")
_END = re.compile(
    r"(?i)[\"')\]}]*\s*(?:$|\n|[.!;]|[–—(]|,?\s+(?:because|since|as|which|but\s+not|not|for|due|given|while|whereas|rather)\b)"
)
_QUESTION = re.compile(r"[\"')\]]*\s*\?")
_MAX_ITEMS = 30


@dataclass(frozen=True)
class LabelExtraction:
    """The keys of the labels that an answer chose (null when it is not clear which) and the method ("none")."""

    labels: frozenset[str] | None
    method: Method


def extract_labels(text: str, labels: Sequence[tuple[str, str]]) -> LabelExtraction:
    """Return the labels that an output chose; `labels` are (key, text) pairs, where a letter as key may name one too.

    The last statement counts, else a list that is the whole text or its last or first line. A list with "or", with an
    unknown item or under a condition is not clear. Never raises.
    """
    part, marked = marked_part(text)
    choices = choices_of(tuple(labels))
    plain = first_turn(cleaned(part))
    for method, found in _readings(plain, choices):
        if found is not None:
            return LabelExtraction(frozenset(choices.keys[key] for key in found) or None, method if found else "none")
    begun = _list_at(plain, 0, choices) if marked else None
    if begun:
        return LabelExtraction(frozenset(choices.keys[key] for key in begun), "marker")
    return LabelExtraction(None, "none")


def _readings(plain: str, choices: Choices) -> Iterator[tuple[Method, set[str] | None]]:
    """Yield a method with the keys that it finds: none of them is unclear, null says nothing."""
    shared = [Trigger("verdict", match.start(), match.start(), match[1]) for match in _LIST_IS_RIGHT.finditer(plain)]
    named = [Trigger("answer_label", match.start(), match.end()) for match in _LABELS_ARE.finditer(plain)]
    for trigger in sorted([*triggers(plain), *shared, *named], key=lambda each: each.at, reverse=True):
        yield trigger.method, _stated(trigger, plain, choices)
    lines = [line for line in plain.splitlines() if line.strip()]
    for candidate in (plain, lines[-1], lines[0]) if lines else ():
        yield "list", _list_at(candidate, 0, choices, whole=True) or None


def _stated(trigger: Trigger, plain: str, choices: Choices) -> set[str] | None:
    if trigger.content is None:
        return _list_at(plain, trigger.at, choices)
    if trigger.method == "boxed":
        return set().union(*_boxes(trigger, plain, choices))
    if trigger.method == "verdict" and not trigger.content:
        return None
    return _list_at(trigger.content, 0, choices, whole=True) or set()


def _boxes(trigger: Trigger, plain: str, choices: Choices) -> list[set[str]]:
    """Return what a box holds; several boxes in a row are read together, and one that is unclear makes all unclear."""
    end = plain.find("}", trigger.start) + 1
    row = re.search(r"(?:\\boxed\s*\{[^{}]*\}\s*(?:,|;|and|&)?\s*)+\Z", plain[max(0, trigger.start - 200) : end])
    contents = re.findall(r"\\boxed\s*\{([^{}]*)\}", row.group()) if row else [trigger.content or ""]
    found = [_list_at(content, 0, choices, whole=True) or set() for content in contents]
    return found if all(found) else [set()]


def _list_at(text: str, start: int, choices: Choices, whole: bool = False) -> set[str] | None:
    """Return the keys of the list that stands at `start` (`whole`: and goes to the end).

    Null where no item stands there at all, the empty set where a list begins and is unclear.
    """
    found: set[str] = set()
    position = start
    for _ in range(_MAX_ITEMS):
        item = _item(text, position, choices)
        if item is None:
            return _ended(text, position, found, whole)
        key, end = item
        found.add(key)
        if _ALTERNATIVE.match(text, end) or _QUESTION.match(text, end) or is_condition(text, end):
            return set()
        separator = _SEPARATOR.match(text, end)
        if not separator:
            rest = text[end:].strip(" \n.\"')]}")
            return found if (not rest if whole else _END.match(text, end)) else (set() if len(found) > 1 else None)
        position = separator.end()
    return set()


def _ended(text: str, position: int, found: set[str], whole: bool) -> set[str] | None:
    """Judge a list whose separator no item follows: what comes may be a reason or a new line, else it is unclear."""
    if not found:
        return None
    before = text[:position].rstrip(" ")
    is_reason = re.match(r"(?i)(?:because|since|as|not|but|which|while|whereas|so)\b", text[position:])
    clear = before.endswith("\n") or text[position - 1 : position] == "\n" or bool(is_reason)
    return found if clear and not whole else set()


def _item(text: str, start: int, choices: Choices) -> tuple[str, int] | None:
    """Return the key of the label at a position and where it ends."""
    lead = _BEFORE_ITEM.match(text, start)
    position = lead.end() if lead else start
    mention = choices.starting(text, position)
    if mention is not None and not re.search(r"\w", text[position : mention.start]):
        return mention.letter, mention.end
    letter = _ITEM_LETTER.match(text, position)
    if not letter or letter[1].upper() not in choices.letters:
        return None
    key, end = letter[1].upper(), letter.end()
    between = _TEXT_OF_LETTER.match(text, end)
    own = choices.starting(text, between.end() if between else end)
    return (key, own.end) if own is not None and own.letter == key else (key, end)
