"""Accuracy of a benchmark with its interval, where repeats of a question are not counted as new evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scoring.bootstrap import RESAMPLES, mean_interval


@dataclass(frozen=True)
class Accuracy:
    """`num_correct` of `n` answers to `n_clusters` distinct questions; `accuracy` and its 95 % `ci` are shares.

    `accuracy` is the mean over questions of the share of a question's answers that are right, which is
    `num_correct / n` unless some questions occur more often than others. `ci_method` is that of `Mean`.
    """

    n: int
    n_clusters: int
    num_correct: int
    accuracy: float
    ci: tuple[float, float]
    ci_method: str


def accuracy_of(
    correct: Sequence[bool], clusters: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> Accuracy:
    """Return the accuracy over answers; `clusters` names the question (`question_id`) of each.

    The interval is Wilson's where no question repeats or all answers to a question agree, so that a copy of an answer
    changes nothing; else that of `mean_interval`. Raises ValueError without answers.
    """
    mean = mean_interval(correct, clusters, seed=seed, resamples=resamples)
    return Accuracy(mean.n, mean.n_clusters, sum(correct), mean.mean, mean.ci, mean.ci_method)
