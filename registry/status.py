"""What state every stage of an experiment is in, from the registry alone: no queue and no network is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from registry.contents import Contents
from registry.effective import EffectiveConfig
from registry.errors import MissingError
from registry.fingerprint import Fingerprints, Inputs, changed_fields
from registry.history import Header, State
from registry.schema import STAGES, Stage

Word = Literal["n/a", "missing", "submitted", "running", "completed", "failed", "cancelled", "stale", "unknown"]


@dataclass(frozen=True)
class StageStatus:
    """One stage's state and why; `job` is the newest attempt's while that is in flight."""

    status: Word
    reason: str = ""
    attempt: int | None = None
    fingerprint: str | None = None
    timestamp: str | None = None
    job: Mapping[str, Any] | None = None


def statuses(
    config: EffectiveConfig, results: Mapping[str, Any], state: State, contents: Contents
) -> dict[Stage, StageStatus]:
    """The state of all three stages; staleness of a parent makes its children stale."""
    found: dict[Stage, StageStatus] = {}
    fingerprints = Fingerprints(config, contents, recorded_inputs(results))
    for stage in STAGES:
        if not config.applies(stage):
            found[stage] = StageStatus("n/a")
            continue
        flying = in_flight(state.headers(config.experiment, stage))
        if flying is not None:
            found[stage] = status_in_flight(flying)
            continue
        found[stage] = _settled(fingerprints, stage, results.get(stage) or {})
    return found


def ended_as(entry: Mapping[str, Any] | None) -> str:
    """What a result says of itself: `missing` for none; one without a status, of another program, is `completed`."""
    return str(entry.get("status", "completed")) if entry else "missing"


def recorded_inputs(results: Mapping[str, Any]) -> dict[Stage, Inputs]:
    """The inputs that each stage's result was made from."""
    return {stage: (results.get(stage) or {}).get("inputs") or {} for stage in STAGES}


def in_flight(headers: list[Header]) -> Header | None:
    """The newest attempt's last word, when it is neither an end nor a mere intent."""
    own = [header for header in headers if not header.overridden and header.event != "intent"]
    return own[-1] if own and own[-1].event in ("submitted", "started") else None


def in_flight_with(headers: list[Header], fingerprint: str) -> Header | None:
    """The newest attempt with this fingerprint, overridden or not, when it has not ended: it owns the run directory."""
    same = [header for header in headers if header.fingerprint == fingerprint and header.event != "intent"]
    return same[-1] if same and same[-1].event in ("submitted", "started") else None


def being_submitted(headers: list[Header], fingerprint: str | None = None) -> list[Header]:
    """The intents of batch jobs, all or those with this fingerprint, that nothing is known to have come of."""
    last = {header.attempt: header for header in headers}
    intents = [header for header in last.values() if header.event == "intent" and "token" in header.job]
    return [header for header in intents if fingerprint in (None, header.fingerprint)]


def all_in_flight(headers: list[Header]) -> list[Header]:
    """The last word of every attempt, overridden or not, that has started or waits and has not ended."""
    last = {header.attempt: header for header in headers}
    return [header for header in last.values() if header.event in ("submitted", "started")]


def status_in_flight(header: Header) -> StageStatus:
    """The state of a stage whose newest attempt has not ended."""
    word: Word = "submitted" if header.event == "submitted" else "running"
    return StageStatus(word, "", header.attempt, header.fingerprint, header.timestamp, header.job)


def _settled(fingerprints: Fingerprints, stage: Stage, entry: Mapping[str, Any]) -> StageStatus:
    if not entry:
        return StageStatus("missing")
    word = entry.get("status", "completed")
    base = {
        "attempt": entry.get("attempt"),
        "fingerprint": entry.get("fingerprint"),
        "timestamp": entry.get("timestamp"),
    }
    if word != "completed":
        return StageStatus(word, str(entry.get("error", "")), **base)
    if entry.get("fingerprint") is None:
        return StageStatus("completed", "fingerprint unknown (recorded by another program)", **base)
    try:
        fingerprint = fingerprints.of(stage)
    except MissingError as error:
        return StageStatus("completed", f"cannot be checked here: {error}", **base)
    last = entry.get("last_attempt") or {}
    note = f"attempt {last['attempt']} {last['status']}: {last.get('error', '')}" if last else ""
    if fingerprint == entry["fingerprint"]:
        return StageStatus("completed", note, **base)
    changes = "; ".join(changed_fields(entry.get("inputs") or {}, fingerprints.inputs(stage))) or "inputs unknown"
    return StageStatus("stale", "; ".join(filter(None, [changes, note])), **base)
