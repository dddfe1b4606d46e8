"""Confidence intervals of proportions."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(successes: float, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (no continuity correction) of `successes` out of `total`, both ends in [0, 1].

    `successes` may be a fraction, as averages over repeated questions are; for whole numbers this is what
    `scipy.stats.binomtest(...).proportion_ci(method="wilson")` gives. Source: E. B. Wilson, Probable inference, the law
    of succession, and statistical inference, JASA 22 (1927) 209-212. Raises ValueError outside 0 <= successes <= total.
    """
    if total < 1 or not 0 <= successes <= total or not 0 < confidence < 1:
        raise ValueError(f"no interval for {successes} of {total} at confidence {confidence}")
    return score_interval(successes / total, total, NormalDist().inv_cdf(0.5 + confidence / 2))


def score_interval(share: float, size: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's interval of a share in [0, 1] seen in `size` > 0 observations, which need not be a whole number.

    `quantile` is the one of the normal distribution, or of Student's t where the size itself was estimated.
    """
    scale = 1 + quantile**2 / size
    center = (share + quantile**2 / (2 * size)) / scale
    half = quantile / scale * math.sqrt(share * (1 - share) / size + quantile**2 / (4 * size * size))
    low = 0.0 if share == 0 else max(0.0, center - half)
    high = 1.0 if share == 1 else min(1.0, center + half)
    return low, high
