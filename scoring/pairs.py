"""Two runs on the same items, side by side: what cannot be compared is refused."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry.errors import UsageError, counted, shortened
from scoring.bootstrap import Floats, cluster_means


@dataclass(frozen=True)
class Outcome:
    """What one run got for one item: `score` from 0 to 1 (0 and 1 for wrong and right).

    `item_id` tells the item's occurrence (and its repetition) apart from others with the same `question_id`;
    `prompt_digest` is equal where the prompts are.
    """

    item_id: str
    question_id: str
    prompt_digest: str
    score: float


@dataclass(frozen=True)
class Pairs:
    """The scores of runs `a` and `b` on the same items, and the items' questions: equally long.

    Every difference is b minus a: what is gained by going from a to b.
    """

    questions: tuple[str, ...]
    a: tuple[float, ...]
    b: tuple[float, ...]

    @property
    def binary(self) -> bool:
        """Whether every item is right or wrong in both runs."""
        return all(score in (0, 1) for score in (*self.a, *self.b))


@dataclass(frozen=True)
class Flips:
    """How many items both runs have right or wrong, and how many change from run a to run b."""

    both_right: int
    both_wrong: int
    right_to_wrong: int
    wrong_to_right: int


def pair(a: Sequence[Outcome], b: Sequence[Outcome]) -> Pairs:
    """Return two runs as pairs, in the order of `a`; `UsageError` where their items, questions or prompts differ."""
    of_a, of_b = _by_item(a, "first"), _by_item(b, "second")
    only_a, only_b = of_a.keys() - of_b.keys(), of_b.keys() - of_a.keys()
    if only_a or only_b:
        first = next(item for item in itertools.chain(of_a, of_b) if item in only_a or item in only_b)
        raise UsageError(
            f"the runs are not of the same items: {len(only_a)} only in the first, {len(only_b)} only in the second; "
            f"first: {shortened(first)}; evaluate both on the same benchmark, with the same limit and repetitions"
        )
    for field, remedy in (("question_id", "the same benchmark file"), ("prompt_digest", "the same prompting")):
        other = [item for item in of_a if getattr(of_a[item], field) != getattr(of_b[item], field)]
        if other:
            raise UsageError(
                f"the runs differ in the {field} of {counted(len(other), 'item')} of {len(of_a)}; "
                f"first: {shortened(other[0])}; evaluate both with {remedy}"
            )
    return Pairs(
        questions=tuple(outcome.question_id for outcome in of_a.values()),
        a=tuple(outcome.score for outcome in of_a.values()),
        b=tuple(of_b[item].score for item in of_a),
    )


def flips(pairs: Pairs) -> Flips:
    """Count the items that change; ValueError for scores that are neither 0 nor 1."""
    if not pairs.binary:
        raise ValueError("scores other than 0 and 1: there is no right and wrong to count")
    seen = Counter(zip(pairs.a, pairs.b, strict=True))
    return Flips(seen[1, 1], seen[0, 0], seen[1, 0], seen[0, 1])


def question_differences(pairs: Pairs) -> Floats:
    """Return the mean of b minus a over the items of each question: (questions,). Questions are independent."""
    return cluster_means([b - a for a, b in zip(pairs.a, pairs.b, strict=True)], pairs.questions)


def _by_item(outcomes: Sequence[Outcome], run: str) -> Mapping[str, Outcome]:
    if not outcomes:
        raise UsageError(f"the {run} run has no items; evaluate it first")
    by_item = {outcome.item_id: outcome for outcome in outcomes}
    if len(by_item) < len(outcomes):
        twice = next(item for item, times in Counter(o.item_id for o in outcomes).items() if times > 1)
        raise UsageError(
            f"the {run} run holds {counted(len(outcomes) - len(by_item), 'item')} more than once; first: "
            f"{shortened(twice)}; give each repetition an id of its own"
        )
    beyond = next((outcome for outcome in outcomes if not 0 <= outcome.score <= 1), None)
    if beyond is not None:
        raise UsageError(f"the {run} run scores {beyond.score:g} for {shortened(beyond.item_id)}; bring scores to 0..1")
    return by_item
