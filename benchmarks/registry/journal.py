"""What a writer of the storm has been told is saved: lines of its own file, which survives its SIGKILL."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Journal:
    """Appends one JSON line at a time, each in one write: a writer that is killed leaves no half of a word."""

    def __init__(self, folder: Path, writer: int) -> None:
        self._file = os.open(folder / f"{writer}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(self, **line: Any) -> None:
        """Append a line."""
        os.write(self._file, f"{json.dumps(line)}\n".encode())


class Follower:
    """Reads what all journals of a folder have gained since it last looked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}

    def news(self) -> Iterator[Mapping[str, Any]]:
        """The lines that are new, whole ones only."""
        for entry in os.scandir(self._folder):
            start = self._read.get(entry.name, 0)
            if entry.stat().st_size > start:
                with open(entry.path, "rb") as file:
                    file.seek(start)
                    whole = file.read().rpartition(b"\n")
                self._read[entry.name] = start + len(whole[0]) + len(whole[1])
                yield from (json.loads(line) for line in whole[0].splitlines())
