"""Who is asking what at this moment: so that processes with the same work share it in place of paying for it twice.

Beside the answers of all experiments (`inference.answer_files`) every process that asks keeps a file of its own, with a
line for each request that it is about to send, and for each that it has given up. Nothing rests on it: a claim that is
seen too late costs one call, and one whose process is gone counts no more. There is no lock.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from registry.attempt import job_identity
from registry.durable import make_folder, mode_for
from registry.provenance import process_start, same_node
from registry.tail import NewLines

log = logging.getLogger(__name__)
FOLDER = "claims"
_BEAT_S = 10.0
_SILENT_S = 120.0
"""A process of another host without a sign of life for so long is gone; caches of NFS hold one back for a minute."""
_CHEAP_S, _SPARING_S = 0.005, 0.2
"""A look that takes longer, at a slow file server, is not taken again so soon: a call too many costs less."""
_LOOKS = 8


@dataclass
class _Other:
    """Another process: who it is, what it has claimed, and its file when that was last seen to have changed."""

    identity: dict[str, Any] | None = None
    claimed: set[str] = field(default_factory=set)
    state: tuple[int, int] = (0, 0)
    changed: float = 0.0


class Claims:
    """The claims of all processes in `folder`, and this one's own. Its methods may be called from several threads.

    Every look at them ends with `then`, a look at the answers: what a process has claimed no longer, because it has the
    answer, is found there. Where no claim can be kept (a full disk, no rights) this is said once, and everything is
    asked as if alone.
    """

    def __init__(self, folder: Path, then: Callable[[], object]) -> None:
        self._folder, self._then = folder, then
        self._path = folder / f"{time.time_ns()}-{uuid.uuid4().hex}.jsonl"
        self._lines = NewLines(folder)
        self._others: dict[Path, _Other] = {}
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._took: deque[float] = deque([0.0], maxlen=_LOOKS)
        self._file: FileIO | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Claims:
        try:
            make_folder(self._folder, lasting=False)
            mode = mode_for(self._path)  # not the umask's: others are to read it
            self._file = FileIO(self._path, "a")
            os.fchmod(self._file.fileno(), mode)
        except OSError as error:
            self._without(error)
            return self
        self._write({"identity": job_identity()})
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._file is not None:
            self._file.close()
            self._file = None
        with suppress(OSError):  # gone, with its folder perhaps
            self._path.unlink()

    def take(self, name: str) -> bool:
        """Claim a request; false where another process that is alive has claimed it.

        Of two that claim it at the same moment, at least the second one sees the other's and leaves it.
        """
        if self._is_claimed(name):
            return False
        self._write({"take": name})
        if not self._is_claimed(name):
            return True
        self.give_up(name)
        return False

    def give_up(self, name: str) -> None:
        """The request has got no answer that is kept: others need not wait for it."""
        self._write({"give_up": name})

    def _is_claimed(self, name: str) -> bool:
        with self._lock:
            self._look()
            return any(name in other.claimed for other in self._others.values())

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        for line in self._lines.read():
            if line.file != self._path:
                _note(self._others.setdefault(line.file, _Other()), line.content)
        for path in list(self._others):
            if not self._is_alive(path, now):
                del self._others[path]
                with suppress(OSError):  # another process has done so, or may
                    path.unlink()
        self._then()
        ended = time.monotonic()
        self._took.append(ended - now)
        # The quickest of some: a busy machine makes one slow now and then. Never most of the time goes into looking.
        quickest = min(self._took)
        self._next_look = ended + (max(_SPARING_S, 4 * quickest) if quickest > _CHEAP_S else 0.0)

    def _is_alive(self, path: Path, now: float) -> bool:
        other = self._others[path]
        identity = other.identity or {}
        try:
            found = path.stat()
        except OSError:  # its round has ended
            return False
        here = identity.get("host") == socket.gethostname() and same_node(identity)
        if here and identity["start"] is not None:  # null where there is no /proc
            return process_start(identity["pid"]) == identity["start"]
        state = found.st_size, found.st_mtime_ns
        if state != other.state:  # clocks of hosts differ: what counts is that it changes
            other.state, other.changed = state, now
        return now - other.changed < _SILENT_S

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_S):
            with suppress(OSError):
                os.utime(self._path)

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                # One call, a few bytes: a line that is torn all the same is left out by its readers.
                self._file.write((json.dumps(line) + "\n").encode())
            except OSError as error:
                self._without(error)

    def _without(self, error: OSError) -> None:
        log.warning("%s: what is being asked cannot be noted (%s): others may ask the same", self._folder, error)
        self._file = None


def _note(other: _Other, content: bytes) -> None:
    with suppress(ValueError, AttributeError):  # torn: it claims nothing
        line = json.loads(content)
        other.identity = line.get("identity", other.identity)
        other.claimed.add(line.get("take", ""))
        other.claimed.discard(line.get("give_up", ""))
