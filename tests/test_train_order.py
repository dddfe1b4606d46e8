"""The order and layout of rows: every row once in an epoch, every step its global batch, no sequence too long."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.batch import BatchPlan, plan_batch
from train.order import Element, Layout, epoch_order, lay_out, pack

LENGTHS = st.lists(st.integers(min_value=2, max_value=100), min_size=1, max_size=120)
SHARES = st.integers(min_value=1, max_value=12)
WORLDS = st.sampled_from([1, 2, 4])


def rows_of_steps(layout: Layout, plan: BatchPlan, rows: int) -> list[list[set[int]]]:
    """The rows of each step, epoch by epoch."""
    size = layout.per_device * layout.accumulation * plan.world_size
    for epoch in layout.elements:
        assert len(epoch) == size * plan.steps_per_epoch(rows)
    return [
        [{row for element in epoch[start : start + size] for row in element} for start in range(0, len(epoch), size)]
        for epoch in layout.elements
    ]


def used(element: Element, lengths: Sequence[int]) -> int:
    return sum(lengths[row] for row in element)


@given(LENGTHS, SHARES, WORLDS, st.integers(min_value=1, max_value=4), st.integers(min_value=1, max_value=4))
def test_a_step_has_the_same_rows_however_they_are_laid(
    lengths: list[int], share: int, world: int, limit: int, rows_per_pack: int
) -> None:
    one = plan_batch(share * world, limit, 1)
    many = plan_batch(share * world, limit, world)
    single = rows_of_steps(lay_out(lengths, one, 2, seed=7), one, len(lengths))
    spread = rows_of_steps(lay_out(lengths, many, 2, seed=7), many, len(lengths))
    packed_layout = lay_out(lengths, many, 2, seed=7, capacity=100 * rows_per_pack)
    packed = rows_of_steps(packed_layout, many, len(lengths))
    assert single == spread == packed
    for epoch in single:
        assert [len(step) for step in epoch[:-1]] == [share * world] * (len(epoch) - 1)
        assert sorted(row for step in epoch for row in step) == list(range(len(lengths)))
    for elements in packed_layout.elements:
        assert all(used(element, lengths) <= 100 * rows_per_pack for element in elements)
        assert sum(map(len, elements)) == len(lengths)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    first = epoch_order(50, 1, 0)
    assert first == epoch_order(50, 1, 0)
    assert first != epoch_order(50, 1, 1)
    assert first != epoch_order(50, 2, 0)
    assert sorted(first) == list(range(50))


def test_rows_read_side_by_side_are_about_as_long() -> None:
    lengths = list(range(2, 66))
    layout = lay_out(lengths, plan_batch(64, 2, 4), 1, seed=0)
    side_by_side = [layout.elements[0][start : start + 8] for start in range(0, 64, 8)]
    spans = [[used(element, lengths) for element in elements] for elements in side_by_side]
    assert all(max(span) - min(span) == 7 for span in spans)


@pytest.mark.parametrize(
    ("lengths", "capacity", "sequences"),
    [
        ([10, 10, 10], 10, 3),
        ([7, 6, 4, 3], 10, 2),  # first fit decreasing would find them too
        ([60, 50, 40, 30, 20], 100, 2),
        ([5], 100, 1),
        ([], 100, 0),
    ],
)
def test_rows_are_packed_into_few_sequences(lengths: list[int], capacity: int, sequences: int) -> None:
    packed = pack(range(len(lengths)), lengths, capacity)
    assert len(packed) == sequences
    assert sorted(row for element in packed for row in element) == list(range(len(lengths)))


@given(LENGTHS)
def test_packing_stays_within_the_bound_of_best_fit_decreasing(lengths: list[int]) -> None:
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    fewest = math.ceil(sum(lengths) / 100)  # a lower bound of the optimum
    halves = sum(length > 50 for length in lengths)
    packed = pack(order, lengths, 100)
    # Best fit decreasing leaves no two sequences that would fit into one.
    loads = sorted(used(element, lengths) for element in packed)
    assert len(packed) >= max(fewest, halves)
    assert len(loads) < 2 or loads[0] + loads[1] > 100
