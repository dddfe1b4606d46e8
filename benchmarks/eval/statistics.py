"""The statistics of `scoring` against scipy and against slow references, on random data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from benchmarks.parts import Report, Say
from registry.console import Grid
from scoring.accuracy import accuracy_of
from scoring.intervals import wilson_interval
from scoring.multiple import benjamini_hochberg, holm
from scoring.paired import mcnemar, permutation_test
from scoring.pairs import Pairs
from scoring.repetitions import pass_at_k
from tests import statistics_references as slow

LIMIT = 1e-9
Gap = tuple[str, float]


def compare_statistics(full: bool, say: Say) -> Report:
    """Print the greatest difference to each reference over 100 random cases (full: 1,000)."""
    greatest: dict[str, float] = {}
    for case in range(1_000 if full else 100):
        generator = np.random.default_rng(case)
        for compare in COMPARISONS:
            for name, gap in compare(generator):
                greatest[name] = max(greatest.get(name, 0.0), gap)
    rows = [[name, f"{gap:.1e}", "met" if gap <= LIMIT else "MISSED"] for name, gap in greatest.items()]
    return Report(
        data={"greatest_difference": greatest, "limit": LIMIT},
        lines=(Grid(("statistic and its reference", "greatest difference", ""), rows, right=(1,)),),
        sound=max(greatest.values()) <= LIMIT,
    )


def _accuracies(generator: np.random.Generator) -> Iterator[Gap]:
    correct = [bool(one) for one in generator.random(60) < generator.random()]
    clusters = [str(one) for one in generator.integers(0, 20, 60)]
    exact = slow.accuracy(correct, clusters)
    yield "accuracy, fractions by hand", abs(accuracy_of(correct, clusters, resamples=100).accuracy - float(exact))


def _wilson(generator: np.random.Generator) -> Iterator[Gap]:
    total = int(generator.integers(1, 5_000))
    right = int(generator.integers(0, total + 1))
    theirs = stats.binomtest(right, total).proportion_ci(method="wilson")
    ours = wilson_interval(right, total)
    yield "Wilson interval, scipy", max(abs(ours[0] - theirs.low), abs(ours[1] - theirs.high))


def _pairs(generator: np.random.Generator, questions: list[str]) -> tuple[Pairs, list[bool], list[bool]]:
    a, b = ([bool(one) for one in generator.random(len(questions)) < 0.5] for _ in "ab")
    return Pairs(tuple(questions), tuple(map(float, a)), tuple(map(float, b))), a, b


def _mcnemar(generator: np.random.Generator) -> Iterator[Gap]:
    pairs, _, _ = _pairs(generator, [str(number) for number in range(int(generator.integers(2, 400)))])
    ours = mcnemar(pairs)
    if ours.better + ours.worse:
        theirs = stats.binomtest(ours.better, ours.better + ours.worse).pvalue
        yield "McNemar, scipy's binomial test", abs(ours.p_value - float(theirs))
    yield "McNemar, sums of fractions", abs(ours.p_value - float(slow.mcnemar_p(ours.better, ours.worse)))


def _permutation(generator: np.random.Generator) -> Iterator[Gap]:
    questions = [str(one) for one in generator.integers(0, 9, 30)]
    pairs, a, b = _pairs(generator, questions)
    exact = slow.sign_flip_p(list(slow.differences_of(a, b, questions)))
    yield "permutation test, all patterns", abs(permutation_test(pairs).p_value - float(exact))


def _adjusted(generator: np.random.Generator) -> Iterator[Gap]:
    p_values = np.round(generator.random(int(generator.integers(1, 30))) ** 3, 2).tolist()
    yield "Holm, step by step", float(np.abs(np.subtract(holm(p_values), slow.holm(p_values))).max())
    ours = benjamini_hochberg(p_values)
    yield "Benjamini-Hochberg, step by step", float(np.abs(np.subtract(ours, slow.benjamini_hochberg(p_values))).max())


def _pass_at_k(generator: np.random.Generator) -> Iterator[Gap]:
    asked = int(generator.integers(1, 9))
    right = int(generator.integers(0, asked + 1))
    ours = pass_at_k([[number < right for number in range(asked)]])[0]
    exact = [float(slow.pass_at_k(right, asked, k)) for k in range(1, asked + 1)]
    yield "pass@k, all choices", float(np.abs(ours - exact).max())


COMPARISONS: tuple[Callable[[np.random.Generator], Iterator[Gap]], ...] = (
    _accuracies,
    _wilson,
    _mcnemar,
    _permutation,
    _adjusted,
    _pass_at_k,
)
