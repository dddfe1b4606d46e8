"""What becomes of a Slurm job whose stage has stopped: it goes back into the queue, or a record says why not.

Why a job is told to stop, Slurm alone knows (measured on 22.05): a preempted job is RUNNING and has a PreemptTime; one
that `scancel` or a time limit ends is COMPLETING, the latter with the reason TimeLimit; one that somebody, Slurm
included, has requeued has a higher restart count at once.
"""

from __future__ import annotations

import logging
import re
import subprocess
import time
from dataclasses import dataclass
from typing import NoReturn

from registry.attempt import uninterrupted
from registry.effective import EffectiveConfig
from registry.errors import MissingError, StageFailure, StageStopped
from registry.job import Job
from registry.provenance import restart_count, slurm_job_id
from registry.runner import End, record_end
from registry.stopping import USER_SIGNALS

log = logging.getLogger("meds1")
OUT_OF_TIME = 0  # in place of a signal: the stage's own time budget
_TRIES, _PAUSE_SECONDS = 3, 5.0  # a slurmctld that is restarted is back within seconds; the grace period is short
_ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Standing:
    """What Slurm says of a running job."""

    state: str
    restarts: int
    reason: str
    preempted: bool


def too_often(job: Job) -> bool:
    """Whether this restart is beyond the limit: Slurm makes such by itself, after a preemption or a lost node."""
    return restart_count() > _limit(job)


def refuse(job: Job) -> NoReturn:
    """Record, and say (`StageFailure`), that a restart is beyond the limit."""
    raise _ended(job, "failed", f"{job.experiment}: {job.stage} was not started again: {_too_often(job)}")


def come_back(job: Job, stopped: StageStopped) -> None:
    """Requeue the job of a stage that has stopped; `StageFailure` with a record of why when it does not come back.

    Called by one process, when no rank has anything left to do.
    """
    try:
        standing = _standing()
    except MissingError as silent:
        raise _ended(job, "failed", f"{stopped}; Slurm does not say why: {silent}") from None
    if standing.restarts > restart_count():
        log.info("%s: %s: Slurm has put the job back into the queue by itself", job.experiment, job.stage)
        return
    timed_out = standing.reason == "TimeLimit"
    if standing.state != "RUNNING" and not timed_out:
        raise _ended(job, "cancelled", f"{stopped}; the job was cancelled")
    if not (timed_out or standing.preempted or stopped.signal_number in (OUT_OF_TIME, *USER_SIGNALS)):
        raise _ended(job, "failed", f"{stopped}, but Slurm neither preempts nor ends the job: a process of it was lost")
    if restart_count() >= _limit(job):
        raise _ended(job, "failed", f"{stopped}; {_too_often(job)}")
    _requeue(job, stopped)


def _requeue(job: Job, stopped: StageStopped) -> None:
    said = ""
    for trial in range(_TRIES):
        if trial:
            time.sleep(_PAUSE_SECONDS)
        done = _scontrol("requeue", _own_id())
        said = " ".join((done.stderr or done.stdout).split())
        if done.returncode == 0 or _came_back():
            log.info("%s: %s: back in the queue (restart %d)", job.experiment, job.stage, restart_count() + 1)
            return
    raise _ended(job, "failed", f"{stopped}; it could not be requeued: {said}")


def _came_back() -> bool:
    """Whether Slurm was quicker."""
    try:
        return _standing().restarts > restart_count()
    except MissingError:
        return False


def _standing() -> Standing:
    done = _scontrol("show", "job", "--oneliner", _own_id())
    fields = dict(re.findall(r"(\w+)=(\S*)", done.stdout))
    if done.returncode != 0 or "JobState" not in fields:
        raise MissingError(" ".join(done.stderr.split()) or "scontrol gives no answer")
    return Standing(
        state=fields["JobState"],
        restarts=int(fields["Restarts"]),
        reason=fields["Reason"],
        preempted=fields.get("PreemptTime", "None") != "None",
    )


def _scontrol(*words: str) -> subprocess.CompletedProcess[str]:
    """Ask, with a child that ignores the signals which Slurm goes on sending to every process of the step."""
    command = ["scontrol", *words]
    try:
        with uninterrupted():
            return subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _own_id() -> str:
    # By the raw id of an array's last element Slurm would find the whole array.
    own = slurm_job_id()
    assert own is not None, "this is no Slurm job"
    return own


def _limit(job: Job) -> int:
    resources = EffectiveConfig.model_validate(job.config).slurm
    return int(getattr(resources, job.stage).max_requeues)


def _too_often(job: Job) -> str:
    return f"it has come back as often as it may (slurm.{job.stage}.max_requeues is {_limit(job)})"


def _ended(job: Job, event: End, why: str) -> StageFailure:
    """Record how the attempt ended, and return the error to leave with."""
    said = f"{why}; go on from there with `meds1 submit {job.experiment} --stage {job.stage}`"
    with uninterrupted():
        record_end(job, event, said)
    return StageFailure(said)
