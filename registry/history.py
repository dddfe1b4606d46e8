"""What all records of a registry add up to: the history of every stage, and the result that counts.

Pure functions over headers (a record without its payload). Which result counts does not depend on the order in which
records arrive, nor on any clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from registry.document import FORMAT
from registry.records import EVENTS, TERMINAL, Event, Record
from registry.schema import STAGES, Stage

Entry = dict[str, Any]


@dataclass(frozen=True)
class Header:
    """A record without its payload. `overridden` marks a run whose `--set` made it another experiment's."""

    id: str
    event: Event
    attempt: int
    restart: int
    fingerprint: str
    overridden: bool
    timestamp: str
    job: Mapping[str, Any]

    @property
    def order(self) -> tuple[int, int, int, str]:
        """The order of records of one stage; the id decides between records that say the same."""
        return (self.attempt, self.restart, EVENTS.index(self.event), self.id)


@dataclass
class State:
    """`results` that count, `history` of every stage, and the `document` (without results) of the last fold."""

    results: dict[str, dict[Stage, Entry]] = field(default_factory=dict)
    history: dict[str, dict[Stage, list[Header]]] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def experiments(self) -> dict[str, Any]:
        """The experiments of the last fold, without their results."""
        return self.document.get("experiments") or {}

    def headers(self, experiment: str, stage: Stage) -> list[Header]:
        """The stage's records so far, in order."""
        return self.history.get(experiment, {}).get(stage, [])

    def to_json(self) -> dict[str, Any]:
        """JSON for `state.json`."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> State:
        """Read `to_json` back; `KeyError` or `TypeError` when it is something else."""
        history = {
            name: {stage: [Header(**header) for header in headers] for stage, headers in stages.items()}
            for name, stages in body["history"].items()
        }
        return cls(results=body["results"], history=history, document=body["document"])


def header_of(record: Record) -> Header:
    """The header of a record."""
    return Header(
        id=record.id,
        event=record.event,
        attempt=record.attempt,
        restart=record.restart,
        fingerprint=record.fingerprint,
        overridden=bool(record.result.get("overrides")),
        timestamp=str(record.result.get("timestamp", "")),
        job=record.result.get("job") or {},
    )


def entry_of(record: Record) -> Entry:
    """What stands in `results.json` for a record that counts."""
    return {
        "status": record.event,
        **record.result,
        "fingerprint": record.fingerprint,
        "inputs": dict(record.inputs),
        "attempt": record.attempt,
        "restart": record.restart,
        "provenance": dict(record.provenance),
        "record": record.id,
    }


def that_count(headers: Iterable[Header]) -> tuple[Header | None, Header | None]:
    """Return the completed record that counts and the last ended one, either of which may be none.

    A restart that was followed by a later restart of the same attempt is a zombie: whatever it still writes is
    history. So is a run whose overrides made it another experiment's.
    """
    known = list(headers)
    latest_restart: dict[int, int] = {}
    for header in known:
        latest_restart[header.attempt] = max(header.restart, latest_restart.get(header.attempt, 0))
    ended = [
        header
        for header in known
        if header.event in TERMINAL and not header.overridden and header.restart == latest_restart[header.attempt]
    ]
    ended.sort(key=lambda header: header.order)
    completed = [header for header in ended if header.event == "completed"]
    return (completed[-1] if completed else None, ended[-1] if ended else None)


def absorb(state: State, records: Iterable[Record], load: Callable[[str, Stage, Header], Record]) -> None:
    """Add `records` to `state` in place; `load(experiment, stage, header)` reads a record whose payload is needed."""
    fresh = {record.id: record for record in records}
    touched: set[tuple[str, Stage]] = set()
    for record in fresh.values():
        headers = state.history.setdefault(record.experiment, {}).setdefault(record.stage, [])
        if all(header.id != record.id for header in headers):
            headers.append(header_of(record))
            headers.sort(key=lambda header: header.order)
            touched.add((record.experiment, record.stage))
    for experiment, stage in sorted(touched):

        def payload(header: Header, experiment: str = experiment, stage: Stage = stage) -> Record:
            return fresh.get(header.id) or load(experiment, stage, header)

        _settle(state, experiment, stage, payload)


def _settle(state: State, experiment: str, stage: Stage, payload: Callable[[Header], Record]) -> None:
    best, last = that_count(state.headers(experiment, stage))
    results = state.results.setdefault(experiment, {})
    if best is None and last is None:
        results.pop(stage, None)
        return
    current = results.get(stage, {})
    chosen = best or last
    assert chosen is not None
    entry = dict(current) if current.get("record") == chosen.id else entry_of(payload(chosen))
    entry.pop("last_attempt", None)
    if best is not None and last is not None and last.order > best.order:
        after = payload(last).result
        entry["last_attempt"] = {
            "status": last.event,
            "attempt": last.attempt,
            "restart": last.restart,
            **{key: after[key] for key in ("timestamp", "error", "log") if key in after},
        }
    results[stage] = entry


def overlay(document: dict[str, Any], state: State) -> tuple[dict[str, Any], list[str]]:
    """Lay the results that count over a registry document; people's edits of everything else stand.

    Returns a new document and what a person should know. An experiment that has results but is gone from the file
    (an old file was checked out, say) comes back as the last fold knew it: only `meds1 rm` removes a result.
    """
    warnings = []
    experiments = dict(document.get("experiments") or {})
    for name, results in state.results.items():
        if not results:
            continue
        if name not in experiments:
            if name not in state.experiments:
                warnings.append(f"{name}: has results but no entry in the registry; they show once it is added")
                continue
            experiments[name] = state.experiments[name]
            warnings.append(f"{name}: was gone from the registry but has results; brought back")
        merged = dict(experiments[name].get("results") or {})
        for stage in STAGES:
            # An entry that says the same stays as it is written, the order of its keys included.
            if stage in results and merged.get(stage) != results[stage]:
                merged[stage] = results[stage]
        experiments[name] = {**experiments[name], "results": merged}
    return {**document, "experiments": experiments}, warnings


def without_recorded_results(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without the results that records restore; those of other programs stay in it."""
    experiments = {}
    for name, body in (document.get("experiments") or {}).items():
        results = body.get("results") or {}
        foreign = {stage: entry for stage, entry in results.items() if "record" not in (entry or {})}
        experiments[name] = {key: value for key, value in body.items() if key != "results"}
        if foreign:
            experiments[name]["results"] = foreign
    return {**document, "experiments": experiments}
