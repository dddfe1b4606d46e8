"""A storm: writer processes that are killed and replaced without end, and readers that look on all the while."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

from benchmarks.registry.outcome import Sight, Weather
from registry.errors import StageFailure

KILL_EVERY = (0.010, 0.060)  # seconds
_FORK = multiprocessing.get_context("fork")
_NICE = 5  # writers yield to the killer, which else falls behind where they are many and cores few
_LOOK_EVERY = 0.01  # seconds
_LAST_WORD = 1.0  # seconds that writers have to finish what they are at when the storm is over
_READERS_END = 120.0  # seconds; a look may take long on a busy machine

GoOn = Callable[[], bool]
Writer = Callable[[int, GoOn], None]
Look = Callable[[], str | None]
Tick = Callable[[float], None]


@dataclass(frozen=True)
class Wish:
    """How long the storm lasts, with how many writers at any moment."""

    seconds: float = 60.0
    writers: int = 32


def blow(wish: Wish, writer: Writer, looks: Sequence[Callable[[], Look]], tick: Tick) -> Weather:
    """Run the storm. `writer(number, go_on)` works while `go_on()`; each of `looks` makes a reader's look.

    A look says what is wrong with what it sees. `tick` is told the seconds that have passed. Every process has ended
    when this returns.
    """
    births, writers, graves = iter(range(10**9)), list[ForkProcess](), _Graves()
    with _watching(looks) as sights:
        end = time.monotonic() + wish.seconds
        try:
            for _ in range(wish.writers):
                writers.append(_born(writer, next(births), end))
            due = time.monotonic()
            while (left := end - time.monotonic()) > 0:
                tick(wish.seconds - left)
                due += random.uniform(*KILL_EVERY)  # on a busy machine the killer is late, but skips none
                time.sleep(max(0.0, due - time.monotonic()))
                graves.take(writers.pop(random.randrange(wish.writers)))
                writers.append(_born(writer, next(births), end))
            for process in writers:
                process.join(max(0.0, end + _LAST_WORD - time.monotonic()))
        finally:
            killed = graves.killed
            for process in writers:
                graves.take(process)
            graves.close()
    return Weather(killed, graves.broken, tuple(sights))


class _Graves:
    """Writers that were told to die, and how those have ended that did: killed, or broken before that."""

    def __init__(self) -> None:
        self.killed = self.broken = 0
        self._dying: list[ForkProcess] = []

    def take(self, process: ForkProcess) -> None:
        """Kill a writer, and bury those that have died by now: each holds an open file until then."""
        process.kill()
        self._dying = [dying for dying in [*self._dying, process] if not self._buried(dying)]

    def close(self) -> None:
        """Wait for all of them to die."""
        for process in self._dying:
            process.join()
            self._buried(process)

    def _buried(self, process: ForkProcess) -> bool:
        if process.exitcode is None:
            return False
        self.killed += process.exitcode == -signal.SIGKILL
        self.broken += process.exitcode not in (0, -signal.SIGKILL)
        process.close()
        return True


def torn(file: Path) -> str | None:
    """Say what is wrong with a registry file for a program that knows nothing but JSON; null when it is sound."""
    try:
        experiments = json.loads(file.read_bytes())["experiments"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{file.name}: {error!r}"
    return None if experiments else f"{file.name}: no experiment is left"


def _born(writer: Writer, number: int, end: float) -> ForkProcess:
    process = _FORK.Process(target=_work, args=(writer, number, end, os.getpid()))
    process.start()
    return process


def _work(writer: Writer, number: int, end: float, parent: int) -> None:
    os.nice(_NICE)
    random.seed(number)  # a fork inherits its parent's chance: all writers would draw alike
    writer(number, lambda: time.monotonic() < end and not _orphaned(parent))


def _orphaned(parent: int) -> bool:
    """Whether the process that made this one is gone: nobody would ever end this one."""
    return os.getppid() != parent


@contextmanager
def _watching(looks: Sequence[Callable[[], Look]]) -> Iterator[list[Sight]]:
    """Readers in processes of their own; what they have seen is in the list once they have ended."""
    over, sights = _FORK.Event(), list[Sight]()
    readers: list[tuple[ForkProcess, Connection]] = []
    for make_look in looks:
        receiver, sender = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=_watch, args=(make_look, over.is_set, sender, os.getpid()))
        process.start()
        readers.append((process, receiver))
    try:
        yield sights
    finally:
        over.set()
        answers: list[Sight] = [receiver.recv() for _, receiver in readers if receiver.poll(_READERS_END)]
        for process, _ in readers:
            process.kill()
            process.join()
    if len(answers) < len(readers):
        raise StageFailure("a reader of the storm did not answer: its storm means nothing")
    sights += answers


def _watch(make_look: Callable[[], Look], over: Callable[[], bool], sender: Connection, parent: int) -> None:
    look, looks, wrong, first = make_look(), 0, 0, None
    while True:
        found = look()
        looks, wrong, first = looks + 1, wrong + (found is not None), first or found
        if over() or _orphaned(parent):
            break
        time.sleep(_LOOK_EVERY)
    sender.send(Sight(looks, wrong, first))
