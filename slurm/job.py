"""What runs inside a job that submitit started: one claimed attempt, on every task of the job.

submitit's own signal handlers are replaced. Before a time limit or a preemption Slurm sends USR2: the stage stops, its
run directory keeps what is done, and the job goes back into the queue. TERM (`scancel`) stops it for good.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from registry.console import speak
from registry.errors import Meds1Error, StageStopped
from registry.job import has_completed, load_job
from registry.provenance import slurm_job_id
from registry.runner import ranks, run_job
from registry.secrets import masked

log = logging.getLogger("meds1")


def run_in_slurm(job_file: str) -> None:
    """Run a claimed attempt as one task of a Slurm job."""
    speak()

    def stop(number: int, frame: FrameType | None) -> None:
        raise StageStopped(f"stopped by {signal.Signals(number).name}", number)

    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, stop)
    job = load_job(Path(job_file))
    if has_completed(job):  # requeued by Slurm all the same: a run that failed now would stand for the result
        log.info("%s: %s: attempt %d has completed already", job.experiment, job.stage, job.attempt)
        return
    try:
        run_job(job)
    except StageStopped as stopped:
        log.info("%s: %s: %s", job.experiment, job.stage, stopped)
        if has_completed(job):
            return
        if ranks()[0] == 0 and stopped.signal_number == signal.SIGUSR2:
            subprocess.run(["scontrol", "requeue", str(slurm_job_id())], check=True)
        sys.exit(stopped.exit_code)
    except Meds1Error as error:
        print(masked(str(error)), file=sys.stderr)
        raise
