"""Batch arithmetic: pure functions of integers, so that it can be checked before any model is loaded.

The global batch (rows per optimizer step) belongs to the experiment; how it is spread over processes and
accumulation steps belongs to the machine and never changes the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from registry.errors import UsageError


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """`global_batch` = `per_device` x `accumulation` x `world_size`, in rows per optimizer step."""

    global_batch: int
    per_device: int
    accumulation: int
    world_size: int

    def steps_per_epoch(self, rows: int) -> int:
        """Optimizer steps of one pass over `rows` rows; the last batch is filled up, never dropped."""
        return math.ceil(rows / self.global_batch)

    def total_steps(self, rows: int, num_epochs: float) -> int:
        """Optimizer steps of the whole training, rounded up as transformers does for a fraction of an epoch."""
        return math.ceil(num_epochs * self.steps_per_epoch(rows))


def plan_batch(global_batch: int, per_device_limit: int, world_size: int) -> BatchPlan:
    """Spread `global_batch` over `world_size` processes, each holding at most `per_device_limit` rows at a time.

    The largest per-device size that divides a process's share is taken. Raises `UsageError` when the processes
    cannot share the batch equally.
    """
    if global_batch % world_size:
        raise UsageError(
            f"a global batch of {global_batch} rows cannot be shared by {world_size} processes; run on a number of "
            f"processes that divides {global_batch}, or set training_params.total_batch_size"
        )
    share = global_batch // world_size
    per_device = max(size for size in range(1, min(per_device_limit, share) + 1) if share % size == 0)
    return BatchPlan(global_batch, per_device, share // per_device, world_size)
