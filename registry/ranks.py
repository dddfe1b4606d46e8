"""Which process of how many this is: from torchrun's or a Slurm step's environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from registry.errors import UsageError


def ranks(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """(rank, number of processes); `UsageError` for a rank that cannot be.

    torchrun's word wins over the step's that it runs in. Slurm's counts only inside a step (`srun`): the batch script
    sees the allocation's task count but is a single process.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        rank, world_size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    elif "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        rank, world_size = int(environment["SLURM_PROCID"]), int(environment["SLURM_STEP_NUM_TASKS"])
    else:
        rank, world_size = 0, 1
    if not 0 <= rank < world_size:
        raise UsageError(f"rank {rank} of {world_size} processes cannot be; check the launcher")
    return rank, world_size
