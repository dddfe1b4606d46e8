"""The logs of one attempt: where they lie, what is in them, and what is added while it runs.

Whatever ran it (Slurm, this machine's background, `meds1 run`), an attempt's logs lie in its folder: `ID_RANK_log.out`
and `.err`, appended to over restarts; else what a failure has left there. Those of its shards lie in folders below it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import MissingError, UsageError
from registry.history import Header, State
from registry.paths import attempt_dir, shard_dir
from registry.schema import STAGES, Stage
from registry.secrets import masked

_LOG = re.compile(r".+_(\d+)_log\.(out|err)")
_TRACE = re.compile(r"traceback\.txt|rank-(\d+)-\d+\.txt")
_NOT_STARTED = ("intent", "submitted")


@dataclass(frozen=True)
class Attempt:
    """An attempt whose logs are wanted: its records in order, and its folder."""

    experiment: str
    stage: Stage
    headers: tuple[Header, ...]
    folder: Path

    @property
    def number(self) -> int:
        """Its number among the stage's attempts."""
        return self.headers[-1].attempt

    @property
    def last(self) -> Header:
        """Its last word so far."""
        return self.headers[-1]

    def __str__(self) -> str:
        return f"{self.experiment}: {self.stage}: attempt {self.number}"


@dataclass(frozen=True)
class LogFile:
    """One log of an attempt: which rank wrote it, and to which stream; of a shard, which one that was."""

    path: Path
    rank: int
    stream: str
    shard: int | None = None

    @property
    def writer(self) -> str:
        """Who wrote it, in front of a line."""
        return str(self.rank) if self.shard is None else f"shard {self.shard}"


def find_attempt(state: State, name: str, stage: Stage | None, number: int | None) -> Attempt:
    """The attempt that is meant: the newest, of the stage that was the last to do something where none is named.

    `MissingError` when there is none.
    """
    if number is not None and stage is None:
        raise UsageError("--attempt needs a STAGE: every stage counts its own attempts")
    found = [attempt for known in STAGES if stage in (None, known) for attempt in attempts_of(state, name, known)]
    if not found:
        what = f"{name}: {stage}" if stage else name
        raise MissingError(f"{what}: has no attempt yet, so no logs; run `meds1 submit {name}`")
    if number is not None:
        chosen = [attempt for attempt in found if attempt.number == number]
        if not chosen:
            legal = ", ".join(str(attempt.number) for attempt in found)
            raise MissingError(f"{name}: {stage} has no attempt {number}; there is: {legal}")
        return chosen[0]
    return max(found, key=_recency)


def attempts_of(state: State, name: str, stage: Stage) -> Iterator[Attempt]:
    """The attempts of a stage whose folder is known, oldest first."""
    by_number: dict[int, list[Header]] = {}
    for header in state.headers(name, stage):
        by_number.setdefault(header.attempt, []).append(header)
    for number, headers in by_number.items():
        run_dir = next((header.run_dir for header in headers if header.run_dir), "")
        if run_dir:  # that of an attempt whose intent has not been seen is not known
            yield Attempt(name, stage, tuple(headers), attempt_dir(Path(run_dir), number))


def folder_of(state: State, name: str, stage: Stage, number: int) -> Path:
    """Where an attempt keeps its files, by its own word: each user may have a CACHE_DIR of his own.

    `MissingError` where its intent has not been seen.
    """
    for attempt in attempts_of(state, name, stage):
        if attempt.number == number:
            return attempt.folder
    raise MissingError(f"{name}: {stage}: attempt {number}: its intent record is not here")


def _recency(attempt: Attempt) -> tuple[bool, str, int, int]:
    """What has logs before what has none; then by time; of a chain just submitted, the stage that comes first."""
    place, started = STAGES.index(attempt.stage), attempt.last.event not in _NOT_STARTED
    return bool(log_files(attempt)), attempt.last.timestamp, place if started else -place, attempt.number


def log_files(attempt: Attempt, rank: int | None = None) -> list[LogFile]:
    """The attempt's logs, its shards' first, by rank, or those of one rank; where one has none, what a failure left."""
    names = (path.name for path in _inside(attempt, shard_dir(attempt.folder, 0).parent))
    found = []
    for shard in (*sorted(int(name) for name in names if name.isdigit()), None):
        folder = attempt.folder if shard is None else shard_dir(attempt.folder, shard)
        paths = _inside(attempt, folder)
        logs = [(path, match[1], match[2]) for path in paths if (match := _LOG.fullmatch(path.name))]
        traces = [(path, match[1] or 0, "traceback") for path in paths if (match := _TRACE.fullmatch(path.name))]
        own = [LogFile(path, int(of), stream, shard) for path, of, stream in logs or traces]
        found += sorted(own, key=lambda file: (file.rank, file.path.name))
    return [file for file in found if rank in (None, file.rank)]


def _inside(attempt: Attempt, folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:  # collected, or on a disk that is not mounted here
        return []
    except OSError as error:
        raise MissingError(f"{attempt}: {folder}: cannot be read: {error.strerror}; ask its owner") from None


@dataclass
class Tail:
    """Reads what is added to an attempt's logs, in whole lines; logs that appear later are read from their start."""

    attempt: Attempt
    rank: int | None = None
    read: dict[Path, int] = field(default_factory=dict)

    def more(self, to_the_end: bool = False) -> dict[LogFile, list[str]]:
        """The lines that have come since, with the values of keys hidden; `to_the_end`: also one not yet finished."""
        found = {}
        for file in log_files(self.attempt, self.rank):
            try:
                with file.path.open("rb") as log:
                    size = log.seek(0, os.SEEK_END)
                    start = self.read.get(file.path, 0)
                    start = log.seek(start if start <= size else 0)  # shorter: written anew
                    new = log.read()
            except OSError as error:  # another user's, say
                raise MissingError(f"{file.path}: cannot be read: {error.strerror}; ask its owner") from None
            end = len(new) if to_the_end else new.rfind(b"\n") + 1
            self.read[file.path] = start + end
            found[file] = [
                _as_shown(line) for line in new[:end].decode(errors="replace").removesuffix("\n").split("\n")
            ]
            if end == 0:
                found[file] = []
        return found


def _as_shown(line: str) -> str:
    """A line as a terminal would leave it: of a progress bar only its last state."""
    return masked(line.rstrip("\r").rpartition("\r")[2])
