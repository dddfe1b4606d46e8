"""What each part of the benchmark hands back, and how a figure is judged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from registry.console import Grid

Say = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """`data` for `--json` and `lines` for people; `sound` is false where a promise that any machine keeps is broken."""

    data: dict[str, Any]
    lines: tuple[str | Grid, ...]
    sound: bool = True


Part = Callable[[bool, Say], Report]


def simulated_verdict(share: float, trials: int, low: float, high: float) -> str:
    """Judge a share that was seen in `trials` simulations; beyond the limits by up to two standard errors is noise."""
    if low <= share <= high:
        return "met"
    noise = 2 * math.sqrt(max(share * (1 - share), 1 / trials) / trials)
    return "within noise" if low - noise <= share <= high + noise else "MISSED"
