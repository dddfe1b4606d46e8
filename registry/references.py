"""`"same as X"`: a field of an experiment's config that is that field of experiment X. The one resolver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.errors import UsageError, nearest

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
    field raise `UsageError` with the chain.
    """
    chain = [name]
    while True:
        config = experiments[chain[-1]].get("config") or {}
        value = config.get(field)
        other = target(value)
        if other is None:
            if value is None and len(chain) > 1:
                raise UsageError(f"{name}: {field}: {_arrow(chain)}, which has no {field}; point to one that has")
            return value, tuple(chain)
        if other not in experiments:
            raise UsageError(
                f"{name}: {field}: {_arrow([*chain, other])}: no such experiment{nearest(other, experiments)}"
            )
        if other in chain:
            raise UsageError(f"{name}: {field}: {_arrow([*chain, other])} is a circle; give one of them a value")
        chain.append(other)


def _arrow(chain: list[str]) -> str:
    return " -> same as ".join(chain)
