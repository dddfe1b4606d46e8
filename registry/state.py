"""The state file: what the last fold knew, so that reading a registry need not open every record again.

It is derived, and made anew from the records when it is gone or damaged. Its first line holds the SHA-256 of the rest;
the second is the state without results; then comes a line of results for each experiment. Those are only parsed when
`results.json` is not as the fold left it, and only written anew for the experiments that have changed: with a thousand
experiments they are most of the time that a fold takes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from registry.durable import read_whole
from registry.errors import MissingError
from registry.history import State
from registry.paths import RegistryPaths

STATE_FORMAT = 2


def load_state(paths: RegistryPaths, file: Mapping[str, Any], raw: bytes) -> tuple[State, list[str]]:
    """The last fold's state; an empty one when it is absent or damaged. `file` are the experiments that `raw` holds."""
    try:
        head, body = read_whole(paths.state).split(b"\n", 1)
        if json.loads(head) == _head(body):
            core, *lines = body.splitlines()
            state = State.from_json(json.loads(core))
            state.lines = dict(zip(state.counted, lines, strict=True))
            if state.file == hashlib.sha256(raw).hexdigest():
                state.results = {
                    name: {stage: file[name]["results"][stage] for stage in stages}
                    for name, stages in state.counted.items()
                }
            else:
                state.results = {name: json.loads(line) for name, line in state.lines.items()}
            return state, []
    except FileNotFoundError:
        return State(), []
    except OSError as error:
        raise MissingError(
            f"{paths.state}: cannot be read: {error.strerror}; it must be open to all who use it"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return State(), [f"{paths.state}: damaged; rebuilt from the records"]


def state_bytes(state: State) -> bytes:
    """The state file's content."""
    state.counted = {name: list(results) for name, results in state.results.items()}
    lines = [
        state.lines[name] if name in state.lines and name not in state.touched else _line(results)
        for name, results in state.results.items()
    ]
    body = b"\n".join([_line(state.to_json()), *lines, b""])
    return _line(_head(body)) + b"\n" + body


def _head(body: bytes) -> dict[str, Any]:
    return {"format": STATE_FORMAT, "sha256": hashlib.sha256(body).hexdigest()}


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")
