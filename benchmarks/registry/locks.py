"""Locks that fail, put in the place of the fold's own: the only stand-in of the storm, and only in its processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import registry.fold

LockKind = Literal["working", "none", "two holders"]
LOCKS: tuple[LockKind, ...] = ("working", "none", "two holders")
BROKEN_GRANTS = 0.05
_real = registry.fold._lock


def use_lock(kind: LockKind) -> None:
    """Let every fold of this process take a lock of this kind; "two holders" is granted while held, 5 % of the time."""
    registry.fold._lock = {"working": _real, "none": _none, "two holders": _sometimes}[kind]


@contextmanager
def _none(path: Path) -> Iterator[None]:
    yield


@contextmanager
def _sometimes(path: Path) -> Iterator[None]:
    with _none(path) if random.random() < BROKEN_GRANTS else _real(path):
        yield
