"""Means over questions, and their bootstrap: whole questions are drawn, so that repeats bring no evidence."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.intervals import score_interval, wilson_interval

Floats = NDArray[np.float64]
RESAMPLES = 10_000
_KIND_COST = 6  # drawing how often one kind comes costs as much as drawing this many questions, as measured
_CHUNK = 1_000_000  # numbers drawn at once: some megabytes, whatever the size of the benchmark


@dataclass(frozen=True)
class Mean:
    """The mean over `n_clusters` questions of the mean of a question's values (`n` in all), with its 95 % interval.

    `ci_method`: `clustered_bootstrap`, or `wilson` where only the number of questions says how sure the mean is.
    """

    n: int
    n_clusters: int
    mean: float
    ci: tuple[float, float]
    ci_method: str


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Mean:
    """Return the mean of a bounded metric and its interval; `clusters` names the question of each value.

    Questions are drawn with replacement, each with all of its values. The variance of the resampled means, times
    G / (G - 1) for G questions, gives the effective sample size n: as many independent right-or-wrong answers would be
    as sure. Wilson's interval at n, with Student's t of G - 1 degrees of freedom, is the result: at an accuracy of 0.1
    and 50 questions percentile intervals held the truth too rarely in simulations, BCa, bootstrap-t and logit intervals
    too often; `python -m benchmarks.eval coverage` shows what this one does. Where each question is at a bound (right
    or wrong as a whole) or all are equal, the bootstrap has nothing to add, and it is Wilson's interval with G.

    Sources: C. Field and A. Welsh, Bootstrapping clustered data, JRSS B 69 (2007) 369-390; E. Korn and B. Graubard,
    Confidence intervals for proportions with small expected number of positive counts estimated from survey data,
    Survey Methodology 24 (1998) 193-201; N. Dean and M. Pagano, Evaluating confidence interval methods for binomial
    proportions in clustered surveys, J. Survey Statistics and Methodology 3 (2015) 484-503.

    Raises ValueError without values, or for one that is outside `bounds`.
    """
    low, high = bounds
    means = cluster_means(values, clusters)
    given = np.asarray(values, dtype=np.float64)
    if not bool(np.all((given >= low) & (given <= high))):
        raise ValueError(f"a value is outside {low:g} to {high:g}")
    shares = (means - low) / (high - low)
    share, count = min(float(shares.mean()), 1.0), len(shares)
    if np.ptp(shares) < 1e-12 or bool(np.isin(shares, (0.0, 1.0)).all()):
        method, interval = "wilson", wilson_interval(share * count, count)
    else:
        method = "clustered_bootstrap"
        variance = float(resampled_means(shares, seed, resamples).var()) * count / (count - 1)
        interval = score_interval(share, share * (1 - share) / variance, t_quantile(0.975, count - 1))
    scaled = (low + interval[0] * (high - low), low + interval[1] * (high - low))
    return Mean(len(given), count, low + share * (high - low), scaled, method)


def cluster_means(values: Sequence[float], clusters: Sequence[Hashable]) -> Floats:
    """Return the mean of each question's values, questions in the order in which they first occur: (questions,).

    Raises ValueError without values and where there is not a cluster for each.
    """
    if not len(values) or len(values) != len(clusters):
        raise ValueError(f"{len(values)} answers for {len(clusters)} questions")
    codes = codes_of(clusters)
    sums = np.bincount(codes, weights=np.asarray(values, dtype=np.float64))
    return sums / np.bincount(codes)


def codes_of(clusters: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return a number from 0 for each name, in the order in which the names first occur."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(cluster, len(known)) for cluster in clusters], dtype=np.int64)


def resampled_means(values: Floats, seed: int, resamples: int = RESAMPLES) -> Floats:
    """Return the mean of each of `resamples` samples of `len(values)` of the values, drawn with replacement.

    Where few values are distinct, it is drawn how often each comes (multinomial), which has the same distribution.
    """
    generator = np.random.default_rng(seed)
    kinds, counts = np.unique(values, return_counts=True)
    size = len(values)
    if is_cheaper_by_kind(len(kinds), size):
        means: Floats = generator.multinomial(size, counts / size, size=resamples) @ kinds / size
        return means
    return in_chunks(resamples, size, lambda rows: values[generator.integers(0, size, (rows, size), np.int32)].mean(1))


def is_cheaper_by_kind(kinds: int, size: int) -> bool:
    """Return whether drawing how often each kind comes costs less than drawing `size` values one by one."""
    return kinds * _KIND_COST <= size


def in_chunks(resamples: int, width: int, draw: Callable[[int], Floats]) -> Floats:
    """Return `resamples` numbers that `draw(rows)` makes from `width` random ones each, in chunks that fit memory."""
    rows = max(1, _CHUNK // width)
    return np.concatenate([draw(min(rows, resamples - start)) for start in range(0, resamples, rows)])


def t_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution with `freedom` >= 1 degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))
