"""Questions that a user brings: one on the command line, or a JSON or JSONL file of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.columns import readings_of
from data.gold import NO_GOLD
from data.readers import json_lines, json_value, refuse_repeated
from data.rows import Row
from registry.catalog import DatasetEntry
from registry.errors import MissingError, UsageError, shortened

ENDINGS = (".json", ".jsonl")
_ONE = "the question"


def one_question(question: str, options: Sequence[str]) -> Row:
    """Return a question of the command line; each option is written as `A=text`."""
    pairs = [option.partition("=") for option in options]
    wrong = [option for option, (letter, equals, text) in zip(options, pairs, strict=True) if not equals or not text]
    if wrong:
        raise UsageError(f"--option {shortened(wrong[0])}: write it as LETTER=text, such as A=Aspirin")
    letters = [letter.strip().upper() for letter, _, _ in pairs]
    twice = [letter for letter in letters if letters.count(letter) > 1]
    if twice:
        raise UsageError(f"--option {twice[0]}=... is given twice")
    record: dict[str, Any] = {"question": question}
    if options:
        record["options"] = {letter: text for letter, _, text in pairs}
    return _rows(_ONE, [record])[0]


def read_questions(path: Path) -> list[Row]:
    """Return the questions of a file: a list, JSONL, or `{"questions": [...]}`.

    Each is a text, or an object with `question` and optionally `options`, `answer`, `answer_idx` and `id`. An id that
    is not given is a hash of the content. Raises `MissingError` for no such file, `UsageError` for one without
    questions, a question that is missing, a gold answer that is no option, and an id that two questions have.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{path}: questions are read from {' and '.join(ENDINGS)} files")
    try:
        values = _values(path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise MissingError(f"cannot open {path}: {error.strerror}; correct --input") from error
    if not values:
        raise UsageError(f"{path} holds no questions")
    records = [_record(path, number, value) for number, value in enumerate(values, 1)]
    return _with_ids(path, records, _rows(str(path), records))


def _values(path: Path) -> list[Any]:
    if path.suffix.lower() == ".jsonl":
        return [value for _, value in json_lines(path.name, path)]
    value = json_value(path.name, path)
    if isinstance(value, dict) and "questions" in value:
        value = value["questions"]
    elif isinstance(value, dict) and "question" in value:
        value = [value]
    if value is not None and not isinstance(value, list):
        raise UsageError(f'{path} must hold a list of questions, or {{"questions": [...]}}')
    return value or []


def _record(path: Path, number: int, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"question": value}
    if not isinstance(value, dict):
        raise UsageError(f"{path}, record {number}: a question is a text or an object, not {type(value).__name__}")
    refuse_repeated(path.name, path, f"record {number}", value)
    if not str(value.get("question") or "").strip():
        raise UsageError(f"{path}, record {number}: it has no question (field `question`)")
    return value


def _rows(where: str, records: Sequence[dict[str, Any]]) -> list[Row]:
    """Return the rows; a gold answer may be missing, but not be wrong."""
    readings = readings_of(where, DatasetEntry(file_path=where), records, Counter())
    for number, reading in enumerate(readings, 1):
        if reading.fault not in (None, NO_GOLD):
            raise UsageError(f"{where}{f', record {number}:' if where != _ONE else ''} {reading.fault}")
    return [reading.row for reading in readings]


def _with_ids(path: Path, records: Sequence[dict[str, Any]], rows: Sequence[Row]) -> list[Row]:
    named = []
    first: dict[str, int] = {}
    for number, (record, row) in enumerate(zip(records, rows, strict=True), 1):
        given = row.id if record.get("id") in (None, "") else str(record["id"])
        if given in first:
            raise UsageError(f"{path}, record {number}: its id {given!r} is that of record {first[given]} too")
        first[given] = number
        named.append(replace(row, id=given))
    return named
