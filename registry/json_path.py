"""One notation for a place in a JSON file, in messages, in `--json` and in `--set`.

Steps are joined by dots and an index stands in brackets: `experiments.base.config.curation.pass_rate[0]`. A key that
could be misread, because it holds a dot, a bracket, a quote or a blank, is quoted as in JSON:
`models."llama3.1:8b".max_length`. `split` reads back what `join` writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from registry.errors import UsageError, shortened
from registry.names import MAX_LENGTH

Step = str | int
Steps = tuple[Step, ...]


class _Absent:
    """There is no such key."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = _Absent()

_PLAIN = re.compile(r'[^\s."\[\]\\]+')
_STEP = re.compile(r'\[(\d+)\]|\.?("(?:[^"\\]|\\.)*"|[^\s."\[\]\\]+)')


def join(*steps: Step) -> str:
    """The path that `steps` make; a key longer than any legal name is shortened."""
    parts = []
    for step in steps:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            parts.append(f"{'.' if parts else ''}{_key(step)}")
    return "".join(parts)


def split(path: str) -> Steps:
    """The steps of a path; `UsageError` for what is none."""
    steps: list[Step] = []
    position = 0
    while position < len(path):
        found = _STEP.match(path, position)
        # A dot stands before every key but the first, and nowhere else.
        if not found or (found[2] and found[0].startswith(".") != bool(steps)):
            raise UsageError(
                f'{shortened(path)} is no path; write it as in curation.n_samples or models."a.b".max_length'
            )
        steps.append(_unquoted(found[2], path) if found[2] else int(found[1]))
        position = found.end()
    return tuple(steps)


def startswith(path: Sequence[Step], start: Sequence[Step]) -> bool:
    """Whether `path` is `start` or lies below it."""
    return tuple(path[: len(start)]) == tuple(start)


def below(value: Any, step: Step) -> Any:
    """What lies one step below a JSON value; `ABSENT` for nothing."""
    if isinstance(value, Mapping):
        return value.get(step, ABSENT)
    if isinstance(value, Sequence) and not isinstance(value, str) and isinstance(step, int) and step < len(value):
        return value[step]
    return ABSENT


def _key(key: str) -> str:
    if len(key) > MAX_LENGTH:
        return shortened(key)
    if _PLAIN.fullmatch(key) and key.isprintable():
        return key
    return json.dumps(key, ensure_ascii=not key.isprintable())


def _unquoted(key: str, path: str) -> str:
    if not key.startswith('"'):
        return key
    try:
        return str(json.loads(key))
    except json.JSONDecodeError:
        raise UsageError(f"{shortened(path)} is no path: {key} is not quoted as in JSON") from None
