"""Records: immutable files that each say what happened to one stage, or what was edited. Saved is what has its record.

A record is canonical JSON with its own SHA-256, under a name that nobody else can use. Saving takes no lock. Records
of a stage are ordered by (attempt, restart) and, within one restart, by their event, never by a clock. What commands
and people change beside results is a record without a stage (`config`, `note`), ordered by its own number.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from registry.canonical import dumps
from registry.document import FORMAT
from registry.durable import flush_folder, make_folder, write_all_durably, write_durably
from registry.errors import StageFailure
from registry.schema import Stage

Event = Literal["intent", "submitted", "started", "cancelled", "failed", "completed"]
EVENTS: tuple[Event, ...] = get_args(Event)
EditEvent = Literal["config", "note"]
EDIT_EVENTS: tuple[EditEvent, ...] = get_args(EditEvent)
TERMINAL = frozenset({"cancelled", "failed", "completed"})


@dataclass(frozen=True)
class Record:
    """What happened to `stage` of `experiment`; of an edit, `stage` is null and `attempt` its number.

    `result` is the event's payload; `inputs` are what `fingerprint` hashes.
    """

    experiment: str
    stage: Stage | None
    event: Event | EditEvent
    attempt: int
    restart: int
    fingerprint: str
    inputs: Mapping[str, Any]
    result: Mapping[str, Any]
    provenance: Mapping[str, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    format: int = FORMAT

    @property
    def file_name(self) -> str:
        """Readable, sortable, and unique through the id."""
        return record_name(self.experiment, self.stage, self)

    def to_bytes(self) -> bytes:
        """Canonical JSON with the SHA-256 of all other fields."""
        return _sealed(vars(self))


def _sealed(body: Mapping[str, Any]) -> bytes:
    return dumps({**body, "sha256": hashlib.sha256(dumps(body)).hexdigest()})


class Numbered(Protocol):
    """A record or its header."""

    @property
    def id(self) -> str: ...
    @property
    def event(self) -> Event | EditEvent: ...
    @property
    def attempt(self) -> int: ...
    @property
    def restart(self) -> int: ...


def record_name(experiment: str, stage: Stage | None, record: Numbered) -> str:
    """The file name of a record."""
    return f"{experiment}~{stage or 'edit'}~{record.attempt:05d}-{record.restart:03d}~{record.event}~{record.id}.json"


class DamagedRecordError(ValueError):
    """The file does not hold what was written under its name."""


class UnreadableRecordError(OSError):
    """The file is there but cannot be read now; it may be another time."""


def parse_record(raw: bytes) -> Record:
    """Read a record back; `DamagedRecordError` when it is torn, altered, or of a newer format."""
    try:
        body = json.loads(raw)
        body.pop("sha256")
        whole = _sealed(body) == raw
        newer = body["format"] > FORMAT
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedRecordError(f"not a record: {error}") from None
    if not whole:
        raise DamagedRecordError("the checksum does not match")
    if newer:
        raise DamagedRecordError(f"format {body['format']} is newer than this code's {FORMAT}: update the checkout")
    try:
        record = Record(**body)
    except TypeError as error:
        raise DamagedRecordError(f"not a record: {error}") from None
    if record.event not in (EVENTS if record.stage else EDIT_EVENTS):
        raise DamagedRecordError(f"unknown event {record.event!r}")
    return record


def save_record(record: Record, inbox: Path, fallback: Path | None = None) -> Path:
    """Save `record` durably; when this returns, the record is in `inbox`.

    Where that cannot be written, the same record goes into `fallback`, a folder that the fold looks into as well, and
    `StageFailure` is raised all the same: somebody has to mend the registry's folder.
    """
    what = f"{record.experiment}: the {record.event} record" + (f" of {record.stage}" if record.stage else "")
    try:
        make_folder(inbox)
        write_durably(inbox / record.file_name, record.to_bytes())
    except OSError as error:
        lost = f"{what} could not be saved in {inbox}: {error.strerror or error}"
        if fallback is None:
            raise StageFailure(f"{lost}; free space or mend the permissions, then do it again") from error
        try:
            make_folder(fallback)
            write_durably(fallback / record.file_name, record.to_bytes())
        except OSError as second:
            why = second.strerror or second
            raise StageFailure(
                f"{lost}; nor in {fallback}: {why}; free space or mend the permissions, then run the stage again"
            ) from error
        raise StageFailure(
            f"{lost}; it is kept in {fallback}, where the next command that can write the registry finds it: free "
            "space or mend the permissions"
        ) from error
    return inbox / record.file_name


def save_records(records: Sequence[Record], inbox: Path) -> None:
    """Save many records durably; `StageFailure` when one of them could not be, and then others may have been."""
    if not records:
        return
    try:
        make_folder(inbox)
        write_all_durably(inbox, {record.file_name: record.to_bytes() for record in records})
    except OSError as error:
        raise StageFailure(
            f"{inbox}: records could not be saved: {error.strerror or error}; free space or mend the permissions"
        ) from None


def claim_attempt(folder: Path, above: int = 0, lasting: bool = True) -> int:
    """Take the next free number of a stage's attempts, or of edits: `mkdir` succeeds for exactly one process.

    It is greater than `above`, the last one that records know of. With that, a number need not be `lasting`: one that a
    loss of power gives out twice has no record.
    """
    try:
        make_folder(folder, lasting)
        number = max((int(name) for name in os.listdir(folder) if name.isdigit()), default=0)
        number = max(number, above) + 1
        while True:
            try:
                (folder / str(number)).mkdir()
            except FileExistsError:
                number += 1
            else:
                if lasting:
                    flush_folder(folder)  # a number that is given out twice mixes two attempts
                return number
    except OSError as error:
        raise StageFailure(
            f"{folder}: no number can be claimed: {error.strerror or error}; free space, or make the registry's folder "
            "writable for its group"
        ) from None
