"""Print an attempt's logs as they grow, until the attempt has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from registry.errors import Meds1Error
from registry.records import TERMINAL
from registry.store import Registry
from slurm.asking import recent_queue
from slurm.logs import Attempt, LogFile, Tail
from slurm.overview import overview

log = logging.getLogger("meds1")
_POLL_SECONDS = 0.5
_ASK_SECONDS = 3.0
_LAST_WORDS_SECONDS = 2.0


def shown(lines: Mapping[LogFile, list[str]], newest: int | None = None) -> list[str]:
    """The lines of several logs, or the `newest` of each; where several write, each line begins with who."""
    several = len({file.writer for file in lines}) > 1
    kept = {file: text[max(0, len(text) - newest) :] if newest is not None else text for file, text in lines.items()}
    return [f"{file.writer}| {line}" if several else line for file, text in kept.items() for line in text]


def follow(registry: Registry, attempt: Attempt, tail: Tail, newest: int | None) -> None:
    """Print what is there (or the `newest` lines of each log) and what comes, until the attempt has ended."""
    ended = _Watch(registry, attempt)
    end: float | None = None
    while True:
        if end is None and ended():
            end = time.monotonic() + _LAST_WORDS_SECONDS  # a process says more after its record, and files come late
        last = end is not None and time.monotonic() >= end
        for line in shown(tail.more(to_the_end=last), newest):
            print(line, flush=True)
        newest = None if tail.read else newest
        if last:
            return
        time.sleep(_POLL_SECONDS)


class _Watch:
    """Whether an attempt has ended, asked every few seconds; says on the way what it waits for."""

    def __init__(self, registry: Registry, attempt: Attempt) -> None:
        self.registry, self.attempt = registry, attempt
        self.next, self.said = 0.0, ""

    def __call__(self) -> bool:
        if time.monotonic() < self.next:
            return False
        try:
            over, words = standing_of(self.registry, self.attempt)
        except Meds1Error as error:  # somebody edits the file at this moment, say
            over, words = False, str(error)
        if words != self.said:
            log.info("%s: %s", self.attempt, words)
        self.said, self.next = words, time.monotonic() + _ASK_SECONDS
        return over


def standing_of(registry: Registry, attempt: Attempt) -> tuple[bool, str]:
    """Whether an attempt has ended, and its state in words."""
    view = registry.read()
    own = [
        header for header in view.state.headers(attempt.experiment, attempt.stage) if header.attempt == attempt.number
    ]
    if not own or own[-1].event in TERMINAL:
        return True, own[-1].event if own else "removed"
    queue = recent_queue(registry, view)
    found = overview(registry, view, attempt.experiment, queue)[attempt.stage]
    if found.status.attempt == attempt.number:
        return queue.is_gone(own[-1]), ": ".join(filter(None, [found.status.status, found.remark]))
    return queue.is_gone(own[-1]), own[-1].event
