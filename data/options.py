"""The options of a question as (letter, text), from every form that files keep them in."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

from data.cells import Cell, is_null, parse_json, repeated_name, text_of

LETTERS = string.ascii_uppercase
Slots = list[tuple[str, str]]

# How hub data sets name an option's letter and its text: MedQA's own files, those in the form of ARC, our own.
_NAMED = (("key", "value"), ("label", "text"), ("letter", "text"))


def option_slots(cells: Sequence[Cell]) -> Slots:
    """Return every option slot as (letter, text) in the file's order, the empty ones too: they keep their letter."""
    if not cells:
        return []
    if len(cells) > 1:
        return lettered(cells[0], [text_of(cell) for cell in cells])
    cell = cells[0]
    value = _parsed(cell)
    if is_null(value):
        return []
    pairs = _pairs(value)
    if pairs is None and isinstance(value, (list, tuple)):
        return lettered(cell, ["" if is_null(item) else text_of(cell, item) for item in value])
    if pairs is None:
        raise cell.error(f"options must be an object {{letter: text}} or a list, not {type(value).__name__}")
    slots = [(_letter(cell, name), "" if is_null(text) else text_of(cell, text)) for name, text in pairs]
    if len({letter for letter, _ in slots}) < len(slots):
        raise cell.error(f"an option letter occurs twice: {', '.join(str(name) for name, _ in pairs)}")
    return slots


def lettered(cell: Cell, texts: Sequence[str]) -> Slots:
    """Return the texts under A, B, C and so on."""
    if len(texts) > len(LETTERS):
        raise cell.error(f"{len(texts)} options; there are {len(LETTERS)} letters")
    return list(zip(LETTERS, texts, strict=False))


def _pairs(value: Any) -> list[tuple[Any, Any]] | None:
    """Return the letters and texts of options that name their letters; null where the value does not."""
    for key, text in _NAMED:
        if isinstance(value, Mapping) and set(value) == {key, text} and isinstance(value[key], list):
            return list(zip(value[key], value[text], strict=False))
        if isinstance(value, list) and value and all(isinstance(i, Mapping) and set(i) == {key, text} for i in value):
            return [(item[key], item[text]) for item in value]
    return list(value.items()) if isinstance(value, Mapping) else None


def _parsed(cell: Cell) -> Any:
    """Return the options value; text, which is all that CSV has, must be JSON."""
    if not isinstance(cell.value, str):
        return cell.value
    if not cell.value.strip():
        return None
    try:
        value = parse_json(cell.value)
    except json.JSONDecodeError as error:
        raise cell.error("options given as text must be a JSON object or list") from error
    if (name := repeated_name(value)) is not None:
        raise cell.error(f"'{name}' occurs twice in one object")
    return value


def _letter(cell: Cell, name: Any) -> str:
    letter = str(name).strip().upper()
    if len(letter) != 1 or letter not in LETTERS:
        raise cell.error(f"an option is named {name!r}; options are named A to Z")
    return letter
