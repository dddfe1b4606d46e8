"""The statistics of `scoring` once more, by loops and definitions: slow, and free of the code that they check."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction


def accuracy(correct: Sequence[bool], clusters: Sequence[str]) -> Fraction:
    """The mean over questions of the share of right answers, as a fraction."""
    groups: defaultdict[str, list[bool]] = defaultdict(list)
    for right, cluster in zip(correct, clusters, strict=True):
        groups[cluster].append(right)
    return sum((Fraction(sum(group), len(group)) for group in groups.values()), Fraction()) / len(groups)


def resampling_variance(shares: Sequence[Fraction]) -> Fraction:
    """The variance of the mean of a bootstrap sample, over all samples there are: len ** len of them."""
    means = [sum(sample, Fraction()) / len(shares) for sample in itertools.product(shares, repeat=len(shares))]
    center = sum(means, Fraction()) / len(means)
    return sum(((mean - center) ** 2 for mean in means), Fraction()) / len(means)


def pass_at_k(right: int, asked: int, k: int) -> Fraction:
    """The share of all choices of k answers that hold a right one."""
    answers = [number < right for number in range(asked)]
    chosen = list(itertools.combinations(answers, k))
    return Fraction(sum(any(choice) for choice in chosen), len(chosen))


def sign_flip_p(differences: Sequence[Fraction]) -> Fraction:
    """The share of all patterns of signs whose sum is as far from 0 as the one seen."""
    seen = abs(sum(differences, Fraction()))
    sums = [
        abs(sum((sign * difference for sign, difference in zip(signs, differences, strict=True)), Fraction()))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return Fraction(sum(one >= seen for one in sums), len(sums))


def mcnemar_p(better: int, worse: int) -> Fraction:
    """Both tails of fair coins, each at least as extreme as what was seen."""
    count = better + worse
    tail = sum(math.comb(count, heads) for heads in range(min(better, worse) + 1))
    return min(Fraction(1), Fraction(2 * tail, 2**count))


def holm(p_values: Sequence[float]) -> list[float]:
    """The smallest level at which the step-down procedure rejects each hypothesis."""
    return [_largest_factor(p_values, index) for index in range(len(p_values))]


def _largest_factor(p_values: Sequence[float], index: int) -> float:
    count = len(p_values)
    ranked = sorted(range(count), key=lambda other: (p_values[other], other))
    upto = ranked[: ranked.index(index) + 1]
    return min(1.0, max(p_values[other] * (count - rank) for rank, other in enumerate(upto)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The smallest rate at which the step-up procedure rejects each hypothesis."""
    count = len(p_values)
    ranked = sorted(p_values)
    return [min(1.0, *(one * count / (rank + 1) for rank, one in enumerate(ranked) if one >= p)) for p in p_values]


def differences_of(a: Sequence[bool], b: Sequence[bool], questions: Sequence[str]) -> Iterator[Fraction]:
    """The mean of b minus a for each question."""
    for question in dict.fromkeys(questions):
        chosen = [index for index, other in enumerate(questions) if other == question]
        yield Fraction(sum(int(b[index]) - int(a[index]) for index in chosen), len(chosen))
