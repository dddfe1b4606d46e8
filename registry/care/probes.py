"""Try out what a file system does, with real processes on scratch files: locks, folders, renames, flushes, visibility.

Each probe works in a folder that its caller removes, and ends within seconds. They see one host: what another host
sees takes the same probes there.
"""

from __future__ import annotations

import fcntl
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.durable import flush_folder

LockKind = Literal["flock", "lockf"]
SECONDS = 10.0
_ROUNDS = 200

_HOLD = """
import fcntl, sys
file = open(sys.argv[1], "rb+")
getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
_CLAIM = """
import os, sys
won = []
for number in range(int(sys.argv[2])):
    try:
        os.mkdir(f"{sys.argv[1]}/{number}")
        won.append(number)
    except FileExistsError:
        pass
print(*won)
"""
_REPLACE = """
import os, sys
for number in range(int(sys.argv[2])):
    with open(sys.argv[1] + ".new", "wb") as file:
        file.write(b"ab"[number % 2 : number % 2 + 1] * 8192)
    os.replace(sys.argv[1] + ".new", sys.argv[1])
"""
_APPEAR = """
import sys, time
for number in range(int(sys.argv[2])):
    open(f"{sys.argv[1]}/{number}", "x").close()
    print(number, time.monotonic(), flush=True)
    time.sleep(0.005)
"""


class ProbeError(Exception):
    """The probe itself could not be carried out; the message says why."""


@dataclass(frozen=True)
class Locking:
    """Whether a lock keeps a second process out, and whether it ends with its holder."""

    exclusive: bool
    released: bool


@contextmanager
def _child(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A real process; it does not outlive the block."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-I", "-S", "-c", program, *arguments]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _said(process: subprocess.Popen[str]) -> str:
    try:
        out, error = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ProbeError(f"no answer within {SECONDS:.0f} s") from None
    if process.returncode:
        raise ProbeError(error.strip().splitlines()[-1] if error.strip() else f"exit code {process.returncode}")
    return out


def locking(folder: Path, kind: LockKind) -> Locking:
    """Let a process hold a lock, try to take it here, kill the process, try again."""
    path = folder / kind
    path.write_bytes(b"lock")
    with _child(_HOLD, str(path), kind) as holder, open(path, "rb+") as file:
        assert holder.stdout is not None
        if holder.stdout.readline() != "held\n":
            raise ProbeError(_said(holder))
        exclusive = not _take(file.fileno(), kind)
        holder.kill()
        holder.wait()
        until = time.monotonic() + SECONDS
        released = _take(file.fileno(), kind)
        while not released and time.monotonic() < until:
            time.sleep(0.05)
            released = _take(file.fileno(), kind)
    return Locking(exclusive, released)


def _take(descriptor: int, kind: LockKind) -> bool:
    try:
        getattr(fcntl, kind)(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def folders_claimed_twice(folder: Path) -> int:
    """Of folders that two processes make at the same time: how many did not go to exactly one of them."""
    place = folder / "claims"
    place.mkdir()
    with _child(_CLAIM, str(place), str(_ROUNDS)) as first, _child(_CLAIM, str(place), str(_ROUNDS)) as second:
        won = [*_said(first).split(), *_said(second).split()]
    return sum(won.count(str(number)) != 1 for number in range(_ROUNDS))


def torn_reads(folder: Path) -> tuple[int, int]:
    """(reads, reads that were not whole) of a file that a process replaces all the while."""
    path = folder / "replaced"
    whole = {b"a" * 8192, b"b" * 8192}
    path.write_bytes(b"a" * 8192)
    reads = torn = 0
    with _child(_REPLACE, str(path), str(_ROUNDS)) as writer:
        until = time.monotonic() + SECONDS
        while writer.poll() is None and time.monotonic() < until:
            reads += 1
            try:
                torn += path.read_bytes() not in whole
            except FileNotFoundError:
                torn += 1
        _said(writer)
    return reads, torn


def flush_seconds(folder: Path) -> float:
    """How long it takes to make one small file and its name durable; `OSError` where that does not work."""
    began = time.monotonic()
    with open(folder / "flushed", "xb") as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    flush_folder(folder)
    return time.monotonic() - began


def clock_offset(folder: Path) -> float:
    """Seconds by which the clock that stamps files is ahead of this machine's."""
    path = folder / "stamped"
    before = time.time()
    path.write_bytes(b"x")
    after = time.time()
    stamp = path.stat().st_mtime
    return stamp - before if stamp < before else max(0.0, stamp - after)


def visibility(folder: Path) -> tuple[float, float]:
    """(median, longest) seconds until a listing here shows a file that another process of this host has made."""
    place, count = folder / "appearing", 20
    place.mkdir()
    seen: dict[str, float] = {}
    with _child(_APPEAR, str(place), str(count)) as writer:
        until = time.monotonic() + SECONDS
        while len(seen) < count and time.monotonic() < until:
            for name in os.listdir(place):
                seen.setdefault(name, time.monotonic())
        made = dict(line.split() for line in _said(writer).splitlines())
    if len(seen) < count:
        raise ProbeError(f"{count - len(seen)} of {count} new files did not appear within {SECONDS:.0f} s")
    delays = [max(0.0, seen[name] - float(moment)) for name, moment in made.items()]
    return statistics.median(delays), max(delays)
