"""The state of an experiment whose config this version cannot resolve: what its results alone say.

Most experiments of the original project are of this kind (they name methods that are not built here, or data sets that
the catalog lacks). Their results are there all the same, and so they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.errors import UsageError
from registry.history import State
from registry.references import follow
from registry.schema import CONFIG_FIELD, STAGES, Stage
from registry.status import StageStatus, in_flight, status_in_flight


def recorded_statuses(
    experiments: Mapping[str, Any], name: str, state: State, problem: UsageError
) -> dict[Stage, StageStatus]:
    """The state of all three stages of `name` without an effective config; `problem` says why there is none.

    A completed stage stays completed, with a reason that says that it could not be compared with the config. A stage
    with neither result nor attempt is missing where the config has it.
    """
    results = experiments[name].get("results") or {}
    return {stage: _recorded(experiments, name, stage, results.get(stage) or {}, state, problem) for stage in STAGES}


def _recorded(
    experiments: Mapping[str, Any],
    name: str,
    stage: Stage,
    entry: Mapping[str, Any],
    state: State,
    problem: UsageError,
) -> StageStatus:
    flying = in_flight(state.headers(name, stage))
    if flying is not None:
        return status_in_flight(flying)
    reason = f"cannot be compared with its config: {problem}"
    if not entry:
        return StageStatus("missing", reason) if _in_config(experiments, name, stage) else StageStatus("n/a")
    word = entry.get("status", "completed")
    if word != "completed":
        reason = str(entry.get("error", ""))
    elif entry.get("fingerprint") is None:
        reason = f"fingerprint unknown (recorded by another program); {reason}"
    return StageStatus(word, reason, entry.get("attempt"), entry.get("fingerprint"), entry.get("timestamp"))


def _in_config(experiments: Mapping[str, Any], name: str, stage: Stage) -> bool:
    try:
        found = follow(experiments, name, CONFIG_FIELD[stage])[0]
    except UsageError:
        return True  # something was meant to be there
    if stage == "eval":
        return isinstance(found, Mapping) and bool(found.get("eval"))
    return found is not None
