"""How a figure that was simulated is judged."""

from __future__ import annotations

import math


def simulated_verdict(share: float, trials: int, low: float, high: float) -> str:
    """Judge a share that was seen in `trials` simulations; beyond the limits by up to two standard errors is noise."""
    if low <= share <= high:
        return "met"
    noise = 2 * math.sqrt(max(share * (1 - share), 1 / trials) / trials)
    return "within noise" if low - noise <= share <= high + noise else "MISSED"
