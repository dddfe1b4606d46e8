"""Submit chains of stages: to Slurm in groups that share job arrays, or to a background process of this machine.

Each stage is claimed before its job is submitted, and its intent record names the submission's token, which the job
carries as its comment: so a submission that dies in between is found again (`slurm.adopt`). Nothing waits for a job.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from data.hub import resolve
from inference.trainable import check_trainable
from registry.effective import EffectiveConfig
from registry.errors import Meds1Error, MissingError, naming
from registry.job import Job, claim_all, record_ends
from registry.json_path import join
from registry.plan import Plan
from registry.provenance import process_start, user_name
from registry.reading import View
from registry.store import Registry
from registry.training_schema import TrainingParams
from slurm import sbatch
from slurm.cancel import scancel
from slurm.chains import Chain, Cluster, Group, Submitted, resources_of
from slurm.local import LocalChain, start
from slurm.rivals import losers
from slurm.shards import array_of, identity_of_shards, shards_of, token_of_shards

log = logging.getLogger("meds1")


@dataclass(frozen=True)
class Submission:
    """What all groups of one command share: the view they were planned with, the code to run, and the throttle."""

    registry: Registry
    view: View
    code: Path
    parallel: int | None = None


@dataclass(frozen=True)
class Outcome:
    """The jobs of one group, and the experiments that gave way to another command, which why."""

    submitted: tuple[Submitted, ...]
    left: dict[str, str]


def default_cluster() -> Cluster:
    """Slurm where sbatch exists, else background processes."""
    return "slurm" if shutil.which("sbatch") else "local"


def check_cluster(cluster: Cluster) -> None:
    """Refuse Slurm where there is none, before anything is claimed."""
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise MissingError("sbatch is not on this machine; log in to a Slurm login node, or use --cluster local")


class Presence:
    """Whether models and data sets are on this machine; each is looked for once."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def check(self, plans: Iterable[Plan]) -> None:
        """Refuse (`MissingError`) when a model or data set that a due stage needs is not here: jobs run offline.

        Also a model that is to be trained and cannot be (`inference.trainable`).
        """
        for plan in plans:
            for used in plan.config.used() if plan.action == "run" else ():
                key = (used.entry.model_dump_json(), used.kind)
                if plan.stage in used.stages and used.entry.is_data and key not in self._seen:
                    with naming(join(used.section, used.key)):
                        resolve(used.entry, used.kind, plan.experiment)
                    self._seen.add(key)
            if plan.action == "run" and plan.stage == "training" and plan.config.training is not None:
                self._check_trainable(plan.config, plan.config.training)

    def _check_trainable(self, config: EffectiveConfig, params: TrainingParams) -> None:
        length = params.max_length or config.model.max_length
        key = (config.model.model_dump_json(), str(length))
        if config.model.is_data and key not in self._seen:
            model = resolve(config.model, "model", config.experiment)
            with naming(config.experiment):
                check_trainable(model, length)
            self._seen.add(key)


def submit_group(submission: Submission, group: Group, calls: Sequence[sbatch.Call]) -> Outcome:
    """Submit a group to Slurm, stage after stage; `calls` are those of `calls_of`, found to be in order.

    Raises what sbatch refuses, and then nothing of the group stays in the queue. Where Slurm falls silent in between,
    the intents stay as they are: the next command finds out what became of them (`slurm.adopt`).
    """
    registry = submission.registry
    claimed, left = _claim(submission, group, calls)
    if left and claimed and group.follows_array:  # its elements would no longer be those of the array that it waits for
        why = "others of its array are being submitted by another command; submit it again"
        record_ends(registry, [job for jobs in claimed for job in jobs], "cancelled", why)
        return Outcome((), {**left, **{jobs[0].experiment: why for jobs in claimed}})
    done: list[Submitted] = []
    accepted: list[str] = []
    waits = group.dependency
    try:
        for number, call in enumerate(calls if claimed else ()):
            new = _submit_stage(registry, replace(call, dependency=waits), [own[number] for own in claimed], accepted)
            done += new
            waits = f"afterok:{new[0].id}" if len(new) == 1 else f"aftercorr:{array_of(new[0].id)}"
    except MissingError:
        raise
    except Meds1Error as error:
        if accepted:
            scancel(accepted)
        record_ends(registry, [job for jobs in claimed for job in jobs], "cancelled", str(error))
        raise
    return Outcome(tuple(done), left)


def _submit_stage(
    registry: Registry, call: sbatch.Call, jobs: Sequence[Job], accepted: list[str]
) -> Sequence[Submitted]:
    """Submit the jobs of one stage, after their shards where they have some; adds to `accepted` what Slurm takes."""
    array = None
    if call.shards is not None:
        shards = replace(call.shards, dependency=call.dependency)
        accepted += (elements := sbatch.submit(shards, registry.outputs.submission(shards.token), jobs))
        array = array_of(elements[0])
        call = replace(call, dependency=f"afterok:{array}")
    accepted += (ids := sbatch.submit(replace(call, count=len(jobs)), registry.outputs.submission(call.token), jobs))
    new = [Submitted(job, id_, array) for job, id_ in zip(jobs, ids, strict=True)]
    save_submitted(registry, new, {"cluster": "slurm", "token": call.token, "user": user_name()})
    return new


def submit_here(submission: Submission, chains: Sequence[Chain]) -> Outcome:
    """Start chains as background processes of this machine, all under one supervisor."""
    for chain in chains:
        say_unsharded(chain.plans)
    registry, token, began = submission.registry, new_token(), time.monotonic()
    plans = [plan for chain in chains for plan in chain.plans]
    jobs = iter(claim_all(registry, plans, submission.code, submitter(cluster="local", token=token)))
    claimed = [tuple(next(jobs) for _ in chain.plans) for chain in chains]
    kept, left = _without_losers(submission, claimed, began)
    after = {(chain.experiment, chain.stages[0]): chain.after.file for chain in chains if chain.after}
    lines = [LocalChain(own, after.get((own[0].experiment, own[0].stage))) for own in kept]
    folder = registry.outputs.submission(token)
    started = start(registry, lines, submission.parallel or 1, folder, submission.code) if lines else []
    return Outcome(tuple(started), left)


def calls_of(group: Group, code: Path, parallel: int | None) -> tuple[sbatch.Call, ...]:
    """The sbatch calls of a group, one for each stage; a later stage has yet to be told its parent's job."""
    count, plans = len(group.chains), group.chains[0].plans
    calls = (
        sbatch.Call(
            stage=plan.stage,
            resources=resources_of(plan),
            name=f"{plan.experiment}.{plan.stage}" if count == 1 else f"meds1.{plan.stage}",
            count=count,
            token=new_token(),
            code=code,
            parallel=parallel,
        )
        for plan in plans
    )
    return tuple(_with_shards(call, plan) for call, plan in zip(calls, plans, strict=True))


def _with_shards(call: sbatch.Call, plan: Plan) -> sbatch.Call:
    """The call after one of its shards, which do all that needs a GPU; the call as it is for one without."""
    shards, merge = shards_of(plan), plan.config.merge_resources
    if shards == 1 or merge is None:
        return call
    token = token_of_shards(call.token)
    array = replace(call, name=f"{call.name}.shards", count=shards, token=token, are_shards=True)
    return replace(call, resources=merge, shards=array)


def say_unsharded(plans: Iterable[Plan]) -> None:
    """Say of curations that are to be spread over jobs that they are not where no jobs of Slurm are submitted."""
    for plan in plans:
        if plan.action == "run" and shards_of(plan) > 1:
            said = "only `meds1 submit` to Slurm spreads the work; the result is the same"
            log.info("%s: curation.shards is %d: %s", plan.experiment, shards_of(plan), said)


def new_token() -> str:
    """What tells one submission from all others."""
    return uuid4().hex[:16]


def submitter(**more: Any) -> dict[str, Any]:
    """Who submits, and from where, so that anyone there can see whether this process still does."""
    pid = os.getpid()
    return {**more, "user": user_name(), "host": socket.gethostname(), "pid": pid, "start": process_start(pid)}


def save_submitted(registry: Registry, jobs: Iterable[Submitted], identity: dict[str, Any]) -> None:
    """Record the ids of jobs that are in the queue."""
    records = []
    for one in jobs:
        shards = {"shards": identity_of_shards(one.job, one.shards)} if one.shards else {}
        records.append(one.job.record("submitted", {"job": {**identity, "id": one.id, **shards}}))
    registry.save_all(records)


def _claim(
    submission: Submission, group: Group, calls: Sequence[sbatch.Call]
) -> tuple[list[tuple[Job, ...]], dict[str, str]]:
    """Claim every stage of the group; returns the jobs of each chain, and the experiments that gave way."""
    registry, began = submission.registry, time.monotonic()
    stages = [
        claim_all(
            registry,
            [chain.plans[number] for chain in group.chains],
            submission.code,
            # Each user may have a CACHE_DIR of his own.
            submitter(cluster="slurm", token=call.token, folder=str(registry.outputs.submission(call.token))),
        )
        for number, call in enumerate(calls)
    ]
    return _without_losers(submission, list(zip(*stages, strict=True)), began)


def _without_losers(
    submission: Submission, claimed: list[tuple[Job, ...]], began: float
) -> tuple[list[tuple[Job, ...]], dict[str, str]]:
    left = losers(submission.registry, submission.view, claimed, began)
    lost = [job for jobs in claimed if jobs[0].experiment in left for job in jobs]
    record_ends(submission.registry, lost, "cancelled", left)
    return [jobs for jobs in claimed if jobs[0].experiment not in left], left
