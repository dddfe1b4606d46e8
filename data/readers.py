"""Files and folders as plain records (column -> value), in the file's order.

JSON and CSV are read with the standard library on purpose: the table libraries guess types, and turn an option "NA"
into null, an answer "007" into 7 and a column of ISO dates into timestamps. Parquet and saved data sets carry their
types and are read with pyarrow and datasets.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.cells import parse_json, repeated_name
from registry.errors import MissingError, UsageError
from registry.paths import matching

Record = dict[str, Any]


def read_records(key: str, path: Path, split: str) -> list[Record]:
    """Return the records of what is at `path`, or of each that it matches; `split` is used for a saved DatasetDict.

    Raises MissingError when there is nothing at `path`, UsageError when it cannot be read or holds no rows.
    """
    found = matching(path)
    if not found:
        raise MissingError(f"data set '{key}': there is no {path}; correct file_path in the catalog")
    return [record for place in found for record in _at(key, place, split)]


def _at(key: str, path: Path, split: str) -> list[Record]:
    if path.is_dir():
        records = _saved(key, path, split)
    elif path.suffix.lower() in READERS:
        records = _from_file(key, path)
    else:
        raise UsageError(f"data set '{key}': cannot read {path}; known endings are {', '.join(READERS)}")
    if not records:
        raise UsageError(f"data set '{key}': {path} holds no rows")
    return records


def _from_file(key: str, path: Path) -> list[Record]:
    try:
        return READERS[path.suffix.lower()](key, path)
    except UnicodeDecodeError as error:
        raise UsageError(f"data set '{key}': {path} is not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise MissingError(f"data set '{key}': cannot open {path}: {error.strerror}") from error


def json_value(key: str, path: Path) -> Any:
    """Return what the JSON file holds; null for an empty one."""
    text = path.read_text(encoding="utf-8-sig")
    if not text.strip():
        return None
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"data set '{key}': {path} is not JSON, line {error.lineno}: {error.msg}") from error


def json_lines(key: str, path: Path) -> list[tuple[str, Any]]:
    """Return the place and the value of every line that is not empty."""
    values = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values.append((f"line {number}", parse_json(line)))
            except json.JSONDecodeError as error:
                raise UsageError(f"data set '{key}': {path} is not JSON, line {number}: {error.msg}") from error
    return values


def _json(key: str, path: Path) -> list[Record]:
    """Read a list of objects, or the original project's object {source: list of objects}."""
    value = json_value(key, path)
    if value is None:
        return []
    if isinstance(value, dict):
        refuse_repeated(key, path, "the outer object", [v for v in value.values() if not isinstance(v, list)])
    if isinstance(value, dict) and all(isinstance(group, list) for group in value.values()):
        return [
            {**_object(key, path, f"{source}[{number}]", item), "source": source}
            for source, group in value.items()
            for number, item in enumerate(group)
        ]
    if not isinstance(value, list):
        raise UsageError(f"data set '{key}': {path} must hold a list of objects, or an object {{source: list}}")
    return [_object(key, path, f"entry {number}", item) for number, item in enumerate(value, 1)]


def _jsonl(key: str, path: Path) -> list[Record]:
    return [_object(key, path, place, value) for place, value in json_lines(key, path)]


def _object(key: str, path: Path, place: str, value: Any) -> Record:
    if not isinstance(value, dict):
        raise UsageError(f"data set '{key}': {path}, {place}: expected an object, found {type(value).__name__}")
    refuse_repeated(key, path, place, value)
    return value


def refuse_repeated(key: str, path: Path, place: str, value: Any) -> None:
    """Raise `UsageError` when an object inside `value` holds a name twice: one of the two would be lost."""
    if (name := repeated_name(value)) is not None:
        raise UsageError(f"data set '{key}': {path}, {place}: '{name}' occurs twice in one object; correct the file")


def _csv(key: str, path: Path) -> list[Record]:
    """Read comma-separated values with a header, every value as text."""
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise UsageError(f"data set '{key}': {path} has two columns of one name: {', '.join(header)}")
            records = []
            for values in reader:
                if len(values) not in (0, len(header)):
                    raise UsageError(
                        f"data set '{key}': {path}, line {reader.line_num}: "
                        f"{len(values)} values for {len(header)} columns"
                    )
                if values:
                    records.append(dict(zip(header, values, strict=True)))
        except csv.Error as error:
            raise UsageError(f"data set '{key}': {path} is not CSV, line {reader.line_num}: {error}") from error
    return records


def _parquet(key: str, path: Path) -> list[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        records: list[Record] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise UsageError(f"data set '{key}': {path} is not parquet: {str(error).splitlines()[0]}") from error
    return records


def _saved(key: str, path: Path, split: str) -> list[Record]:
    """Read what `datasets`' `save_to_disk` wrote: one Dataset, or a DatasetDict of which `split` is taken."""
    from datasets import DatasetDict, load_from_disk

    if not any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        raise UsageError(f"data set '{key}': {path} is a folder, but not one that datasets' save_to_disk wrote")
    saved = load_from_disk(str(path))
    if isinstance(saved, DatasetDict):
        if split not in saved:
            raise UsageError(
                f"data set '{key}': {path} has no split '{split}'; it has {', '.join(saved)}: set hf_split"
            )
        saved = saved[split]
    return [dict(record) for record in saved]


READERS: dict[str, Callable[[str, Path], list[Record]]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
