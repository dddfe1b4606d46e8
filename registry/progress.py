"""How far long work has come, on stderr: done, time, time left, and what the work itself has to tell.

On a terminal it is a bar; anywhere else it is a line now and then, since a bar leaves nothing readable in a log.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any, Self

LOG_SECONDS = 30.0


class Progress:
    """Counts what is done of `total` pieces of work, each a `unit`; `first` were done before.

    On a terminal nothing is shown before `delay` seconds.
    """

    def __init__(self, total: int, label: str, unit: str, first: int = 0, delay: float = 0.0) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.first = self.done = first
        self.began = self._said = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm  # type: ignore[import-untyped]

            self._bar = tqdm(
                total=total, initial=first, desc=label, unit=unit, file=sys.stderr, mininterval=0.5, delay=delay
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """Since the beginning; never 0."""
        return max(time.monotonic() - self.began, 1e-3)

    def more(self, count: int) -> None:
        """There is more to do than was known."""
        self.total += count
        if self._bar is not None:
            self._bar.total = self.total
            self._bar.refresh()

    def advance(self, count: int = 1) -> None:
        """So many more are done; in a log nothing is said before `tell`."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)

    def tell(self, told: str = "", now: bool = False) -> None:
        """Show what the work tells: beside the bar, or in a line if the time for one has come, or `now`."""
        if self._bar is not None:
            self._bar.set_postfix_str(told, refresh=False)
        elif now or time.monotonic() - self._said >= LOG_SECONDS:
            self.say(told)

    def say(self, told: str = "") -> None:
        """Print a line, on a terminal too."""
        self._said = time.monotonic()
        done, to_do = self.done - self.first, self.total - self.done
        left = f"{_clock(self.seconds / done * to_do)} left" if done > 0 and to_do > 0 else ""
        counted = f"{self.done:,} of {self.total:,} {self.unit}s in {_clock(self.seconds)}"
        print(f"{self.label}: {', '.join(filter(None, [counted, told, left]))}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar's line."""
        if self._bar is not None:
            self._bar.close()


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
