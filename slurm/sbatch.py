"""Hand stages to Slurm through submitit: the sbatch script of a stage, and its submission."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from registry.errors import MissingError, UsageError
from registry.job import Job
from registry.plan import Plan
from slurm.job import run_in_slurm
from slurm.launch import python_path_line
from slurm.resources import slurm_parameters

_NO_ANSWER = re.compile(r"configuration source|contact slurm|connect|timed out|communication", re.IGNORECASE)


def sbatch_script(plan: Plan) -> str:
    """The script that `submit` would hand to sbatch for this stage, as submitit writes it."""
    from submitit.slurm.slurm import _make_sbatch_string

    folder = plan.run_dir / "attempts" / "N" if plan.run_dir else Path("N")
    command = shlex.join([sys.executable, "-u", "-m", "submitit.core._submit", str(folder)])
    return _make_sbatch_string(command=command, folder=folder, setup=_setup(), **_parameters(plan, None))


def _parameters(plan: Plan, after: str | None) -> dict[str, object]:
    resources = getattr(plan.config.slurm, plan.stage)
    return slurm_parameters(plan.stage, resources, f"{plan.experiment}.{plan.stage}", after)


def _setup() -> list[str]:
    # Since Slurm 22.05 srun no longer reads the job's CPUs per task by itself.
    cpus = 'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"'
    return [python_path_line(), "export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1", cpus]


def to_slurm(job: Job, plan: Plan, after: str | None) -> str:
    """Submit one claimed stage, to start when the job `after` has succeeded; returns its job id."""
    import submitit

    executor = submitit.SlurmExecutor(folder=job.folder)
    executor.update_parameters(setup=_setup(), **_parameters(plan, after))
    try:
        return str(executor.submit(run_in_slurm, str(job.file)).job_id)
    except submitit.core.utils.FailedJobError as error:
        said = " ".join(str(error).split())
        if _NO_ANSWER.search(said):
            raise MissingError(f"{job.experiment}: {job.stage}: Slurm does not answer: {said}") from None
        raise UsageError(f"{job.experiment}: sbatch refused {job.stage}: {said}") from None
