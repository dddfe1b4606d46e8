"""What runs inside a Slurm job: one claimed attempt, on every task of the job.

A stage that is told to stop keeps what is done in its run directory; then rank 0 alone settles what becomes of the job
(`slurm.requeue`). The other ranks end as if all were well, because srun ends a whole step with the first task that does
not.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from registry.console import speak
from registry.errors import Meds1Error, StageStopped
from registry.job import Job, has_completed, load_job
from registry.ranks import ranks
from registry.runner import run_job
from registry.secrets import masked
from registry.stopping import StopFlag, listen
from slurm.requeue import come_back, refuse, too_often

log = logging.getLogger("meds1")


def run_in_slurm(job_file: str) -> None:
    """Run a claimed attempt as one task of a Slurm job."""
    stop = StopFlag()
    listen(stop)  # to the very end: a signal that comes when all is done is to do nothing
    speak()
    try:
        _run(load_job(Path(job_file)), stop)
    except Meds1Error as error:
        print(masked(str(error)), file=sys.stderr)
        raise


def _run(job: Job, stop: StopFlag) -> None:
    first = ranks()[0] == 0
    if has_completed(job):  # requeued by Slurm all the same: a run that failed now would stand for the result
        log.info("%s: %s: attempt %d has completed already", job.experiment, job.stage, job.attempt)
        return
    if too_often(job):
        if first:
            refuse(job)
        return
    try:
        run_job(job, stop)
    except StageStopped as stopped:
        log.info("%s: %s: %s", job.experiment, job.stage, stopped)
        if not first or has_completed(job):
            return
        come_back(job, stopped)
        sys.exit(stopped.exit_code)
