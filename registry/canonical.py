"""Canonical JSON: one value, one byte string, on every machine; and its SHA-256."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from registry.errors import UsageError

# Most values: naming the place of each would take most of the time.
_AS_IT_IS = frozenset({str, int, bool, type(None)})


def canonical(value: Any) -> bytes:
    """Return UTF-8 JSON with sorted keys in which equal numbers are written alike (`1.0` as `1`, `-0.0` as `0`).

    Only JSON values are taken (tuples count as lists): NaN, infinities, sets, keys that are no strings and any other
    type raise `UsageError`, because two processes could not be trusted to write them alike.
    """
    return dumps(_normal(value, "$"))


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON with sorted keys, numbers as they are; NaN and infinities raise `ValueError`."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return encoded(text)


def encoded(text: str) -> bytes:
    """JSON text as UTF-8. A lone surrogate (Python's form of a file name that is not UTF-8) becomes its JSON escape."""
    return text.encode(errors="backslashreplace")


def sha256(value: Any) -> str:
    """SHA-256 (64 hexadecimal digits) of the canonical form of `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _normal(value: Any, where: str) -> Any:
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UsageError(f"{where}: {value} has no canonical form")
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise UsageError(f"{where}: key {wrong[0]!r} is not a string")
        return {
            key: item if type(item) in _AS_IT_IS else _normal(item, f"{where}.{key}") for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [
            item if type(item) in _AS_IT_IS else _normal(item, f"{where}[{index}]") for index, item in enumerate(value)
        ]
    raise UsageError(f"{where}: a {type(value).__name__} has no canonical form")
