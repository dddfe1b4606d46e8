"""Metrics of questions with several right labels, and the table of gold against extracted letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_ANSWER = "no answer"


@dataclass(frozen=True)
class LabelScores:
    """Scores of `n` multi-label answers, `unanswered` of which named no label at all.

    `exact_set` is the share of answers whose set of labels is the gold one. `f1` is the F1 of each label over all
    items, null for a label that is nowhere gold nor predicted; `macro_f1` is the mean of those that are not null (what
    scikit-learn's `f1_score(average="macro")` gives for the labels that occur). `hamming_loss` is the share of all
    n x labels decisions that are wrong. `num_exact` counts the exact sets.
    """

    n: int
    unanswered: int
    num_exact: int
    exact_set: float
    macro_f1: float
    hamming_loss: float
    f1: dict[str, float | None]


def label_scores(
    predicted: Sequence[Collection[str] | None], gold: Sequence[Collection[str]], labels: Sequence[str]
) -> LabelScores:
    """Score sets of labels; `labels` are all that a question can have, and null or empty stands for no answer.

    An unanswered item counts as an answer without labels, so it is wrong and costs recall. Raises ValueError without
    items, when the two differ in number, and for a label that is not in `labels`.
    """
    import numpy as np

    if not gold or len(predicted) != len(gold):
        raise ValueError(f"{len(predicted)} answers for {len(gold)} gold sets")
    answers, truth = _indicators([given or () for given in predicted], labels), _indicators(gold, labels)
    exact = (answers == truth).all(axis=1)
    hits = (answers & truth).sum(axis=0)
    occurrences = answers.sum(axis=0) + truth.sum(axis=0)
    f1 = [2 * int(hit) / int(count) if count else None for hit, count in zip(hits, occurrences, strict=True)]
    occurring = [score for score in f1 if score is not None]
    return LabelScores(
        n=len(gold),
        unanswered=sum(not given for given in predicted),
        num_exact=int(exact.sum()),
        exact_set=float(exact.mean()),
        macro_f1=float(np.mean(occurring)) if occurring else 0.0,
        hamming_loss=float((answers ^ truth).mean()),
        f1=dict(zip(labels, f1, strict=True)),
    )


def confusion_table(gold: Iterable[str], extracted: Iterable[str | None]) -> dict[str, dict[str, int]]:
    """Return gold letter -> extracted letter or "no answer" -> number of answers, zeros included, letters in order.

    Raises ValueError when the two differ in number.
    """
    pairs = Counter((right, given or NO_ANSWER) for right, given in zip(gold, extracted, strict=True))
    rows = sorted({right for right, _ in pairs})
    columns = [*sorted({letter for pair in pairs for letter in pair} - {NO_ANSWER}), NO_ANSWER]
    return {right: {given: pairs[right, given] for given in columns} for right in rows}


def _indicators(sets: Sequence[Collection[str]], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Return the sets as a boolean matrix of items x labels."""
    import numpy as np

    column = {label: number for number, label in enumerate(labels)}
    unknown = {label for given in sets for label in given} - column.keys()
    if unknown or len(column) != len(labels):
        raise ValueError(f"labels {', '.join(sorted(unknown)) or 'that occur twice'} in {', '.join(labels)}")
    cells = [(row, column[label]) for row, given in enumerate(sets) for label in given]
    matrix = np.zeros((len(sets), len(labels)), dtype=np.bool_)
    if cells:
        matrix[tuple(np.array(cells).T)] = True
    return matrix
