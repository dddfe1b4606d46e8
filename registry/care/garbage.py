"""What `gc` finds: things that can go, and things that stay though no result needs them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.care.judge import RunDir
from registry.errors import StageFailure

Kind = Literal[
    "run directory",
    "checkpoints",
    "content hash",
    "broken link",
    "temporary file",
    "left half deleted",
    "code snapshot",
    "submission",
]
ASIDE = ".gc-"  # what is about to be deleted is first given a name that begins with this


@dataclass(frozen=True)
class Item:
    """One thing that can go. `bytes` is what it takes on disk. `run_dir` is set for a whole run directory."""

    kind: Kind
    path: Path
    reason: str
    bytes: int = 0
    run_dir: RunDir | None = None


@dataclass(frozen=True)
class Kept:
    """A run directory or a snapshot that stays though no current result refers to it, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Garbage:
    """What can go and what stays."""

    items: tuple[Item, ...]
    kept: tuple[Kept, ...]


def age(path: Path) -> float:
    """Seconds since a file was written, or moved to where it is; 0 for one that is not there."""
    try:
        status = path.lstat()
    except OSError:
        return 0.0
    return time.time() - max(status.st_mtime, status.st_ctime)


def undeleted(path: Path, error: OSError) -> StageFailure:
    """What to say of a thing that stays because it cannot be deleted."""
    return StageFailure(f"{error.filename or path}: cannot be deleted: {error.strerror}; ask its owner to")
