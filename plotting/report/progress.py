"""How far a report has come, on stderr: a bar on a terminal, anywhere else a line now and then."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

LOG_SECONDS = 30.0


class Steps:
    """Counts the steps of a report; `more` are added once it is known how many there are."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped]

        self.done, self.total = 0, total
        self.began = self.said = time.monotonic()
        self.bar: Any = tqdm(total=total, desc="report", unit="step", file=sys.stderr) if sys.stderr.isatty() else None

    def more(self, count: int) -> None:
        """Raise the number of steps."""
        self.total += count
        if self.bar is not None:
            self.bar.total = self.total
            self.bar.refresh()

    def step(self) -> None:
        """One more is done."""
        self.done += 1
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update()
        elif now - self.said >= LOG_SECONDS:
            self.said = now
            spent = timedelta(seconds=round(now - self.began))
            print(f"report: {self.done:,} of {self.total:,} steps in {spent}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar's line."""
        if self.bar is not None:
            self.bar.close()
