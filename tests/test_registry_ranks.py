"""Which rank a process is: torchrun's word, else a Slurm step's, else one process."""

import pytest

from registry.errors import UsageError
from registry.ranks import ranks

STEP = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8"}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, (0, 1)),
        (STEP, (5, 8)),
        ({"RANK": "3", "WORLD_SIZE": "4"}, (3, 4)),
        ({**STEP, "RANK": "3", "WORLD_SIZE": "4"}, (3, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (0, 1)),  # the batch script
        ({"WORLD_SIZE": "4"}, (0, 1)),  # of a launcher that is not torchrun
    ],
)
def test_the_rank_and_the_number_of_processes(environment: dict[str, str], place: tuple[int, int]) -> None:
    assert ranks(environment) == place


def test_a_rank_outside_the_world_is_refused() -> None:
    with pytest.raises(UsageError, match="rank 8 of 8"):
        ranks({**STEP, "SLURM_PROCID": "8"})
