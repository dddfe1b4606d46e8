"""Records: immutable files that each say what happened to one stage. A result is saved once its record is.

A record is canonical JSON with its own SHA-256, under a name that nobody else can use. Saving takes no lock. Records
are ordered by (attempt, restart) and, within one restart, by their event, never by a clock.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from registry.canonical import dumps
from registry.document import FORMAT, write_durably
from registry.errors import StageFailure
from registry.schema import Stage

Event = Literal["intent", "submitted", "started", "cancelled", "failed", "completed"]
EVENTS: tuple[Event, ...] = get_args(Event)
TERMINAL = frozenset({"cancelled", "failed", "completed"})


@dataclass(frozen=True)
class Record:
    """What happened to `stage` of `experiment`. `result` is event's payload; `inputs` are what `fingerprint` hashes."""

    experiment: str
    stage: Stage
    event: Event
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
        return _sealed(asdict(self))


def _sealed(body: Mapping[str, Any]) -> bytes:
    return dumps({**body, "sha256": hashlib.sha256(dumps(body)).hexdigest()})


class Numbered(Protocol):
    """A record or its header."""

    @property
    def id(self) -> str: ...
    @property
    def event(self) -> Event: ...
    @property
    def attempt(self) -> int: ...
    @property
    def restart(self) -> int: ...


def record_name(experiment: str, stage: Stage, record: Numbered) -> str:
    """The file name of a record."""
    return f"{experiment}~{stage}~{record.attempt:05d}-{record.restart:03d}~{record.event}~{record.id}.json"


class DamagedRecordError(ValueError):
    """The file does not hold what was written under its name."""


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
    if record.event not in EVENTS:
        raise DamagedRecordError(f"unknown event {record.event!r}")
    return record


def save_record(record: Record, inbox: Path) -> Path:
    """Save `record` durably; when this returns, the result is saved."""
    path = inbox / record.file_name
    try:
        inbox.mkdir(parents=True, exist_ok=True)
        write_durably(path, record.to_bytes())
    except OSError as error:
        raise StageFailure(
            f"{record.experiment}: the {record.event} record of {record.stage} could not be saved in {inbox}: "
            f"{error.strerror or error}; free space or mend the permissions, then run the stage again"
        ) from error
    return path


def claim_attempt(folder: Path) -> int:
    """Take the next free attempt number of a stage: `mkdir` succeeds for exactly one process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = max((int(name) for name in os.listdir(folder) if name.isdigit()), default=0) + 1
        while True:
            try:
                (folder / str(number)).mkdir()
            except FileExistsError:
                number += 1
            else:
                return number
    except OSError as error:
        raise StageFailure(
            f"{folder}: no attempt can be claimed: {error.strerror or error}; the registry's folder must be writable "
            "for its group"
        ) from None
