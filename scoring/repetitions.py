"""Several sampled answers to each question: their mean accuracy, the majority's accuracy, and pass@k."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scoring.accuracy import Accuracy, accuracy_of
from scoring.bootstrap import Floats, Mean, mean_interval

Table = Sequence[Sequence[bool]]


@dataclass(frozen=True)
class Repeated:
    """Three figures that are not to be mixed up: of one answer, of the vote, and of any of k (k -> `pass_at[k]`)."""

    repetitions: int
    mean_accuracy: Accuracy
    majority_accuracy: Accuracy
    pass_at: dict[int, Mean]


def repeated_scores(
    answers: Sequence[Sequence[str | None]], correct: Table, clusters: Sequence[str], *, seed: int = 0
) -> Repeated:
    """Score a table of answers, `answers[item][repetition]` (null: no answer), of which `correct` says what is right.

    `clusters` names the question of each item. Raises ValueError for a table that is empty or ragged: pass@k and votes
    of items that were asked differently often are not comparable.
    """
    repetitions = _width(correct)
    if [len(row) for row in answers] != [repetitions] * len(correct):
        raise ValueError(f"the answers do not have {repetitions} repetitions of each of {len(correct)} items")
    each = [cluster for cluster in clusters for _ in range(repetitions)]
    votes = [majority_is_right(given, right) for given, right in zip(answers, correct, strict=True)]
    return Repeated(
        repetitions=repetitions,
        mean_accuracy=accuracy_of([right for row in correct for right in row], each, seed=seed),
        majority_accuracy=accuracy_of(votes, clusters, seed=seed),
        pass_at={
            k: mean_interval(list(shares), clusters, seed=seed)
            for k, shares in enumerate(pass_at_k(correct).T, start=1)
        },
    )


def majority_is_right(answers: Sequence[str | None], correct: Sequence[bool]) -> bool:
    """Return whether more of the answers are right than agree on any one wrong answer.

    A tie is wrong; a repetition without an answer does not vote, so that none at all is wrong. Right answers count
    together, however they are written.
    """
    right = sum(correct)
    wrong = Counter(answer for answer, is_right in zip(answers, correct, strict=True) if answer and not is_right)
    return right > max(wrong.values(), default=0)


def pass_at_k(correct: Table) -> Floats:
    """Return the unbiased estimate of pass@k for each item and k = 1..n of its n answers: (items, n).

    pass@k is the chance that at least one of k answers is right: 1 - C(n - c, k) / C(n, k) for c right ones, here as a
    running product, so that no binomial coefficient overflows. Source: M. Chen et al., Evaluating large language models
    trained on code, arXiv:2107.03374 (2021). Raises ValueError for an empty or ragged table.
    """
    repetitions = _width(correct)
    drawn = np.arange(repetitions)
    wrong = repetitions - np.asarray(correct, dtype=np.int64).sum(axis=1)
    factors = np.maximum(wrong[:, None] - drawn, 0) / (repetitions - drawn)
    passed: Floats = 1 - np.cumprod(factors, axis=1)
    return passed


def _width(correct: Table) -> int:
    if not correct or not correct[0]:
        raise ValueError("no answers")
    width = len(correct[0])
    for number, row in enumerate(correct):
        if len(row) != width:
            raise ValueError(f"item {number} has {len(row)} repetitions, item 0 has {width}; ask all equally often")
    return width
