"""One value of a record, with the place that an error about it names; and JSON that hides no repeated name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from registry.errors import UsageError


class Cell(NamedTuple):
    """A value of a record (counted from 1) and where it stands."""

    value: Any
    key: str
    number: int
    column: str

    def error(self, problem: str) -> UsageError:
        """The error of a value that cannot be read as what its column is mapped to."""
        return UsageError(f"data set '{self.key}', record {self.number}, column '{self.column}': {problem}")


def is_null(value: Any) -> bool:
    """Whether a value is none: null, or the NaN that table libraries make of it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(cell: Cell, value: Any = None) -> str:
    """Return the cell's value (or a `value` from inside it) as stripped text, "" for null."""
    content = cell.value if value is None else value
    if is_null(content):
        return ""
    if not isinstance(content, (str, int, float)):
        raise cell.error(f"holds a {type(content).__name__}, not text; map the column that holds the text")
    text = str(content).strip()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise cell.error("is not valid Unicode text (half of a surrogate pair); correct the file") from error
    return text


@dataclass(frozen=True)
class _Repeated:
    """Stands for the value of a name that a JSON object holds more than once."""

    name: str


def parse_json(text: str) -> Any:
    """Parse JSON; a name that an object repeats, of which `json` keeps the last, is found by `repeated_name`."""
    return json.loads(text, object_pairs_hook=_object)


def repeated_name(value: Any) -> str | None:
    """Return a name that occurs twice in one object of what `parse_json` returned; null when none does."""
    left = [value]
    while left:
        here = left.pop()
        if isinstance(here, _Repeated):
            return here.name
        inner = here.values() if isinstance(here, dict) else here if isinstance(here, list) else ()
        left += [each for each in inner if not isinstance(each, str)]
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    return {name: _Repeated(name) if names.count(name) > 1 else value for name, value in found.items()}
