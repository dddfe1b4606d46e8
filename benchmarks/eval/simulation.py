"""Simulated benchmarks whose truth is known: questions of several sizes whose answers agree more or less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.accuracy import accuracy_of
from scoring.paired import difference_interval, equivalence, mcnemar, permutation_test
from scoring.pairs import Pairs

Ints = NDArray[np.int64]
LEVEL = 0.05
MARGIN = 0.1


@dataclass(frozen=True)
class Design:
    """How often each question is answered: `sizes[question % len(sizes)]` times."""

    name: str
    questions: int
    sizes: tuple[int, ...]

    @property
    def answers(self) -> Ints:
        """The number of answers to each question."""
        return np.resize(np.array(self.sizes, dtype=np.int64), self.questions)


def abilities(
    design: Design, accuracy: float, correlation: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """The chance that a question is answered right; its answers correlate by `correlation` (1: they are copies)."""
    if correlation == 0:
        return np.full(design.questions, accuracy)
    if correlation == 1:
        return (generator.random(design.questions) < accuracy).astype(np.float64)
    spread = 1 / correlation - 1
    return generator.beta(accuracy * spread, (1 - accuracy) * spread, design.questions)


def coverage(
    design: Design, accuracy: float, correlation: float, trials: int, resamples: int, *, as_new: bool = False
) -> float:
    """The share of `trials` in which the interval of `accuracy_of` holds the truth.

    `as_new` takes each answer for one to a question of its own, which is what the clusters are there to avoid.
    """
    generator = np.random.default_rng([design.questions, *design.sizes, int(accuracy * 100), int(correlation * 100)])
    numbers = np.arange(design.answers.sum()) if as_new else np.repeat(np.arange(design.questions), design.answers)
    questions = [str(number) for number in numbers]
    hits = 0
    for trial in range(trials):
        right = _answers(design, abilities(design, accuracy, correlation, generator), generator)
        low, high = accuracy_of([bool(one) for one in right], questions, seed=trial, resamples=resamples).ci
        hits += low <= accuracy <= high
    return hits / trials


def _answers(design: Design, chances: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.bool_]:
    return generator.random(int(design.answers.sum())) < np.repeat(chances, design.answers)


Rejects = Callable[[Pairs, int, int], bool]
TESTS: dict[str, Rejects] = {
    "McNemar": lambda pairs, seed, resamples: mcnemar(pairs).p_value <= LEVEL,
    "permutation": lambda pairs, seed, resamples: (
        permutation_test(pairs, seed=seed, resamples=resamples).p_value <= LEVEL
    ),
    "bootstrap": lambda pairs, seed, resamples: (
        difference_interval(pairs, seed=seed, resamples=resamples).p_value <= LEVEL
    ),
    "TOST": lambda pairs, seed, resamples: equivalence(pairs, MARGIN, seed=seed, resamples=resamples).equivalent,
}


def null_pairs(
    design: Design, accuracy: float, correlation: float, loss: float, generator: np.random.Generator
) -> Pairs:
    """Two runs on the same questions; the second loses `loss` of the accuracy, and is as good as the first at 0."""
    chances = abilities(design, accuracy, correlation, generator)
    first = _answers(design, chances, generator)
    second = _answers(design, chances * (1 - loss / accuracy), generator)
    questions = tuple(str(number) for number in np.repeat(np.arange(design.questions), design.answers))
    return Pairs(questions, tuple(first.astype(float).tolist()), tuple(second.astype(float).tolist()))


def false_positives(test: str, design: Design, correlation: float, trials: int, resamples: int) -> float:
    """The share of `trials` in which a test rejects without a difference, or TOST with one of the margin."""
    generator = np.random.default_rng([design.questions, *design.sizes, int(correlation * 100)])
    loss = MARGIN if test == "TOST" else 0.0
    pairs = (null_pairs(design, 0.6, correlation, loss, generator) for _ in range(trials))
    return sum(TESTS[test](one, trial, resamples) for trial, one in enumerate(pairs)) / trials
