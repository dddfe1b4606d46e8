"""New experiments from old ones: a config that differs in the given values, and grids of them with readable names."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from registry.errors import UsageError
from registry.layers import assign
from registry.references import FIELDS, PREFIX, target
from registry.resolve import parse_value


def derived(experiments: Mapping[str, Any], base: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The config of an experiment that is `base` with other `values` (dotted path -> value).

    A field that stays the same says `"same as ..."`, so that the entry shows what differs; one that does not is whole.
    """
    config: dict[str, Any] = dict(experiments[base].get("config") or {})
    changed = {assign(config, experiments, base, path, value)[0] for path, value in values.items()}
    for field in FIELDS:
        if field not in changed and config.get(field) is not None and target(config[field]) is None:
            config[field] = f"{PREFIX}{base}"
    return config


def grid(settings: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every combination of the settings' values, with what its name ends in: nothing when no setting has several.

    `key=v1,v2` are several values; a JSON value, such as `key=[1,2]`, is one.
    """
    keys: dict[str, list[Any]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting!r}: write it as key=value, or key=v1,v2 for a grid")
        if key in keys:
            raise UsageError(f"--set {key}: given twice; write several values as {key}=v1,v2")
        keys[key] = _values(text)
    for combination in itertools.product(*keys.values()):
        values = dict(zip(keys, combination, strict=True))
        yield "".join(f"-{_short(key)}{_word(value)}" for key, value in values.items() if len(keys[key]) > 1), values


def _values(text: str) -> list[Any]:
    try:
        values: list[Any] = json.loads(f"[{text}]")  # commas inside lists and objects part no values
    except json.JSONDecodeError:
        return [parse_value(part) for part in text.split(",")]
    return values or [""]


def _short(key: str) -> str:
    """A key's last part, or its initials: `training_params.learning_rate` is `lr`, `curation.seed` is `seed`."""
    last = key.split(".")[-1]
    return "".join(word[:1] for word in last.split("_")) if "_" in last else last


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^A-Za-z0-9._+=@:-]+", "-", text.removeprefix(PREFIX)).strip("-")
