"""From the records of a file to rows: which column holds what, options and gold answers in all their spellings.

What a record lacks becomes "" or null. Only what cannot be read as the field that it is mapped to is an error: one
line that names the data set, the record (counted from 1) and the column.
"""

from __future__ import annotations

import json
import math
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.rows import Option, Row, question_id_of, row_id_of
from registry.catalog import Columns, DatasetEntry
from registry.errors import UsageError

Record = Mapping[str, Any]
LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class _Cell:
    """A value of a record and where it stands."""

    value: Any
    key: str
    number: int
    column: str

    def error(self, problem: str) -> UsageError:
        return UsageError(f"data set '{self.key}', record {self.number}, column '{self.column}': {problem}")


def rows_of(key: str, entry: DatasetEntry, records: Sequence[Record]) -> list[Row]:
    """Return one row per record, in order; `UsageError` when a mapped column is not there or cannot be read."""
    used = _used_columns(key, entry.columns, records)
    seen: Counter[tuple[object, ...]] = Counter()
    rows = []
    for number, record in enumerate(records, 1):
        cells = {
            field: [_Cell(record.get(column), key, number, column) for column in columns]
            for field, columns in used.items()
        }
        rows.append(_row(cells, key, entry.answer_index_base, seen))
    return rows


def _used_columns(key: str, columns: Columns, records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Return field -> columns. A name left at its default serves only if it exists and no other field claims it."""
    present = list(dict.fromkeys(column for record in records for column in record))
    chosen: dict[str, tuple[str, ...]] = {}
    optional: dict[str, tuple[str, ...]] = {}
    for field, info in Columns.model_fields.items():
        value = getattr(columns, field)
        names = (value,) if isinstance(value, str) else tuple(value)
        (optional if value == info.default and field != "question" else chosen)[field] = names
    claimed = {name for names in chosen.values() for name in names}
    for field, names in chosen.items():
        missing = [name for name in names if name not in present]
        if missing:
            raise UsageError(
                f"data set '{key}' has no column '{missing[0]}' (columns.{field}); "
                f"its columns are {', '.join(present)}: correct `columns` in the catalog"
            )
    return chosen | {
        field: names for field, names in optional.items() if names[0] in present and names[0] not in claimed
    }


def _row(cells: Mapping[str, list[_Cell]], key: str, base: int, seen: Counter[tuple[object, ...]]) -> Row:
    question = _text(cells["question"][0])
    slots = _option_slots(cells.get("options", []))
    options = tuple(Option(letter, text) for letter, text in slots if text)
    gold = _gold_letter(cells["answer_idx"][0], slots, base) if "answer_idx" in cells else None
    answer = _text_or_empty(cells, "answer") or next((o.text for o in options if o.letter == gold), "")
    reasoning = _text_or_empty(cells, "reasoning")
    specialty = _text_or_empty(cells, "specialty") or None
    source = _text_or_empty(cells, "source") or key
    pairs = tuple((option.letter, option.text) for option in options)
    content = (question, pairs, answer, gold, reasoning, specialty, source)
    occurrence = seen[content]
    seen[content] += 1
    return Row(
        id=row_id_of(content, occurrence),
        question_id=question_id_of(question, options),
        question=question,
        options=options,
        answer=answer,
        answer_idx=gold,
        reasoning=reasoning,
        reasoning_original=reasoning,
        specialty=specialty,
        source=source,
    )


def _text_or_empty(cells: Mapping[str, list[_Cell]], field: str) -> str:
    return _text(cells[field][0]) if field in cells else ""


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(cell: _Cell, value: Any = None) -> str:
    """Return the cell's value (or a `value` from inside it) as stripped text, "" for null."""
    content = cell.value if value is None else value
    if _is_null(content):
        return ""
    if not isinstance(content, (str, int, float)):
        raise cell.error(f"holds a {type(content).__name__}, not text; map the column that holds the text")
    text = str(content).strip()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise cell.error("is not valid Unicode text (half of a surrogate pair); correct the file") from error
    return text


def _option_slots(cells: Sequence[_Cell]) -> list[tuple[str, str]]:
    """Return every option slot as (letter, text) in the file's order, the empty ones too: they keep their letter."""
    if not cells:
        return []
    if len(cells) > 1:
        return _lettered(cells[0], [_text(cell) for cell in cells])
    cell = cells[0]
    value = _parsed(cell)
    if _is_null(value):
        return []
    if isinstance(value, (list, tuple)):
        return _lettered(cell, ["" if _is_null(item) else _text(cell, item) for item in value])
    if not isinstance(value, dict):
        raise cell.error(f"options must be an object {{letter: text}} or a list, not {type(value).__name__}")
    slots = [(_letter(cell, name), "" if _is_null(text) else _text(cell, text)) for name, text in value.items()]
    if len({letter for letter, _ in slots}) < len(slots):
        raise cell.error(f"an option letter occurs twice: {', '.join(value)}")
    return slots


def _parsed(cell: _Cell) -> Any:
    """Return the options value; text, which is all that CSV has, must be JSON."""
    if not isinstance(cell.value, str):
        return cell.value
    if not cell.value.strip():
        return None
    try:
        return json.loads(cell.value)
    except json.JSONDecodeError as error:
        raise cell.error("options given as text must be a JSON object or list") from error


def _lettered(cell: _Cell, texts: Sequence[str]) -> list[tuple[str, str]]:
    if len(texts) > len(LETTERS):
        raise cell.error(f"{len(texts)} options; there are {len(LETTERS)} letters")
    return list(zip(LETTERS, texts, strict=False))


def _letter(cell: _Cell, name: Any) -> str:
    letter = str(name).strip().upper()
    if len(letter) != 1 or letter not in LETTERS:
        raise cell.error(f"an option is named {name!r}; options are named A to Z")
    return letter


def _gold_letter(cell: _Cell, slots: Sequence[tuple[str, str]], base: int) -> str | None:
    """Return the letter that the cell names, as a letter or as an index that counts from `base`; null if none."""
    if _is_null(cell.value) or isinstance(cell.value, bool):
        return None
    name = _text(cell).upper()
    if isinstance(cell.value, float) and cell.value.is_integer():
        name = str(int(cell.value))
    if name.isdecimal():
        index = int(name) - base
        name = slots[index][0] if 0 <= index < len(slots) else ""
    return name if any(letter == name and text for letter, text in slots) else None
