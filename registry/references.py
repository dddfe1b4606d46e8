"""`"same as X"`: a field of an experiment's config that is that field of experiment X. The one resolver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.errors import suggestion
from registry.json_path import join
from registry.names import in_message
from registry.problems import ConfigError, Problem

PREFIX = "same as "
FIELDS = ("curation", "training_params", "datasets", "eval")


def target(value: Any) -> str | None:
    """The experiment that `value` refers to, or None when it is no reference."""
    if isinstance(value, str) and value.startswith(PREFIX):
        return value.removeprefix(PREFIX).strip()
    return None


def follow(experiments: Mapping[str, Any], name: str, field: str) -> tuple[Any, tuple[str, ...]]:
    """Return the value of `field` of experiment `name` and the chain of experiments it was read through.

    The last of the chain is the one that has the value itself. An unknown experiment, a cycle and a target without the
    field raise `ConfigError` with the chain.
    """
    chain = [name]
    while True:
        config = experiments[chain[-1]].get("config") or {}
        value = config.get(field)
        other = target(value)
        if other is None:
            if value is None and len(chain) > 1:
                raise _error(name, field, f"{_arrow(chain)}, which has no {field}", "point to one that has")
            return value, tuple(chain)
        arrow = _arrow([*chain, other])
        if other not in experiments:
            raise _error(name, field, f"{arrow}: no such experiment", suggestion(other, experiments))
        if other in chain:
            raise _error(name, field, f"{arrow} is a circle", "give one of them a value")
        chain.append(other)


def _error(name: str, field: str, message: str, mend: str) -> ConfigError:
    return ConfigError.of([Problem(join("experiments", name, "config", field), message, mend, name)])


def _arrow(chain: list[str]) -> str:
    if len(chain) > 9:
        chain = [*chain[:4], "…", *chain[-4:]]
    return " -> same as ".join(name if name == "…" else in_message(name) for name in chain)
