"""Submit the due stages of experiments: to Slurm with dependencies, or to background processes of this machine.

A stage is claimed, then handed to submitit, one after the other; nothing waits for a job. What is fresh is left out.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.hub import resolve
from registry.errors import MissingError, UsageError
from registry.job import claim
from registry.plan import Plan
from registry.provenance import process_start, user_name
from registry.runner import reuse
from registry.schema import Stage
from registry.store import Registry
from slurm.local import to_background
from slurm.sbatch import to_slurm

Cluster = Literal["slurm", "local"]


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
            job_id = to_slurm(job, plan, after.id if after else None)
        else:
            job_id = to_background(job, after.file if after else None)
            identity.update(host=socket.gethostname(), pid=int(job_id), start=process_start(int(job_id)))
        job.save(registry, "submitted", {"job": {**identity, "id": job_id}})
        parents[plan.fingerprint] = Parent(job_id, cluster, job.file)
        yield Submission(plan.stage, job.attempt, job_id, job.folder)
