"""Confidence intervals of proportions, and of means of independent estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def interval_of_mean(values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the interval of the mean of independent estimates, from the interval of each at the same confidence.

    Each way the squares of the estimates' distances to their bounds are added up, so that skewed intervals keep their
    skew. It lies between the means of the lower and of the upper bounds: within [0, 1] where those do. Of estimates
    that depend on each other positively it is too narrow. Source: G. Zou and A. Donner, Construction of confidence
    limits about effect measures: a general approach, Statistics in Medicine 27 (2008) 1693-1702. Raises ValueError for
    no values, and for another number of intervals.
    """
    if not values or len(values) != len(intervals):
        raise ValueError(f"no interval for {len(values)} values with {len(intervals)} intervals")
    size, mean = len(values), sum(values) / len(values)
    lows, highs = zip(*intervals, strict=True)
    below, above = math.dist(values, lows) / size, math.dist(highs, values) / size
    # What holds by arithmetic must hold in the last bits too: a low end of 0 is no negative number.
    return max(mean - below, sum(lows) / size), min(mean + above, sum(highs) / size)
