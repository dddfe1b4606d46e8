"""What runs inside a Slurm job: one claimed attempt, on every task of the job, or one shard of an attempt.

A stage that is told to stop keeps what is done in its run directory; then rank 0 alone settles what becomes of the job
(`slurm.requeue`). The other ranks end as if all were well, because srun ends a whole step with the first task that does
not.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from registry.console import speak
from registry.errors import Meds1Error, MissingError, StageFailure, StageStopped
from registry.job import Job, has_completed, last_word, load_job
from registry.provenance import slurm_job_id
from registry.ranks import ranks
from registry.runner import run_job, run_shard
from registry.secrets import masked
from registry.stopping import StopFlag, listen
from slurm.cancel import scancel
from slurm.requeue import come_back, refuse, too_often

log = logging.getLogger("meds1")


def run_in_slurm(job_file: str, shard: int | None = None) -> None:
    """Run a claimed attempt as one task of a Slurm job, or one shard of it."""
    stop = StopFlag()
    listen(stop)  # to the very end: a signal that comes when all is done is to do nothing
    speak()
    try:
        job = replace(load_job(Path(job_file)), shard=shard)
        code = _run(job, stop) if shard is None else _run_shard(job, stop)
    except Meds1Error as error:
        print(masked(str(error)), file=sys.stderr)
        raise
    sys.exit(code)


def _run_shard(job: Job, stop: StopFlag) -> int:
    """Run a shard; without it the attempt cannot succeed, so the others end with the first that does not."""
    with ExitStack() as lost:
        lost.callback(_end_the_others, job)
        word = last_word(job.open(), job)
        if word is not None:
            raise StageFailure(f"{job.experiment}: {job.stage}: attempt {job.attempt} has {word['status']} already")
        code = _run(job, stop)
        lost.pop_all()
        return code


def _end_the_others(job: Job) -> None:
    word = last_word(job.open(), job)
    if word is not None and word.get("job", {}).get("id") != slurm_job_id():
        return  # whoever has said so sees to them
    array = os.environ["SLURM_ARRAY_JOB_ID"]
    log.info("%s: %s: ends the other shards (job %s); what they have done is kept", job.experiment, job.stage, array)
    try:
        scancel(f"{array}_{index}" for index in range(job.shards) if index != job.shard)
    except MissingError as silent:
        log.warning("%s: the other shards go on: %s", job.experiment, silent)


def _run(job: Job, stop: StopFlag) -> int:
    """Run it; returns the exit code of a job that has done its work, or comes back."""
    first = ranks()[0] == 0
    if has_completed(job):  # requeued by Slurm all the same: a run that failed now would stand for the result
        log.info("%s: %s: attempt %d has completed already", job.experiment, job.stage, job.attempt)
        return 0
    if too_often(job):
        if first:
            refuse(job)
        return 0
    try:
        if job.shard is None:
            run_job(job, stop)
        else:
            run_shard(job, stop)
    except StageStopped as stopped:
        log.info("%s: %s: %s", job.experiment, job.stage, stopped)
        if not first or has_completed(job):
            return 0
        come_back(job, stopped)
        return stopped.exit_code
    return 0
