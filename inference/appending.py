"""A file that answers are added to. Each is the kernel's before the next is taken: it outlives its process at once.

It outlives a loss of power after a flush, of which there is one a second at most and one at the end: with 64 calls at a
time on NFS, a flush for each answer would hold them up.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import FileIO
from pathlib import Path

from inference.engine import Generation
from registry.durable import flush_folder
from registry.errors import StageFailure

_FLUSH_S = 1.0


class Appending:
    """The open file at `path`. It has no buffer: what could not be written is not tried again when it is closed."""

    def __init__(self, file: FileIO, path: Path) -> None:
        self._file, self._path = file, path
        self._next_flush = time.monotonic() + _FLUSH_S
        self._is_flushed, self._is_named = True, False

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()

    def add(self, digest: str, answer: Generation) -> None:
        """Add the answer to the request of that digest; `StageFailure` where it cannot be kept."""
        line = json.dumps({"request": digest, **asdict(answer)}, ensure_ascii=False) + "\n"
        left = line.encode("utf-8", "surrogatepass")
        self._is_flushed = False
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise not_kept(self._path, error) from error
        if time.monotonic() >= self._next_flush:
            self.flush()

    def flush(self) -> None:
        """Make what was added last through a loss of power; `StageFailure` where it cannot be kept."""
        if self._is_flushed:
            return
        try:
            os.fsync(self.fileno())
            if not self._is_named:
                flush_folder(self._path.parent)
        except OSError as error:
            raise not_kept(self._path, error) from error
        self._is_flushed = self._is_named = True
        self._next_flush = time.monotonic() + _FLUSH_S


@contextmanager
def appending(path: Path) -> Iterator[Appending]:
    """Open the file, and flush it at the end."""
    try:
        file = FileIO(path, "a")
    except OSError as error:
        raise not_kept(path, error) from error
    with file:
        opened = Appending(file, path)
        try:
            yield opened
        finally:
            opened.flush()


def not_kept(path: Path, error: OSError) -> StageFailure:
    """What to say where answers cannot be kept."""
    return StageFailure(
        f"{path}: answers cannot be kept here ({error.strerror}); mend that and run again: "
        "what is kept already is not asked again"
    )
