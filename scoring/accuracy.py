"""Accuracy of a benchmark with its interval, where repeats of a question are not counted as new evidence."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from scoring.intervals import wilson_interval


@dataclass(frozen=True)
class Accuracy:
    """`num_correct` of `n` answers to `n_clusters` distinct questions; `accuracy` and its 95 % `ci` are shares.

    `accuracy` is the mean over questions of the share of a question's answers that are right, which is
    `num_correct / n` unless some questions occur more often than others.
    """

    n: int
    n_clusters: int
    num_correct: int
    accuracy: float
    ci: tuple[float, float]


def accuracy_of(correct: Sequence[bool], clusters: Sequence[str]) -> Accuracy:
    """Return the accuracy over answers; `clusters` names the question (`question_id`) of each.

    Method: the correctness of a question's answers is averaged, and Wilson's interval is taken of the mean of these
    averages with the number of distinct questions as sample size: answers to one question count as one observation
    however many there are, so the interval is never too narrow because of repeats. Raises ValueError without answers.
    """
    if not correct or len(correct) != len(clusters):
        raise ValueError(f"{len(correct)} answers for {len(clusters)} questions")
    answers: defaultdict[str, list[bool]] = defaultdict(list)
    for right, cluster in zip(correct, clusters, strict=True):
        answers[cluster].append(right)
    total = math.fsum(sum(group) / len(group) for group in answers.values())
    successes = min(total, len(answers))
    return Accuracy(
        n=len(correct),
        n_clusters=len(answers),
        num_correct=sum(correct),
        accuracy=successes / len(answers),
        ci=wilson_interval(successes, len(answers)),
    )
