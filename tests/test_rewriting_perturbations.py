"""Perturbations that need no model: how many steps they touch at any rate, and that only seed and row decide which."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rewriting.add_irrelevant import report
from curation.rewriting.outcome import Extent, Outcome
from curation.rewriting.perturbations import PERTURBATIONS
from curation.rewriting.perturbations_plain import NO_STEPS, ONE_QUESTION
from curation.rewriting.steps import join_steps, numbers_of, split_steps
from data.rows import Row
from registry.rewriting_schema import MODEL_PERTURBATIONS, PerturbationName
from tests.rewriting_case import no_model
from tests.stages import row

RATES = st.floats(min_value=0.0, max_value=1.0, exclude_min=True)
COUNTS = st.integers(min_value=2, max_value=12)
SEEDS = st.integers(min_value=0, max_value=10**6)
PLAIN = sorted(set(get_args(PerturbationName)) - MODEL_PERTURBATIONS)


def stepwise(number: int, count: int) -> Row:
    """A row of so many steps, none like any other row's."""
    return row(number, reasoning=join_steps([f"Title {number}.{step}\nContent." for step in range(count)]))


def perturbed(kind: PerturbationName, rows: Sequence[Row], rate: float, seed: int = 0) -> list[Outcome]:
    return PERTURBATIONS[kind](rate, seed)(rows, no_model)


def steps_of(outcome: Outcome) -> list[str]:
    assert outcome.row is not None
    assert numbers_of(outcome.row.reasoning) == list(range(1, len(numbers_of(outcome.row.reasoning)) + 1))
    return split_steps(outcome.row.reasoning)


def test_every_name_has_its_perturbation() -> None:
    assert set(PERTURBATIONS) == set(get_args(PerturbationName))


@given(rate=RATES, count=COUNTS, seed=SEEDS)
def test_skip_leaves_out_its_part_and_keeps_the_order(rate: float, count: int, seed: int) -> None:
    given_row = stepwise(1, count)
    before = split_steps(given_row.reasoning)
    (outcome,) = perturbed("skip", [given_row], rate, seed)
    after = steps_of(outcome)
    assert len(after) == count - min(max(1, round(rate * count)), count - 1)
    assert [step for step in before if step in after] == after
    assert outcome.status == "accepted"


@given(count=COUNTS, seed=SEEDS)
def test_skip_leaves_just_one_step_at_a_rate_of_1(count: int, seed: int) -> None:
    assert len(steps_of(perturbed("skip", [stepwise(1, count)], 1.0, seed)[0])) == 1


@given(rate=RATES, count=COUNTS, seed=SEEDS)
def test_shuffle_moves_just_the_steps_that_the_rate_selects(rate: float, count: int, seed: int) -> None:
    given_row = stepwise(1, count)
    before, after = split_steps(given_row.reasoning), steps_of(perturbed("shuffle", [given_row], rate, seed)[0])
    assert sorted(after) == sorted(before)
    assert sum(old != new for old, new in zip(before, after, strict=True)) == max(2, round(rate * count))


def test_shuffle_draws_all_derangements_alike() -> None:
    given_row = stepwise(1, 4)
    before = split_steps(given_row.reasoning)
    drawn = Counter(tuple(steps_of(perturbed("shuffle", [given_row], 1.0, seed)[0])) for seed in range(1800))
    all_moved = {p for p in permutations(before) if all(a != b for a, b in zip(p, before, strict=True))}
    assert set(drawn) == all_moved
    assert max(drawn.values()) - min(drawn.values()) < 100  # 200 of each, a standard deviation of 13


@given(count=st.integers(min_value=3, max_value=12), seed=SEEDS)
def test_shuffle_changes_the_text_where_steps_have_equal_texts(count: int, seed: int) -> None:
    steps = ["Same\nagain"] * (count - 1) + ["Other\nstep"]
    (outcome,) = perturbed("shuffle", [row(1, reasoning=join_steps(steps))], 0.01, seed)
    assert sorted(steps_of(outcome)) == sorted(steps)
    assert steps_of(outcome) != steps
    (alike,) = perturbed("shuffle", [row(1, reasoning=join_steps(steps[:-1]))], 1.0, seed)
    assert alike.status == "unchanged"


@given(rate=RATES, counts=st.lists(COUNTS, min_size=2, max_size=5), seed=SEEDS)
def test_irrelevant_steps_are_of_other_questions_and_as_many_as_the_rate_says(
    rate: float, counts: list[int], seed: int
) -> None:
    rows = [stepwise(number, count) for number, count in enumerate(counts)]
    pool = [step for each in rows for step in split_steps(each.reasoning)]
    for before, outcome in zip(rows, perturbed("add_irrelevant", rows, rate, seed), strict=True):
        own, after = split_steps(before.reasoning), steps_of(outcome)
        added = [step for step in after if step not in own]
        wanted = max(1, round(rate * len(own)))
        assert [step for step in after if step in own] == own
        assert len(added) == wanted
        assert set(added) <= set(pool)
        assert len(set(added)) == wanted or wanted > len(pool) - len(own)


def test_irrelevant_steps_come_of_no_repeat_of_the_question() -> None:
    first = stepwise(1, 2)
    repeat = replace(first, id="0" * 16, reasoning=join_steps(["Title of the repeat\nContent."]))
    other = stepwise(2, 1)
    outcomes = perturbed("add_irrelevant", [first, repeat, other], 1.0)
    foreign = split_steps(other.reasoning)[0]
    assert steps_of(outcomes[0]).count(foreign) == 2
    assert steps_of(outcomes[1]).count(foreign) == 1
    assert {outcome.reason for outcome in perturbed("add_irrelevant", [first, repeat], 0.5)} == {ONE_QUESTION}


def test_irrelevant_steps_stand_anywhere() -> None:
    rows = [stepwise(1, 3), stepwise(2, 9)]
    own = split_steps(rows[0].reasoning)
    places = Counter(
        next(
            place
            for place, step in enumerate(steps_of(perturbed("add_irrelevant", rows, 0.33, seed)[0]))
            if step not in own
        )
        for seed in range(400)
    )
    assert set(places) == {0, 1, 2, 3}
    assert min(places.values()) > 60


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("rate", [0.01, 0.33, 1.0])
def test_the_order_of_the_rows_and_a_second_run_change_nothing(kind: PerturbationName, rate: float) -> None:
    rows = [stepwise(number, 2 + number % 7) for number in range(30)]
    first = {each.id: outcome for each, outcome in zip(rows, perturbed(kind, rows, rate, 3), strict=True)}
    mixed = random.Random(1).sample(rows, len(rows))
    assert {each.id: outcome for each, outcome in zip(mixed, perturbed(kind, mixed, rate, 3), strict=True)} == first
    assert perturbed(kind, rows, rate, 4) != list(first.values())


@pytest.mark.parametrize("kind", ["skip", "shuffle"])
def test_rows_decide_nothing_for_each_other(kind: PerturbationName) -> None:
    rows = [stepwise(number, 6) for number in range(5)]
    together = perturbed(kind, rows, 0.5)
    assert together == [perturbed(kind, [each], 0.5)[0] for each in rows]
    orders = [[step.partition(".")[2] for step in steps_of(outcome)] for outcome in together]
    assert len({tuple(order) for order in orders}) > 1


@pytest.mark.parametrize("kind", PLAIN)
def test_without_steps_a_row_is_given_up(kind: PerturbationName) -> None:
    outcomes = perturbed(kind, [row(1), row(2, reasoning=""), stepwise(3, 3), stepwise(4, 3)], 0.5)
    assert [outcome.reason for outcome in outcomes[:2]] == [NO_STEPS, NO_STEPS]
    assert [outcome.status for outcome in outcomes[2:]] == ["accepted", "accepted"]
    assert perturbed(kind, [], 0.5) == []


@pytest.mark.parametrize("kind", ["skip", "shuffle"])
def test_one_step_alone_is_unchanged(kind: PerturbationName) -> None:
    given_row = stepwise(1, 1)
    assert perturbed(kind, [given_row], 1.0) == [Outcome(given_row, "unchanged", extent=Extent("steps", 1, 0))]


def test_the_benchmark_finds_every_row_as_promised() -> None:
    found = report([40, 120], lambda _: None)
    assert found.sound
    assert [run["right"] for run in found.data["runs"]] == [40] * 3 + [120] * 3


def test_the_page_has_a_row_for_each_perturbation() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "perturbations.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == {*PERTURBATIONS, "type"}
    assert all(page.count(f"| `{name}` |") == 1 for name in PERTURBATIONS)
