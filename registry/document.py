"""`results.json` and `config.json` as text: parse strictly, write in one form.

Both files are edited by people. A duplicate key or broken JSON is refused with its line and column, never guessed at.
The written form has a two-space indent, keeps the order of keys and the spelling of numbers, and leaves non-ASCII
characters readable.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, cast

from registry.canonical import encoded
from registry.durable import read_whole
from registry.errors import MissingError, UsageError

FORMAT = 1
_WHILE_BEING_WRITTEN = 0.1  # seconds

Document = dict[str, Any]


class _DuplicateKeyError(ValueError):
    pass


class _NumberError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateKeyError(next(name for name in names if names.count(name) > 1))
    return found


class _Spelled(float):
    """A number that is written as it was read: `1e-5` stays `1e-5`."""

    spelling: str


def _finite(text: str) -> float:
    number = float(text)
    if repr(number) == text:
        return number
    if not math.isfinite(number):
        raise _NumberError(text)
    spelled = _Spelled(text)
    spelled.spelling = text
    return spelled


def parse(text: str, path: Path) -> Document:
    """Parse the JSON object in `text`; `path` is named in the `UsageError` for anything else."""
    if not text.strip():
        raise UsageError(f"{path}: the file is empty; `meds1 rebuild` restores the last good state")
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    except _DuplicateKeyError as error:
        raise UsageError(f"{path}: the key {str(error)!r} occurs twice in one object; remove one") from None
    except _NumberError as error:
        raise UsageError(f"{path}: {error} is no JSON number; write null, or a finite number") from None
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}: line {error.lineno}, column {error.colno}: {error.msg}; mend it by hand"
            ", or restore a registry's last good state with `meds1 rebuild`"
        ) from None
    except ValueError as error:  # a whole number of thousands of digits
        raise UsageError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path}: holds a {type(document).__name__}, not an object")
    return cast(Document, document)


def load(path: Path) -> tuple[Document, bytes]:
    """Return the parsed object and the bytes it came from."""
    raw = content(path)
    while True:
        try:
            return parse(_text(raw, path), path), raw
        except UsageError:
            # Some editors write in place: a file that is still changing is read again.
            time.sleep(_WHILE_BEING_WRITTEN)
            before, raw = raw, content(path)
            if raw == before:
                raise


def content(path: Path) -> bytes:
    """The file's bytes; `MissingError` when it cannot be read."""
    try:
        return read_whole(path)
    except FileNotFoundError:
        raise MissingError(
            f"{path}: no such file; set MEDS1_REGISTRY / MEDS1_CONFIG or use --registry / --config"
        ) from None
    except OSError as error:
        raise MissingError(f"{path}: cannot be read: {error.strerror}") from None


def _text(raw: bytes, path: Path) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}: line {line}: not UTF-8 at byte {error.start}; save it as UTF-8") from None


def load_registry(path: Path) -> tuple[Document, bytes]:
    """`load`, and `UsageError` when experiments, their configs, tags or results are not of the kind they must be."""
    document, raw = load(path)
    wrong = next(_misshapen(document), None)
    if wrong:
        raise UsageError(f"{path}: {wrong}; mend it by hand, or restore the last good state with `meds1 rebuild`")
    return document, raw


def _misshapen(document: Document) -> Iterator[str]:
    if not isinstance(document.get("format", FORMAT), int):
        yield "format must be a number"
    experiments = document.get("experiments")
    if "experiments" not in document:
        yield 'has no experiments; an empty registry is {"experiments": {}}'
        return
    if not isinstance(experiments, dict):
        yield "experiments must be an object"
        return
    for name, body in experiments.items():
        if not isinstance(body, dict):
            yield f"experiments.{name} must be an object"
            continue
        for field, kind, word in (
            ("config", dict, "an object"),
            ("results", dict, "an object"),
            ("tags", list, "a list"),
            ("description", str, "a text"),
        ):
            if not isinstance(body.get(field), kind | None):
                yield f"experiments.{name}.{field} must be {word}"
        if not all(isinstance(tag, str) for tag in body.get("tags") or ()):
            yield f"experiments.{name}.tags must be texts"
        results = body.get("results")
        for stage, entry in results.items() if isinstance(results, dict) else ():
            yield from _misshapen_result(f"experiments.{name}.results.{stage}", entry)


def _misshapen_result(where: str, entry: object) -> Iterator[str]:
    if entry is None:
        return
    if not isinstance(entry, dict):
        yield f"{where} must be an object"
        return
    for field, kind, word in (
        ("status", str, "a text"),
        ("fingerprint", str, "a text"),
        ("metrics", dict, "an object"),
        ("inputs", dict, "an object"),
        ("last_attempt", dict, "an object"),
    ):
        if not isinstance(entry.get(field), kind | None):
            yield f"{where}.{field} must be {word}"
    after = entry.get("last_attempt")
    if isinstance(after, dict) and not {"attempt", "status"} <= after.keys():
        yield f"{where}.last_attempt must have attempt and status"


def render(document: Document) -> bytes:
    """The canonical text of a document; `ValueError` for NaN and infinities, `TypeError` for what is no JSON.

    The standard library's encoder cannot keep the spelling of numbers.
    """
    parts: list[str] = []
    _write(document, "\n", parts.append)
    return encoded("".join(parts) + "\n")


def value_text(value: Any) -> str:
    """One JSON value in the canonical form; `read_value` reads it back with the spelling of its numbers."""
    parts: list[str] = []
    _write(value, "\n", parts.append)
    return "".join(parts)


def read_value(text: str) -> Any:
    """Read `value_text` back."""
    return json.loads(text, parse_float=_finite)


def respelled(raw: bytes, before: Document, now: Document) -> bytes:
    """Canonical text `raw` with the experiments written anew of which the body is not the same in `before` and `now`.

    Both have the same names in the same order. With a thousand experiments this takes a tenth of the time of `render`.
    """
    text = raw.decode()
    position = text.index('\n  "experiments": {')
    parts, start = [], 0
    for name, body in now.items():
        if body == before[name]:
            continue
        key = f"\n    {encode_basestring(name)}: "
        position = text.index(key, position)
        # An experiment ends at the next line with its own indent: inside a text there is no line break.
        end = text.index("\n    }", position) + len("\n    }") if before[name] else position + len(key) + len("{}")
        block = [key]
        _write(body, "\n    ", block.append)
        parts += [text[start:position], *block]
        start = end
    return encoded("".join([*parts, text[start:]]))


_CONSTANTS = {None: "null", True: "true", False: "false"}


def _write(value: Any, indent: str, put: Callable[[str], None]) -> None:
    if isinstance(value, str):
        put(encode_basestring(value))
    elif isinstance(value, dict | list | tuple):
        _write_items(value, indent, put)
    elif isinstance(value, _Spelled):
        put(value.spelling)
    elif value is None or isinstance(value, bool):
        put(_CONSTANTS[value])
    elif isinstance(value, int):
        put(repr(value))
    else:
        put(json.dumps(value, allow_nan=False))


def _write_items(value: dict[str, Any] | list[Any] | tuple[Any, ...], indent: str, put: Callable[[str], None]) -> None:
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    if not value:
        put(opening + closing)
        return
    deeper = indent + "  "
    separator = opening + deeper
    for item in value:
        put(separator)
        if isinstance(value, dict):
            put(f"{encode_basestring(item)}: ")
            item = value[item]
        _write(item, deeper, put)
        separator = "," + deeper
    put(indent + closing)
