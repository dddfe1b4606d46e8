"""Faults at the border between this code and the system: calls counted, refused, cut short, or the last of a process.

`intercepted(around)` sends every file call of this process through `around`: those of `os` and `fcntl`, and the reads,
writes and closes of files that `open` returns. What `around` itself calls goes straight to the system.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import registry.document

FORK = multiprocessing.get_context("fork")
DEAD = 9
LOOKING = ("read", "stat", "lstat", "fstat", "access", "listdir", "scandir", "readlink")
CHANGING = (
    *("open", "close", "write", "pwrite", "fsync", "fdatasync", "truncate", "ftruncate", "replace", "rename", "link"),
    *("symlink", "unlink", "remove", "mkdir", "rmdir", "chmod", "fchmod", "chown", "fchown", "utime", "flock"),
)
_REAL = {name: getattr(os, name) for name in (*LOOKING, *CHANGING) if hasattr(os, name)} | {"flock": fcntl.flock}


@dataclass(frozen=True)
class Call:
    """One call into the system. `arguments` are those of the function of this name in `os`."""

    name: str
    arguments: tuple[Any, ...]
    run: Callable[[], Any]

    @property
    def changes(self) -> bool:
        """Whether the call may change a file, a folder or a lock."""
        return self.name in CHANGING


Around = Callable[[Call], Any]


class _Border:
    """Hands each call to `around`, unless `around` itself makes it."""

    def __init__(self, around: Around) -> None:
        self.around, self.inside = around, False

    def __call__(self, name: str, arguments: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        if self.inside:
            return run()
        self.inside = True
        try:
            return self.around(Call(name, arguments, run))
        finally:
            self.inside = False

    def function(self, name: str) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            return self(name, arguments, lambda: _REAL[name](*arguments, **options))

        return called

    def open(  # noqa: PLR0913 - the signature of `open`
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Callable[[str, int], int] | None = None,
    ) -> Any:
        raw = _File(self, file, mode.replace("b", "").replace("t", ""), closefd, opener)
        buffered: Any = io.BufferedReader(raw) if raw.readable() else io.BufferedWriter(raw)
        if raw.readable() and raw.writable():
            buffered = io.BufferedRandom(raw)
        if "b" in mode:
            return buffered if buffering else raw
        return io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)


class _File(io.FileIO):
    """An open file whose every read, write and close passes the border."""

    def __init__(self, border: _Border, file: Any, mode: str, closefd: bool, opener: Any) -> None:
        self._border = border
        super().__init__(file, mode, closefd, opener or (lambda path, flags: os.open(path, flags, 0o666)))

    def write(self, data: Any) -> Any:
        content = bytes(data)
        return self._border("write", (self.fileno(), content), lambda: io.FileIO.write(self, content))

    def readinto(self, buffer: Any) -> Any:
        return self._border("read", (self.fileno(),), lambda: io.FileIO.readinto(self, buffer))

    def readall(self) -> Any:
        return self._border("read", (self.fileno(),), lambda: io.FileIO.readall(self))

    def close(self) -> None:
        if not self.closed:
            self._border("close", (self.fileno(),), lambda: io.FileIO.close(self))


@contextmanager
def intercepted(around: Around) -> Iterator[None]:
    """Send the file calls of this process through `around` until the block ends."""
    border = _Border(around)
    modules = {name: fcntl if name == "flock" else os for name in _REAL}
    opens = [(module, module.open) for module in (builtins, io)]
    try:
        for name, module in modules.items():
            setattr(module, name, border.function(name))
        for module, _ in opens:
            module.open = border.open  # type: ignore[attr-defined]
        yield
    finally:
        for name, module in modules.items():
            setattr(module, name, _REAL[name])
        for module, real in opens:
            module.open = real  # type: ignore[attr-defined]


def dying_at(moment: int) -> Around:
    """End the process at its `moment`-th moment: before a call, halfway through a write, after a call that changes."""
    moments = itertools.count(1)

    def around(call: Call) -> Any:
        if next(moments) == moment:
            os._exit(DEAD)
        if call.name == "write" and next(moments) == moment:
            file, data = call.arguments
            os.write(file, data[: len(data) // 2])
            os._exit(DEAD)
        outcome = call.run()
        if call.changes and next(moments) == moment:
            os._exit(DEAD)
        return outcome

    return around


def interrupting_at(number: int, action: Callable[[], Any]) -> Around:
    """Do `action`, as another process would, before the `number`-th call."""
    numbers = itertools.count(1)

    def around(call: Call) -> Any:
        if next(numbers) == number:
            action()
        return call.run()

    return around


@dataclass
class Failing:
    """Refuse the calls that `chosen(call, number)` picks with `error`; `number` counts all calls from 1.

    A close that fails has closed the file all the same. With `happened`, so has every other call done its work.
    """

    error: int
    chosen: Callable[[Call, int], bool]
    happened: bool = False
    number: int = 0
    failed: int = 0

    def __call__(self, call: Call) -> Any:
        self.number += 1
        if not self.chosen(call, self.number):
            return call.run()
        self.failed += 1
        if self.happened or call.name == "close":
            call.run()
        first = call.arguments[0] if call.arguments else None
        path = str(first) if isinstance(first, str | Path) else None
        raise OSError(self.error, os.strerror(self.error), path)


class Lagging:
    """Directory listings as they were `lag` calls that change files ago: those of a busy network file system.

    A file that is opened by its name is there at once, and so is what this process itself has made there.
    """

    def __init__(self, lag: int) -> None:
        self.lag, self.clock = lag, 0
        self.past: dict[str, list[tuple[int, list[str]]]] = {}

    def watch(self, *folders: Path) -> None:
        """Note what is in `folders` now."""
        for folder in folders:
            names = os.listdir(folder) if folder.is_dir() else []
            self.past.setdefault(str(folder), []).append((self.clock, names))

    def __call__(self, call: Call) -> Any:
        outcome = call.run()
        if call.changes:
            self.clock += 1
            self.watch(*map(Path, self.past))
        if call.name not in ("listdir", "scandir") or str(call.arguments[0]) not in self.past:
            return outcome
        if call.name == "scandir":
            raise NotImplementedError("teach Lagging os.scandir: the registry has begun to use it")
        seen = self.past[str(call.arguments[0])]
        return next((names for at, names in reversed(seen) if at <= self.clock - self.lag), seen[0][1])


def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fsync do nothing, and nobody wait for a torn file to be written to its end.

    Where no power can fail flushing only takes time, and a model of a disk sees the calls all the same.
    """
    monkeypatch.setattr(registry.document, "_WHILE_BEING_WRITTEN", 0)
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda file: None)
        monkeypatch.setitem(_REAL, name, lambda file: None)


def memory_folder() -> Iterator[Path]:
    """A temporary folder in memory where there is such a place: what these tests write need not outlive them."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="meds1-", dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


def in_child(action: Callable[[], Any], around: Around | None = None) -> int:
    """Run `action` in a forked process and return its exit code; a traceback goes to stderr."""

    def run() -> None:
        if around is None:
            action()
        else:
            with intercepted(around):
                action()
                os._exit(0)

    child = FORK.Process(target=run)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def calls_of(action: Callable[[], Any]) -> list[Call]:
    """The calls that `action` makes, in order."""
    seen: list[Call] = []

    def around(call: Call) -> Any:
        seen.append(call)
        return call.run()

    with intercepted(around):
        action()
    return seen


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
