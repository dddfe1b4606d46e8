"""`python -m slurm.entry PLACE`: what every task of a Slurm job runs. PLACE: a submission's folder, or a `job.json`.

An array of shards has one attempt for all its elements: the folder then holds a link to that one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from registry.errors import Meds1Error
from registry.paths import JOB_FILE
from slurm.job import run_in_slurm
from slurm.shards import ATTEMPT


def main() -> None:
    """Run this array element's attempt, or the only one; exits with the project's codes."""
    place, index = Path(sys.argv[1]), os.environ.get("SLURM_ARRAY_TASK_ID", "0")
    shard = int(index) if (place / ATTEMPT).exists() else None
    file = place if place.is_file() else Path(place, index if shard is None else ATTEMPT, JOB_FILE).resolve()
    try:
        run_in_slurm(str(file), shard)
    except Meds1Error as error:
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
