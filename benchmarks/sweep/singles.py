"""`python -m benchmarks.sweep.singles FOLDER COUNT [pause]`: the jobs of COUNT experiments, each by its own `sbatch`.

This is what a loop over experiments costs with submitit alone: the same resources and the same dependencies, without
records. With `pause` one executor submits them all, as one would write it, and pauses 0.2 s between two jobs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from registry.schema import STAGES, Resources
from slurm.resources import slurm_parameters
from tests.quick_lab import HELD


def main() -> None:
    """Submit; the jobs wait for tomorrow, as those of the sweep."""
    import submitit

    folder, count, pause = Path(sys.argv[1]), int(sys.argv[2]), "pause" in sys.argv
    executor = submitit.SlurmExecutor(folder=folder)
    for _ in range(count):
        dependency = None
        for stage in STAGES:
            if not pause:
                executor = submitit.SlurmExecutor(folder=folder)
            resources = Resources.model_validate(HELD[stage])
            executor.update_parameters(**slurm_parameters(stage, resources, f"single.{stage}", dependency))
            dependency = f"afterok:{executor.submit(str, 'x').job_id}"


if __name__ == "__main__":
    main()
