"""What all records of a registry add up to: the history of every stage, and the result that counts.

Pure functions over headers (a record without its payload). Which result counts does not depend on the order in which
records arrive, nor on any clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from registry.records import EVENTS, TERMINAL, DamagedRecordError, Event, Record, UnreadableRecordError
from registry.schema import STAGES, Stage

Entry = dict[str, Any]


@dataclass(frozen=True)
class Header:
    """A record without its payload. `overridden` marks a run whose `--set` made it another experiment's.

    `run_dir` is only that of an intent: where its attempt keeps what it could not save in the registry.
    """

    id: str
    event: Event
    attempt: int
    restart: int
    fingerprint: str
    overridden: bool
    timestamp: str
    job: Mapping[str, Any]
    run_dir: str = ""

    @property
    def order(self) -> tuple[int, int, int, str]:
        """The order of records of one stage; the id decides between records that say the same."""
        return (self.attempt, self.restart, EVENTS.index(self.event), self.id)


@dataclass
class State:
    """What the last fold knew.

    `results` count, `history` has every stage's records, `edits` those of each experiment that have no stage (in order
    of their numbers), `document` is the file without recorded results, and `versions` the newest forms of the file: the
    digest of its results, and the changes that led to it from the one before. The results of
    `unsettled` stages wait for a record that could not be read. `file` is the SHA-256 of the file as the
    fold left it and `inode` its number. `counted`, `lines` and `touched` serve the state file (`registry.state`).
    """

    results: dict[str, dict[Stage, Entry]] = field(default_factory=dict)
    history: dict[str, dict[Stage, list[Header]]] = field(default_factory=dict)
    edits: dict[str, list[Entry]] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    versions: list[dict[str, Any]] = field(default_factory=list)
    unsettled: list[tuple[str, Stage]] = field(default_factory=list)
    file: str = ""
    inode: int = 0
    counted: dict[str, list[Stage]] = field(default_factory=dict)
    lines: dict[str, bytes] = field(default_factory=dict, compare=False)
    touched: set[str] = field(default_factory=set, compare=False)

    @property
    def experiments(self) -> dict[str, Any]:
        """The experiments of the last fold, without their results."""
        return self.document.get("experiments") or {}

    def headers(self, experiment: str, stage: Stage) -> list[Header]:
        """The stage's records so far, in order."""
        return self.history.get(experiment, {}).get(stage, [])

    def removed(self, experiment: str, stage: Stage) -> int:
        """The newest attempt whose results `meds1 rm` took away; they stay in the history."""
        return max(
            (edit["removed"].get(stage, 0) for edit in self.edits.get(experiment, ()) if "removed" in edit), default=0
        )

    def known(self) -> set[str]:
        """The ids of all records."""
        of_stages = {h.id for stages in self.history.values() for headers in stages.values() for h in headers}
        return of_stages | {edit["id"] for edits in self.edits.values() for edit in edits}

    def to_json(self) -> dict[str, Any]:
        """JSON without the results; a header is a list of its values."""
        history = {
            name: {stage: [list(vars(header).values()) for header in headers] for stage, headers in stages.items()}
            for name, stages in self.history.items()
        }
        apart = ("results", "lines", "touched")
        return {**{key: value for key, value in vars(self).items() if key not in apart}, "history": history}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> State:
        """Read `to_json` back; `TypeError`, `KeyError` or `AttributeError` when it is something else."""
        history = {
            name: {stage: [Header(*header) for header in headers] for stage, headers in stages.items()}
            for name, stages in body["history"].items()
        }
        return cls(**{**body, "history": history})


def header_of(record: Record) -> Header:
    """The header of a stage's record."""
    return Header(
        id=record.id,
        event=cast(Event, record.event),
        attempt=record.attempt,
        restart=record.restart,
        fingerprint=record.fingerprint,
        overridden=bool(record.result.get("overrides")),
        timestamp=str(record.result.get("timestamp", "")),
        job=record.result.get("job") or {},
        run_dir=str(record.result.get("run_dir", "")) if record.event == "intent" else "",
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


def absorb(state: State, records: Iterable[Record], load: Callable[[str, Stage, Header], Record]) -> list[str]:
    """Add `records` to `state` in place; `load(experiment, stage, header)` reads a record whose payload is needed.

    Returns what a person should know: a damaged record counts as if it had never been.
    """
    fresh = {record.id: record for record in records}
    touched: dict[tuple[str, Stage], None] = dict.fromkeys((name, stage) for name, stage in state.unsettled)
    state.unsettled = []
    for record in fresh.values():
        if record.stage is None:
            touched.update(dict.fromkeys((record.experiment, stage) for stage in add_edit(state, record)))
        elif _add_header(state, record.experiment, record.stage, header_of(record)):
            touched[record.experiment, record.stage] = None
    warnings = []
    for experiment, stage in sorted(touched):

        def payload(header: Header, experiment: str = experiment, stage: Stage = stage) -> Record:
            return fresh.get(header.id) or load(experiment, stage, header)

        try:
            warnings += _settle(state, experiment, stage, payload)
        except UnreadableRecordError as error:
            state.unsettled.append((experiment, stage))
            warnings.append(f"{experiment}: {stage}: its result is as before for now: {error}")
    return warnings


def _add_header(state: State, experiment: str, stage: Stage, header: Header) -> bool:
    headers = state.history.setdefault(experiment, {}).setdefault(stage, [])
    if any(known.id == header.id for known in headers):
        return False
    headers.append(header)
    headers.sort(key=lambda known: known.order)
    return True


def add_edit(state: State, record: Record) -> Iterable[Stage]:
    """Note an edit; returns the stages whose results it takes away."""
    edits = state.edits.setdefault(record.experiment, [])
    if any(edit["id"] == record.id for edit in edits):
        return ()
    edits.append({"id": record.id, "number": record.attempt, "event": record.event, **record.result})
    edits.sort(key=lambda edit: (edit["number"], edit["id"]))
    return record.result.get("removed") or ()


def _settle(state: State, experiment: str, stage: Stage, payload: Callable[[Header], Record]) -> list[str]:
    state.touched.add(experiment)
    removed = state.removed(experiment, stage)
    headers = [header for header in state.headers(experiment, stage) if header.attempt > removed]
    results = state.results.setdefault(experiment, {})
    warnings: list[str] = []
    while True:
        best, last = that_count(headers)
        chosen = best or last
        if chosen is None:
            results.pop(stage, None)
            return warnings
        header = chosen
        try:
            current = results.get(stage, {})
            entry = dict(current) if current.get("record") == chosen.id else entry_of(payload(chosen))
            entry.pop("last_attempt", None)
            if best is not None and last is not None and last.order > best.order:
                header = last
                entry["last_attempt"] = _after(payload(last))
        except DamagedRecordError as error:
            warnings.append(f"{experiment}: {stage}: attempt {header.attempt} ({header.event}) does not count: {error}")
            headers.remove(header)
            continue
        results[stage] = entry
        return warnings


def _after(record: Record) -> Entry:
    return {
        "status": record.event,
        "attempt": record.attempt,
        "restart": record.restart,
        **{key: record.result[key] for key in ("timestamp", "error", "log") if key in record.result},
    }


def plain(experiments: Mapping[str, Any], state: State) -> dict[str, Any]:
    """Experiments without the results that `state`'s records restore; those of other programs stay in them."""
    bare = {}
    for name, body in experiments.items():
        results = (body.get("results") or {}).items()
        foreign = {stage: entry for stage, entry in results if not _restores(state, name, stage, entry)}
        bare[name] = {key: value for key, value in body.items() if key != "results"}
        if foreign:
            bare[name]["results"] = foreign
    return bare


def _restores(state: State, name: str, stage: Stage, entry: Any) -> bool:
    record = (entry or {}).get("record")
    if record is None:
        return False
    current = state.results.get(name, {}).get(stage, {}).get("record")
    return record == current or any(record == header.id for header in state.headers(name, stage))


def overlay(experiments: Mapping[str, Any], file: Mapping[str, Any], state: State) -> dict[str, Any]:
    """Lay the results that count over `experiments`, in the order of `file` as far as that goes.

    What says the same stays as the file has it, the order of its keys included.
    """
    names = [*(name for name in file if name in experiments), *(name for name in experiments if name not in file)]
    return {name: _body(experiments[name], file.get(name, {}), state.results.get(name, {})) for name in names}


def _body(body: Entry, written: Entry, counted: Mapping[Stage, Entry]) -> Entry:
    before = written.get("results") or {}
    now: Entry = {**(body.get("results") or {}), **{stage: counted[stage] for stage in STAGES if stage in counted}}
    if now or before:
        stages = [stage for stage in {**before, **now} if stage in now]
        results = {
            stage: before[stage] if stage in before and before[stage] == now[stage] else now[stage] for stage in stages
        }
        body = {**body, "results": results}
    elif "results" in written:
        body = {**body, "results": written["results"]}
    return {key: body[key] for key in {**written, **body} if key in body}
