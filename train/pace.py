"""When the ranks of a training ask each other whether to stop, and when a time budget is used up."""

from __future__ import annotations

import math
import time

LOOK_SECONDS = 5.0


class Pace:
    """Lets turns (forward passes) go by so that about `LOOK_SECONDS` lie between two looks.

    It is fed with times that the ranks have agreed on, so that all of them look at the same turn.
    """

    def __init__(self) -> None:
        self.every = 1
        self.passed = 0

    def due(self) -> bool:
        """Count a turn; whether it is time to look."""
        self.passed += 1
        return self.passed >= self.every

    def looked(self, seconds: float) -> None:
        """Take in that `seconds` lie between this look and the last one."""
        turns = max(1, self.passed) * LOOK_SECONDS / max(seconds, 1e-6)
        self.every = max(1, min(2 * self.every, int(turns)))
        self.passed = 0


class Deadline:
    """Whether a training that may take `seconds` from now on has to save: all that is needed after that must fit."""

    def __init__(self, seconds: float | None) -> None:
        self.created = time.monotonic()
        self.end = self.created + (math.inf if seconds is None else seconds)
        self.stretch = self.saving = 0.0

    def begin(self) -> None:
        """Training begins. A first saving is taken to last as long as the loading did: it writes what that has read."""
        self.saving = time.monotonic() - self.created

    def took(self, stretch: float = 0.0, saving: float = 0.0) -> None:
        """Take in the seconds between two looks, or those of a saving."""
        self.stretch = max(self.stretch, stretch)
        self.saving = max(self.saving, saving)

    def near(self) -> bool:
        """Whether another stretch as long as the longest, and a saving after it, would end too late."""
        return time.monotonic() + self.stretch + self.saving > self.end
