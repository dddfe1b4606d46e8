"""How long something takes."""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds_of(action: Callable[[], object]) -> float:
    """Do it once."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
