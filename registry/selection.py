"""Which experiments a command means: names, globs, a tag, or all."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from registry.errors import UsageError, nearest, no_experiment


def select(
    experiments: Mapping[str, Any], names: Sequence[str], everything: bool = False, tag: str | None = None
) -> list[str]:
    """The chosen experiments in the registry's order; `UsageError` for a name or glob that meets none."""
    if names and everything:
        raise UsageError("give names or --all, not both")
    if not names and not everything and tag is None:
        raise UsageError(f"name an experiment, or use --all or --tag{nearest('', experiments)}")
    chosen = set(experiments) if not names else set()
    for name in names:
        matches = fnmatch.filter(experiments, name) if any(mark in name for mark in "*?[") else [name]
        unknown = [match for match in matches if match not in experiments]
        if unknown or not matches:
            raise no_experiment(name, experiments)
        chosen.update(matches)
    if tag is not None:
        chosen = {name for name in chosen if tag in (experiments[name].get("tags") or [])}
        if not chosen and names:
            raise UsageError(f"none of the named experiments has the tag {tag!r}")
        if not chosen:
            known = {known for body in experiments.values() for known in body.get("tags") or []}
            raise UsageError(f"no experiment has the tag {tag!r}{nearest(tag, known)}")
    return [name for name in experiments if name in chosen]


def of_model(experiments: Mapping[str, Any], names: Sequence[str], model: str) -> list[str]:
    """Those of `names` whose config has this `model_key`; `UsageError` when no experiment at all has it."""
    of = {name: model_of(body) for name, body in experiments.items()}
    if model not in of.values():
        raise UsageError(f"no experiment has the model {model!r}{nearest(model, filter(None, of.values()))}")
    return [name for name in names if of[name] == model]


def model_of(body: Mapping[str, Any]) -> str | None:
    """The base model that an experiment's config names; null where it names none, or something that is no text."""
    found = (body.get("config") or {}).get("model_key")
    return found if isinstance(found, str) else None
