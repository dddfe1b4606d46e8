"""Is one run better than another on the same items, and by how much? All tests take whole questions as their units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scoring.bootstrap import RESAMPLES, Floats, in_chunks, is_cheaper_by_kind, resampled_means, t_quantile
from scoring.pairs import Pairs, question_differences

_EXACT_UP_TO = 16  # questions that differ: 65,536 patterns of signs


@dataclass(frozen=True)
class McNemar:
    """The questions of which run b (`better`) or run a (`worse`) has more answers right; exact, two-sided `p_value`."""

    better: int
    worse: int
    p_value: float


@dataclass(frozen=True)
class Permutation:
    """Two-sided `p_value` of no difference, over all patterns of signs ("exact") or over random ones."""

    p_value: float
    method: Literal["exact", "monte_carlo"]


@dataclass(frozen=True)
class Difference:
    """The mean over questions of b minus a, its interval and the two-sided `p_value` that the interval goes with."""

    n_questions: int
    difference: float
    ci: tuple[float, float]
    p_value: float


@dataclass(frozen=True)
class Equivalence:
    """Whether the difference lies within `margin` on both sides; `ci` is its interval at 1 - 2 alpha (90 %)."""

    margin: float
    difference: float
    ci: tuple[float, float]
    p_value: float
    equivalent: bool


def mcnemar(pairs: Pairs) -> McNemar:
    """Test without approximation whether b is right on other questions than a.

    Where questions repeat, the items that change are not independent; so each question counts once, for the run that
    has more of its answers right, and the test is the exact sign test over questions. Without repeats these are the
    changed items of Q. McNemar, Note on the sampling error of the difference between correlated proportions or
    percentages, Psychometrika 12 (1947) 153-157. Raises ValueError for scores that are neither 0 nor 1.
    """
    from scipy.special import bdtr

    if not pairs.binary:
        raise ValueError("McNemar's test is for right and wrong; use the permutation test for other scores")
    differences = question_differences(pairs)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    p_value = min(1.0, 2 * float(bdtr(min(better, worse), better + worse, 0.5))) if better + worse else 1.0
    return McNemar(better, worse, p_value)


def permutation_test(pairs: Pairs, *, seed: int = 0, resamples: int = RESAMPLES) -> Permutation:
    """Test whether swapping the two runs, question by question, gives as large a mean difference.

    All patterns are counted where up to 16 questions differ, else `resamples` random ones, with p = (b + 1) / (m + 1),
    which is never too small: B. Phipson and G. Smyth, Permutation p-values should never be zero, Stat. Appl. Genet.
    Mol. Biol. 9 (2010) 39. Source of the test: R. A. Fisher, The design of experiments (1935), section 21.
    """
    differences = question_differences(pairs)
    sizes = np.abs(differences[differences != 0])
    # Sums of the same numbers in another order differ in their last bits and are ties.
    reached = abs(float(differences.sum())) - 1e-9 * float(sizes.sum())
    if len(sizes) <= _EXACT_UP_TO:
        return Permutation(float(np.mean(np.abs(_all_sums(sizes)) >= reached)), "exact")
    as_extreme = int((np.abs(_random_sums(sizes, seed, resamples)) >= reached).sum())
    return Permutation((as_extreme + 1) / (resamples + 1), "monte_carlo")


def difference_interval(
    pairs: Pairs, *, confidence: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Return the difference of two runs with its bootstrap interval over questions.

    The interval is the expanded percentile interval, whose level makes up for a resample's variance being that of a
    population: T. Hesterberg, What teachers should know about the bootstrap, The American Statistician 69 (2015)
    371-386. `p_value` is 1 - the confidence at which it would reach 0. Where all questions differ
    alike (usually: not at all) the bootstrap knows no uncertainty; see `_alike`.
    """
    sample = _Resampled.of(pairs, seed, resamples)
    p_value = min(1.0, 2 * min(sample.chance_up_to(0.0), sample.mirrored().chance_up_to(0.0)))
    return Difference(len(sample.differences), sample.mean, sample.interval(confidence), p_value)


def equivalence(
    pairs: Pairs, margin: float, *, alpha: float = 0.05, seed: int = 0, resamples: int = RESAMPLES
) -> Equivalence:
    """Test by two one-sided tests whether the runs differ by less than `margin` (0.02: two points of accuracy).

    Both tests are of `difference_interval`'s bootstrap at level `alpha`, so that the verdict is that of its 1 - 2 alpha
    interval. Source: D. Schuirmann, A comparison of the two one-sided tests procedure and the power approach,
    J. Pharmacokinet. Biopharm. 15 (1987) 657-680. Raises ValueError for a margin outside 0 to 1.
    """
    if not 0 < margin < 1 or not 0 < alpha < 0.5:
        raise ValueError(f"no equivalence within {margin} at level {alpha}")
    sample = _Resampled.of(pairs, seed, resamples)
    p_value = max(sample.chance_up_to(-margin), sample.mirrored().chance_up_to(-margin))
    return Equivalence(margin, sample.mean, sample.interval(1 - 2 * alpha), p_value, p_value < alpha)


@dataclass(frozen=True, eq=False)
class _Resampled:
    """The differences of the questions, and their mean in each resample."""

    differences: Floats
    means: Floats

    @staticmethod
    def of(pairs: Pairs, seed: int, resamples: int) -> _Resampled:
        differences = question_differences(pairs)
        return _Resampled(differences, resampled_means(differences, seed, resamples))

    def mirrored(self) -> _Resampled:
        return _Resampled(-self.differences, -self.means)

    @property
    def mean(self) -> float:
        return float(self.differences.mean())

    @property
    def _alike(self) -> bool:
        """Whether all questions differ by the same, so that every resample has the same mean.

        Then the mean is what this sample says, but for a share of questions unlike any seen, up to Wilson's upper limit
        for 0 of G, that could differ by anything from -1 to 1. For no difference at all that is the interval of
        T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
        design, Statistics in Medicine 17 (1998) 891-908.
        """
        return float(np.ptp(self.differences)) < 1e-12

    def interval(self, confidence: float) -> tuple[float, float]:
        from scipy.special import ndtr, ndtri

        count = len(self.differences)
        if self._alike:
            squared = float(ndtri(0.5 + confidence / 2)) ** 2
            unseen = squared / (count + squared)
            return self.mean - unseen * (1 + self.mean), self.mean + unseen * (1 - self.mean)
        level = float(ndtr(-math.sqrt(count / (count - 1)) * t_quantile(0.5 + confidence / 2, count - 1)))
        low, high = np.quantile(self.means, (level, 1 - level))
        return float(low), float(high)

    def chance_up_to(self, bound: float) -> float:
        """Return the one-sided p-value of a true mean of at most `bound`, as the interval has it."""
        from scipy.special import ndtr, ndtri, stdtr

        count = len(self.differences)
        if self._alike:
            unseen = max(0.0, (self.mean - bound) / (1 + self.mean)) if self.mean > -1 else 0.0
            return float(ndtr(-math.sqrt(count * unseen / (1 - unseen)))) if unseen < 1 else 0.0
        share = (int((self.means <= bound + 1e-12).sum()) + 1) / (len(self.means) + 2)
        return float(stdtr(count - 1, ndtri(share) * math.sqrt((count - 1) / count)))


def _all_sums(sizes: Floats) -> Floats:
    """Return the sums of the sizes under all patterns of signs: (2 ** len(sizes),)."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return sums


def _random_sums(sizes: Floats, seed: int, resamples: int) -> Floats:
    """Return the sums under random signs; of few distinct sizes it is drawn how many of each stay positive."""
    generator = np.random.default_rng(seed)
    kinds, counts = np.unique(sizes, return_counts=True)
    if is_cheaper_by_kind(len(kinds), len(sizes)):
        sums: Floats = (2 * generator.binomial(counts, 0.5, size=(resamples, len(kinds))) - counts) @ kinds
        return sums
    width = len(sizes)
    return in_chunks(
        resamples, width, lambda rows: (2.0 * generator.integers(0, 2, (rows, width), np.int8) - 1) @ sizes
    )
