"""Submit the due stages of experiments: to Slurm with dependencies, or to background processes of this machine.

A stage is claimed, then handed to submitit, one after the other; nothing waits for a job. What is fresh is left out.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.hub import resolve
from registry.errors import MissingError, UsageError
from registry.job import Job, claim
from registry.plan import Plan
from registry.provenance import process_start, user_name
from registry.runner import reuse
from registry.schema import Stage
from registry.store import Registry
from slurm.job import run_in_background, run_in_slurm
from slurm.launch import environment, python_path_line
from slurm.resources import slurm_parameters

Cluster = Literal["slurm", "local"]

_NO_ANSWER = re.compile(r"configuration source|contact slurm|connect|timed out|communication", re.IGNORECASE)
_LOCAL_TIMEOUT_MIN = 60 * 24 * 30


@dataclass(frozen=True)
class Submission:
    """One submitted stage."""

    stage: Stage
    attempt: int
    id: str
    logs: Path


@dataclass(frozen=True)
class Parent:
    """An attempt in flight that a child has to wait for: its job's id, and its `job.json`."""

    id: str
    cluster: str
    file: Path


def default_cluster() -> Cluster:
    """Slurm where sbatch exists, else background processes."""
    return "slurm" if shutil.which("sbatch") else "local"


def check_cluster(cluster: Cluster) -> None:
    """Refuse Slurm where there is none, before anything is claimed."""
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise MissingError("sbatch is not on this machine; log in to a Slurm login node, or use --cluster local")


def check_present(plans: list[Plan]) -> None:
    """Refuse (`MissingError`) when a model or data set that a due stage needs is not here: jobs run offline."""
    for plan in plans:
        if plan.action != "run":
            continue
        config = plan.config
        resolve(config.model, "model", plan.experiment)
        if plan.stage == "curation" and config.train_dataset is not None:
            resolve(config.train_dataset, "dataset", plan.experiment)
            if config.difficulty_model is not None:
                resolve(config.difficulty_model, "model", plan.experiment)
        if plan.stage == "eval":
            for entry in config.eval_datasets.values():
                resolve(entry, "dataset", plan.experiment)


def submit(
    registry: Registry, plans: list[Plan], cluster: Cluster, flying: Mapping[str, Parent]
) -> Iterator[Submission]:
    """Submit one experiment's plans in order, and yield each as soon as it is in the queue.

    `flying` are the attempts, by fingerprint, that an earlier submission left in flight.
    """
    parents = dict(flying)
    for plan in plans:
        if plan.action == "reuse":
            reuse(registry, plan)
        if plan.action != "run":
            continue
        upstream = (plan.inputs or {}).get("upstream") or {}
        after = parents.get(upstream.get("fingerprint", ""))
        if after is not None and after.cluster != cluster:
            raise UsageError(
                f"{plan.experiment}: {plan.stage} would have to wait for {upstream['stage']}, which runs as job "
                f"{after.id} ({after.cluster}); submit it again when that has ended"
            )
        job = claim(registry, plan)
        identity: dict[str, object] = {"cluster": cluster, "user": user_name()}
        if cluster == "slurm":
            job_id = _to_slurm(job, plan, after)
        else:
            job_id = _to_background(job, after)
            identity.update(host=socket.gethostname(), pid=int(job_id), start=process_start(int(job_id)))
        job.save(registry, "submitted", {"job": {**identity, "id": job_id}})
        parents[plan.fingerprint] = Parent(job_id, cluster, job.file)
        yield Submission(plan.stage, job.attempt, job_id, job.folder)


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


def _to_slurm(job: Job, plan: Plan, after: Parent | None) -> str:
    import submitit

    executor = submitit.SlurmExecutor(folder=job.folder)
    executor.update_parameters(setup=_setup(), **_parameters(plan, after.id if after else None))
    try:
        return str(executor.submit(run_in_slurm, str(job.file)).job_id)
    except submitit.core.utils.FailedJobError as error:
        said = " ".join(str(error).split())
        if _NO_ANSWER.search(said):
            raise MissingError(f"{job.experiment}: {job.stage}: Slurm does not answer: {said}") from None
        raise UsageError(f"{job.experiment}: sbatch refused {job.stage}: {said}") from None


def _to_background(job: Job, parent: Parent | None) -> str:
    import submitit

    os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    executor = submitit.LocalExecutor(folder=job.folder)
    # submitit hides every GPU from a background job that asks for none.
    seen = "unset CUDA_VISIBLE_DEVICES" if visible is None else f"export CUDA_VISIBLE_DEVICES={shlex.quote(visible)}"
    executor.update_parameters(timeout_min=_LOCAL_TIMEOUT_MIN, setup=[seen])
    return str(executor.submit(run_in_background, str(job.file), str(parent.file) if parent else None).job_id)
