"""Which batches are under way: one JSON file each, written before its job is created and again when its id is known.

Whatever moment a process is killed in, the next one finds the job by its id, or by its tag at the vendor.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from registry.durable import make_folder, write_durably
from registry.errors import StageFailure


@dataclass(frozen=True, slots=True)
class Record:
    """A batch: the custom ids of its requests, the vendor's id of its job (null: perhaps not created yet).

    `turn` counts from 1 how often its requests have been sent; `created` is in Unix seconds. An `ended` one has brought
    its answers, and says which requests were refused.
    """

    tag: str
    ids: tuple[str, ...]
    turn: int
    created: float
    job: str | None = None
    ended: bool = False


def new_record(ids: Collection[str], turn: int) -> Record:
    """A batch that is to be created."""
    return Record(f"meds1-{uuid.uuid4().hex}", tuple(ids), turn, time.time())


def write(folder: Path, record: Record) -> None:
    """Put the record on disk before going on; `StageFailure` where it cannot be kept."""
    try:
        make_folder(folder)
        write_durably(_path(folder, record), json.dumps(asdict(record)).encode())
    except OSError as error:
        raise StageFailure(
            f"{folder}: the ids of batches cannot be kept here ({error.strerror}); mend that and run the stage again"
        ) from error


def clear(folder: Path, record: Record, keep: Sequence[str] = ()) -> None:
    """Forget the batch, or all of its requests but those in `keep`."""
    if keep:
        write(folder, replace(record, ids=tuple(keep), ended=True))
    else:
        _path(folder, record).unlink(missing_ok=True)


def records(folder: Path) -> list[Record]:
    """The batches, the latest turn first; raises `StageFailure` for a file that is no record."""
    found = [_read(path) for path in folder.glob("*.json")]
    return sorted(found, key=lambda record: (-record.turn, record.created))


def _read(path: Path) -> Record:
    try:
        fields = json.loads(path.read_bytes())
        return Record(**{**fields, "ids": tuple(fields["ids"])})
    except (ValueError, TypeError, KeyError) as error:
        raise StageFailure(
            f"{path} is no record of a batch ({error}); remove it: its requests are sent again"
        ) from None


def _path(folder: Path, record: Record) -> Path:
    return folder / f"{record.tag}.json"
