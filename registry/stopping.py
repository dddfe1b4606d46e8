"""Signals that ask a stage to save and leave: nothing happens in a handler but that a flag is set.

What a handler interrupts may be half of a write, an import or a collective operation, so a stage looks at the flag
where it can leave (`StopFlag.check`; the ranks of a training agree first). Slurm signals every process of a step: the
user signals are blocked here and thereby in every child that is started from now on, so that no engine or logger dies
of them before it has handed over what is finished. Whatever is pending is read from the kernel.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from registry.errors import Meds1Error, StageStopped

# The later in this list, the more it says: a user signal asks to come back, SIGTERM leaves open what comes next.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
USER_SIGNALS = frozenset({signal.SIGUSR1, signal.SIGUSR2})


class StopFlag:
    """Whether this process was asked to stop. As a context it turns the errors that a stop causes into the stop."""

    def __init__(self) -> None:
        self._level = 0

    @property
    def level(self) -> int:
        """0, or the place in `STOP_SIGNALS`, counted from 1, of the signal that says most."""
        for number in signal.sigpending() & USER_SIGNALS:
            self._note(number)
        return self._level

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self._note(number)

    def check(self, what: str) -> None:
        """Leave (`StageStopped`) when a stop was asked for; `what` says of which work, and what is kept of it."""
        if self.level:
            raise stopped(self.level, what)

    def _note(self, number: int) -> None:
        self._level = max(self._level, STOP_SIGNALS.index(signal.Signals(number)) + 1)

    def __enter__(self) -> StopFlag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """An engine whose processes were ended by the same signal fails: that is no fault of the stage."""
        if isinstance(error, Exception) and not isinstance(error, Meds1Error) and self.level:
            raise stopped(self.level, f"left with {type(error).__name__}: {error}") from error


def stopped(level: int, what: str) -> StageStopped:
    """The error that a stage leaves with after the stop signal of this level."""
    number = STOP_SIGNALS[level - 1]
    return StageStopped(f"{what} (stopped by {number.name})", number)


def listen(flag: StopFlag) -> None:
    """Note the stop signals in `flag` until this process ends. Main thread only."""
    for number in STOP_SIGNALS:
        signal.signal(number, flag.handle)
    signal.pthread_sigmask(signal.SIG_BLOCK, USER_SIGNALS)


@contextmanager
def listening(flag: StopFlag) -> Iterator[None]:
    """Note the stop signals in `flag` for a while; handlers and mask come back at the end. Main thread only."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    listen(flag)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # what is pending reaches the flag now
        for number, handler in handlers.items():
            signal.signal(number, handler)
