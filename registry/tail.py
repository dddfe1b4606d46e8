"""The JSONL files of a folder to which many processes add lines, each to a file of its own: read on, never again."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line, its end included, and where it stands."""

    file: Path
    offset: int
    content: bytes


class NewLines:
    """The lines of the files in `folder`, which need not be there yet. A file that cannot be read is named once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: dict[str, int] = {}
        self._unreadable: set[str] = set()

    def read(self) -> Iterator[Line]:
        """What has been added since the last time; a line without an end may be one that is being written now."""
        for name, size in self._files():
            done = self._done.get(name, 0)
            if size > done and name not in self._unreadable:
                yield from self._added(self._folder / name, done)

    def _files(self) -> list[tuple[str, int]]:
        """Names and sizes, in the order of the names."""
        found = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl"):
                    with suppress(FileNotFoundError):  # removed at this moment
                        found.append((entry.name, entry.stat().st_size))
        return sorted(found)

    def _added(self, path: Path, offset: int) -> Iterator[Line]:
        try:
            with path.open("rb") as file:
                file.seek(offset)
                for content in file:
                    if not content.endswith(b"\n"):
                        break
                    yield Line(path, offset, content)
                    offset += len(content)
                    self._done[path.name] = offset
        except OSError as error:
            self._unreadable.add(path.name)
            log.warning("%s cannot be read (%s): what it holds does not count", path, error.strerror)
