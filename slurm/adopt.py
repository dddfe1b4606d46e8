"""What became of submissions whose command died between its intent records and the record of its jobs' ids.

The token in the intent is the comment of the job: a job that is in the queue is adopted, so that it is not submitted
twice. What is neither in the queue nor still being submitted has never been.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.errors import MissingError, listed
from registry.history import Header
from registry.job import Job, load_job
from registry.paths import JOB_FILE
from registry.reading import View
from registry.schema import STAGES, Stage
from registry.status import being_submitted
from registry.store import Registry
from slurm.asking import Queue, ask_queue
from slurm.cancel import scancel
from slurm.queue import JobInfo, jobs_of
from slurm.submit import Submitted, save_submitted


@dataclass(frozen=True)
class Orphan:
    """An attempt that may or may not have been submitted to Slurm: only its intent is recorded."""

    experiment: str
    stage: Stage
    intent: Header


def settle(registry: Registry, view: View, names: Iterable[str]) -> tuple[View, Queue]:
    """Ask Slurm about the attempts of these experiments and adopt their orphans; returns the view after that.

    `MissingError` when there are orphans and Slurm cannot be asked: they might be submitted twice.
    """
    selected = list(names)
    found = _orphans(view, selected)
    queue = ask_queue(view, selected, {str(orphan.intent.job.get("user")) for orphan in found})
    if found and queue.silent:
        whose = listed(sorted({orphan.experiment for orphan in found}))
        raise MissingError(
            f"{whose}: an interrupted submission may be in the queue, but {queue.silent}; try again later"
        )
    _adopt(registry, found, queue.jobs)
    return registry.read(), queue  # what has ended since the queue was asked has left its record by now


def _orphans(view: View, names: Iterable[str]) -> list[Orphan]:
    return [
        Orphan(name, stage, intent)
        for name in names
        for stage in STAGES
        for intent in being_submitted(view.state.headers(name, stage))
        if intent.job.get("cluster") == "slurm"
    ]


def _adopt(registry: Registry, found: Sequence[Orphan], jobs: Mapping[str, JobInfo]) -> None:
    """Record the job ids of the orphans that are in the queue; a job that lacks its input is cancelled.

    A command that is at work just now will do the same: to say it twice does no harm.
    """
    by_token = jobs_of(jobs, {str(orphan.intent.job["token"]) for orphan in found})
    for token, infos in by_token.items():
        own = [orphan for orphan in found if orphan.intent.job["token"] == token]
        arrived = [(info, _input(registry.outputs.submission(token), info)) for info in infos]
        new = [Submitted(job, info.id) for info, job in arrived if job and any(_is(orphan, job) for orphan in own)]
        save_submitted(registry, new, {"cluster": "slurm", "token": token, "user": own[0].intent.job.get("user")})
        lost = [info.id for info, job in arrived if job is None and info.in_queue]
        if lost:
            scancel(lost)


def _input(submission: Path, info: JobInfo) -> Job | None:
    index = info.id.partition("_")[2] or "0"
    try:
        return load_job((submission / index / JOB_FILE).resolve())
    except MissingError:
        return None


def _is(orphan: Orphan, job: Job) -> bool:
    return (orphan.experiment, orphan.stage, orphan.intent.attempt) == (job.experiment, job.stage, job.attempt)
