"""Signals that ask the stage to save and leave: a handler only sets a flag, the training loop reads it.

Nothing collective may happen inside a handler (another rank may be in the middle of an all-reduce), so the ranks
agree at the end of the next optimizer step (`train.callbacks.StopOnSignal`).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class StopFlag:
    """The number of the last stop signal that this process received, 0 while there was none."""

    def __init__(self) -> None:
        self.signal = 0

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self.signal = number


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """Listen for the stop signals; the handlers that were there before come back at the end. Main thread only."""
    flag = StopFlag()
    previous = {number: signal.signal(number, flag.handle) for number in STOP_SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
