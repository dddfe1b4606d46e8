"""From the records of a file to rows: which column holds what, and what keeps a row from judging a model.

What a record lacks becomes "" or null, and a gold answer that names no option is none: curation counts and removes such
rows. Only what cannot be read as the field that it is mapped to is an error: one line that names the data set, the
record (counted from 1) and the column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.cells import Cell, is_null, text_of
from data.gold import NO_GOLD, Choices, Gold, are_letters
from data.options import LETTERS, Slots, option_slots
from data.rows import Option, Row, question_id_of, row_id_of
from registry.catalog import Columns, DatasetEntry
from registry.errors import UsageError

Record = Mapping[str, Any]
Cells = Mapping[str, list[Cell]]
Occurrences = Counter[tuple[object, ...]]
"""How often a row of this content was read already."""
FEWEST_OPTIONS, MOST_OPTIONS = 2, 14


@dataclass(frozen=True, slots=True)
class Reading:
    """A row, and why no answer can be judged by it; `fault` is null when one can."""

    row: Row
    fault: str | None


def readings_of(key: str, entry: DatasetEntry, records: Sequence[Record], seen: Occurrences) -> list[Reading]:
    """Return one reading per record, in order; `UsageError` when a mapped column is not there or cannot be read.

    `seen` holds the rows that were read before, so that equal ones of several parts get ids of their own; it is
    brought up to date.
    """
    used = _used_columns(key, entry.columns, records)
    all_letters = "answer" in used and are_letters(record.get(used["answer"][0]) for record in records)
    readings = []
    for number, record in enumerate(records, 1):
        cells = {
            field: [Cell(record.get(column), key, number, column) for column in columns]
            for field, columns in used.items()
        }
        choices = Choices(_slots(cells, entry), entry.answer_index_base, entry.task == "labels", all_letters)
        readings.append(_reading(cells, choices, key, entry, seen))
    return readings


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


def _reading(cells: Cells, choices: Choices, key: str, entry: DatasetEntry, seen: Occurrences) -> Reading:
    question = text_of(cells["question"][0])
    options = tuple(Option(letter, text) for letter, text in choices.slots if text)
    gold, answer = _gold(cells, choices, as_it_is=entry.columns.answer != Columns().answer)
    fault = _fault(question, options, gold, entry)
    if entry.task in ("text", "number"):
        options, gold = (), Gold(())  # asked without them
    answer_idx = ",".join(gold.letters) or None
    reasoning = _text_or_empty(cells, "reasoning")
    specialty = _text_or_empty(cells, "specialty") or None
    source = _text_or_empty(cells, "source") or key
    pairs = tuple((option.letter, option.text) for option in options)
    content = (question, pairs, answer, answer_idx, reasoning, specialty, source)
    occurrence = seen[content]
    seen[content] += 1
    row = Row(
        id=row_id_of(content, occurrence),
        question_id=question_id_of(question, options),
        question=question,
        options=options,
        answer=answer,
        answer_idx=answer_idx,
        reasoning=reasoning,
        reasoning_original=reasoning,
        specialty=specialty,
        source=source,
    )
    return Reading(row, fault or _fault_of_text(row, cells))


def _slots(cells: Cells, entry: DatasetEntry) -> Slots:
    slots = option_slots(cells.get("options", []))
    if entry.labels is None:
        return slots
    if slots:
        raise cells["options"][0].error("holds options, and so does `labels` in the catalog: remove one of them")
    return list(zip(LETTERS, entry.labels, strict=False))


def _gold(cells: Cells, choices: Choices, *, as_it_is: bool) -> tuple[Gold, str]:
    """Return the gold and the answer's text: as the record has it, else that of the gold options.

    An answer that is to be taken as it is may be a model's: where it is empty the model has not answered.
    """
    marked = cells["answer_idx"][0] if "answer_idx" in cells else None
    stated = cells["answer"][0] if "answer" in cells else None
    as_list = stated is not None and isinstance(stated.value, (list, tuple))
    written = "" if stated is None or as_list else text_of(stated)
    if not choices.slots:
        return Gold(()), written
    gold = choices.gold(marked and marked.value, stated and stated.value)
    texts = dict(choices.slots)
    named = "; ".join(texts[letter] for letter in gold.letters)
    marks = marked is not None and not is_null(marked.value) and str(marked.value).strip()
    if marks and as_it_is and not as_list:
        return gold, written
    return gold, (written if marks or not named else "") or named


def _fault(question: str, options: Sequence[Option], gold: Gold, entry: DatasetEntry) -> str | None:
    if not question:
        return "has no question"
    if not options and entry.task in ("choice", "labels"):
        return "has no options"
    if options and not FEWEST_OPTIONS <= len(options) <= MOST_OPTIONS:
        return f"has {len(options)} option{'s' * (len(options) > 1)}, not {FEWEST_OPTIONS} to {MOST_OPTIONS}"
    return gold.fault


def _fault_of_text(row: Row, cells: Cells) -> str | None:
    """What is wrong with the gold answer of a question that has no options."""
    if row.options:
        return None
    if not row.answer:
        return NO_GOLD
    if "answer" in cells and isinstance(cells["answer"][0].value, bool):
        return f"has the gold answer {row.answer}, but no options: give `labels`, such as yes and no, in the catalog"
    return None


def _text_or_empty(cells: Cells, field: str) -> str:
    return text_of(cells[field][0]) if field in cells else ""
