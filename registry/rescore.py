"""Which stored predictions may be scored again: those that the model as it is now would give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.errors import MissingError, UsageError
from registry.fingerprint import Inputs, changed_fields
from registry.paths import is_here
from registry.status import ended_as

# What decides how answers are scored, and not which ones the model gives. The questions are held against the
# stored prompts one by one, so the data sets may have changed (a corrected gold answer, say).
_SCORING = frozenset({"version", "datasets", "judge_model"})
_SCORING_OF_EVAL = frozenset({"judge", "limit"})


def earlier_predictions(name: str, entry: Mapping[str, Any], inputs: Inputs) -> str:
    """The predictions of the eval result `entry`, to be scored again for `inputs`.

    Raises `MissingError` when there are none on this machine, `UsageError` when they are another model's or were asked
    for in another way.
    """
    path = entry.get("predictions_path")
    if ended_as(entry) != "completed" or not path:
        raise MissingError(f"{name}: has no eval result with predictions that could be scored again; run its eval")
    if not is_here(path):
        raise MissingError(f"{name}: its predictions {path} are not on this machine; run its eval again")
    changes = changed_fields(_asked(entry.get("inputs") or {}), _asked(inputs))
    if changes:
        raise UsageError(f"{name}: its predictions cannot be scored again: {'; '.join(changes)}; run its eval again")
    return str(path)


def _asked(inputs: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in inputs.items() if key not in _SCORING}
    settings = inputs.get("eval") or {}
    # A setting that an earlier version did not know was null then.
    kept["eval"] = {key: v for key, v in settings.items() if key not in _SCORING_OF_EVAL and v is not None}
    return kept
