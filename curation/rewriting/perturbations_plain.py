"""Perturbations that need no model: steps left out, moved, or mixed with steps of other questions.

Every row draws from its own seed, made of the experiment's and the row's id: the order of the rows decides nothing. How
many steps that are is `part_of`; a text without steps is given up, and one in which nothing can be done is unchanged.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from curation.rewriting.outcome import Extent, Outcome, given_up
from curation.rewriting.steps import join_steps, split_steps
from data.rows import Row

T = TypeVar("T")
Steps = list[str]

NO_STEPS = "the reasoning has no steps"
ONE_QUESTION = "no other question has steps to add"


def part_of(count: int, rate: float) -> int:
    """How many of `count` things a rate means: at least one; halves go to the even number."""
    return max(1, round(rate * count))


def rng_of(seed: int, row: Row) -> random.Random:
    """The row's own random numbers."""
    return random.Random(f"{seed} {row.id}")


def unchanged(row: Row, extent: Extent | None = None) -> Outcome:
    """The outcome of a row to which nothing is done."""
    return Outcome(row, "unchanged", extent=extent)


def with_steps(row: Row, steps: Sequence[str]) -> Row:
    """The row with these steps as its reasoning, numbered from 1."""
    return replace(row, reasoning=join_steps(steps))


def skip(rows: Sequence[Row], rate: float, seed: int) -> list[Outcome]:
    """Leave out steps; the others keep their order. At least one stays, and just one at a rate of 1."""

    def change(steps: Steps, rng: random.Random) -> Steps:
        left_out = min(part_of(len(steps), rate), len(steps) - 1)
        stays = sorted(rng.sample(range(len(steps)), len(steps) - left_out))
        return [steps[place] for place in stays]

    return _each(rows, seed, change)


def shuffle(rows: Sequence[Row], rate: float, seed: int) -> list[Outcome]:
    """Move steps: two at least, and none of the chosen ones stays where it was. All such moves are equally likely."""

    def change(steps: Steps, rng: random.Random) -> Steps:
        if all(step == steps[0] for step in steps):
            return steps
        count = max(2, part_of(len(steps), rate))
        # Steps of equal text may change places: drawn again until the text has changed, as it can.
        while True:
            chosen = rng.sample(range(len(steps)), count)
            moved = list(steps)
            for place, origin in zip(chosen, _derangement(chosen, rng), strict=True):
                moved[place] = steps[origin]
            if moved != steps:
                return moved

    return _each(rows, seed, change)


def add_irrelevant(rows: Sequence[Row], rate: float, seed: int) -> list[Outcome]:
    """Put steps of other questions at random places; none twice, unless there are fewer than are wanted.

    The time grows with the number of steps.
    """
    split = [split_steps(row.reasoning) for row in rows]
    pool = _Pool.of(rows, split)
    return [_mixed(row, steps, pool, rate, seed) for row, steps in zip(rows, split, strict=True)]


def _mixed(row: Row, steps: Steps, pool: _Pool, rate: float, seed: int) -> Outcome:
    own = pool.range_of(row.question_id)
    others = len(pool.steps) - len(own)
    if not steps:
        return given_up(NO_STEPS)
    if not others:
        return given_up(ONE_QUESTION)
    rng, count = rng_of(seed, row), part_of(len(steps), rate)
    drawn = rng.sample(range(others), count) if count <= others else rng.choices(range(others), k=count)
    added = iter([pool.steps[place if place < own.start else place + len(own)] for place in drawn])
    places = set(rng.sample(range(len(steps) + count), count))
    kept = iter(steps)
    mixed = [next(added if place in places else kept) for place in range(len(steps) + count)]
    return Outcome(with_steps(row, mixed), "accepted", extent=Extent("steps", len(steps), count))


@dataclass(frozen=True)
class _Pool:
    """The steps of all rows in the order of their questions, so that one question's steps stand side by side."""

    questions: list[str]
    steps: list[str]

    @classmethod
    def of(cls, rows: Sequence[Row], split: Sequence[Steps]) -> _Pool:
        order = sorted(range(len(rows)), key=lambda index: (rows[index].question_id, rows[index].id))
        pairs = [(rows[index].question_id, step) for index in order for step in split[index]]
        return cls([question for question, _ in pairs], [step for _, step in pairs])

    def range_of(self, question_id: str) -> range:
        """Where the question's own steps stand."""
        return range(bisect_left(self.questions, question_id), bisect_right(self.questions, question_id))


def _each(rows: Sequence[Row], seed: int, change: Callable[[Steps, random.Random], Steps]) -> list[Outcome]:
    """Change every row's steps; one step alone can be neither left out nor moved."""
    return [_changed(row, split_steps(row.reasoning), rng_of(seed, row), change) for row in rows]


def _changed(row: Row, steps: Steps, rng: random.Random, change: Callable[[Steps, random.Random], Steps]) -> Outcome:
    if not steps:
        return given_up(NO_STEPS)
    changed = change(steps, rng) if len(steps) > 1 else steps
    extent = Extent("steps", len(steps), _touched(steps, changed))
    return Outcome(with_steps(row, changed), "accepted", extent=extent) if extent.changed else unchanged(row, extent)


def _touched(before: Steps, after: Steps) -> int:
    """How many steps were left out, or where as many are left stand where another one stood."""
    return len(before) - len(after) or sum(old != new for old, new in zip(before, after, strict=True))


def _derangement(items: Sequence[T], rng: random.Random) -> list[T]:
    """The items in an order in which none keeps its place, uniformly: drawn until one is, e times on average."""
    while True:
        order = list(range(len(items)))
        rng.shuffle(order)
        if all(place != origin for place, origin in enumerate(order)):
            return [items[origin] for origin in order]
