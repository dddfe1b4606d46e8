"""The batch arithmetic: any number of processes makes the same optimizer steps over the same rows."""

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry.errors import UsageError
from registry.training_schema import TrainingParams
from train.batch import BatchPlan, plan_batch

SIZES = st.integers(min_value=1, max_value=512)


def params(**fields: Any) -> TrainingParams:
    return TrainingParams(learning_rate=1e-5, num_epochs=1, **fields)


@pytest.mark.parametrize(
    ("global_batch", "limit", "processes", "per_device", "accumulation"),
    [
        (128, 2, 4, 2, 16),  # the study's config on the GPUs that it is meant for
        (128, 2, 8, 2, 8),
        (128, 2, 1, 2, 64),
        (128, 64, 8, 16, 1),  # a process never holds more than its share
        (24, 5, 2, 4, 3),  # 5 does not divide the share of 12
        (14, 4, 2, 1, 7),
        (1, 8, 1, 1, 1),
    ],
)
def test_the_largest_dividing_size_is_taken(
    global_batch: int, limit: int, processes: int, per_device: int, accumulation: int
) -> None:
    assert plan_batch(global_batch, limit, processes) == BatchPlan(global_batch, per_device, accumulation, processes)


@given(SIZES, SIZES, st.integers(min_value=1, max_value=64))
def test_a_plan_multiplies_to_the_global_batch(share: int, limit: int, processes: int) -> None:
    plan = plan_batch(share * processes, limit, processes)
    assert plan.per_device * plan.accumulation * plan.world_size == plan.global_batch == share * processes
    assert plan.per_device <= limit
    assert all(share % larger for larger in range(plan.per_device + 1, min(limit, share) + 1))


@given(SIZES, st.integers(min_value=2, max_value=64), SIZES)
def test_an_unequal_share_is_refused(global_batch: int, processes: int, limit: int) -> None:
    assume(global_batch % processes)
    with pytest.raises(UsageError, match=f"{global_batch} rows cannot be shared by {processes} processes"):
        plan_batch(global_batch, limit, processes)


@given(SIZES, SIZES, st.integers(min_value=1, max_value=10_000), st.floats(min_value=0.1, max_value=20))
def test_steps_do_not_depend_on_the_machine(share: int, limit: int, rows: int, epochs: float) -> None:
    plans = [plan_batch(share * 8, limit, processes) for processes in (1, 2, 4, 8)]
    assert len({plan.total_steps(rows, epochs) for plan in plans}) == 1
    assert plans[0].steps_per_epoch(rows) == math.ceil(rows / (share * 8))


def test_the_config_means_its_reference_gpus() -> None:
    assert params(batch_size=2, gradient_accumulation_steps=16).global_batch(4) == 128


def test_total_batch_size_wins() -> None:
    assert params(batch_size=2, gradient_accumulation_steps=16, total_batch_size=48).global_batch(4) == 48
