"""What became of submissions whose command died between its intent records and the record of its jobs' ids.

The token in the intent is the comment of the job: a job that is in the queue is adopted, so that it is not submitted
twice. What is neither in the queue nor still being submitted has never been; after a day a record says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from registry.errors import MissingError, listed
from registry.history import Header
from registry.job import Job, load_job, record_ends
from registry.paths import JOB_FILE, is_here, job_file
from registry.plan import is_abandoned
from registry.provenance import user_name
from registry.reading import View
from registry.schema import STAGES, Stage
from registry.status import being_submitted
from registry.store import Registry
from slurm.asking import Queue, ask_queue
from slurm.cancel import scancel
from slurm.chains import Submitted
from slurm.queue import JobInfo, jobs_of
from slurm.shards import array_of, token_of_shards
from slurm.submit import save_submitted

_LONG = timedelta(days=1)


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
    tokens = {str(orphan.intent.job["token"]) for orphan in found}
    by_token = jobs_of(queue.jobs, tokens | {token_of_shards(token) for token in tokens})
    _adopt(registry, found, by_token)
    _take_back(found, by_token)
    _close(registry, [orphan for orphan in found if not by_token[orphan.intent.job["token"]]])
    return registry.read(), queue  # what has ended since the queue was asked has left its record by now


def _orphans(view: View, names: Iterable[str]) -> list[Orphan]:
    return [
        Orphan(name, stage, intent)
        for name in names
        for stage in STAGES
        for intent in being_submitted(view.state.headers(name, stage))
        if intent.job.get("cluster") == "slurm"
    ]


def _adopt(registry: Registry, found: Sequence[Orphan], by_token: Mapping[str, Sequence[JobInfo]]) -> None:
    """Record the job ids of the orphans that are in the queue; a job that lacks its input is cancelled.

    A command that is at work just now will do the same: to say it twice does no harm.
    """
    for token in {str(orphan.intent.job["token"]) for orphan in found}:
        infos, shards = by_token[token], by_token[token_of_shards(token)]
        if not infos:
            continue
        array = array_of(shards[0].id) if shards else None
        own = [orphan for orphan in found if orphan.intent.job["token"] == token]
        submission = Path(own[0].intent.job["folder"])
        arrived = [(info, _input(submission, info)) for info in infos]
        mine = [(info, job) for info, job in arrived if job and any(_is(orphan, job) for orphan in own)]
        new = [Submitted(job, info.id, array) for info, job in mine]
        save_submitted(registry, new, {"cluster": "slurm", "token": token, "user": own[0].intent.job.get("user")})
        lost = [info.id for info, job in arrived if job is None and info.in_queue]
        if lost:
            scancel(lost)


def _take_back(found: Sequence[Orphan], by_token: Mapping[str, Sequence[JobInfo]]) -> None:
    """Cancel the shards of attempts whose own job, which comes after them, never came into the queue."""
    for orphan in found:
        token = str(orphan.intent.job["token"])
        shards = [info for info in by_token[token_of_shards(token)] if info.in_queue]
        if shards and not by_token[token] and is_abandoned(orphan.intent):
            scancel(info.id for info in shards)


def _close(registry: Registry, orphans: Sequence[Orphan]) -> None:
    """Record of attempts that never came into the queue that they have ended: else Slurm is asked about them for ever.

    Only the user's own, whose jobs squeue surely shows, and only a day after the command died: until then a job may
    still come.
    """
    mine = [orphan.intent for orphan in orphans if orphan.intent.job.get("user") == user_name()]
    jobs = []
    for intent in mine:
        if is_abandoned(intent, _LONG):
            with suppress(MissingError):  # collected
                jobs.append(load_job(job_file(Path(intent.run_dir), intent.attempt)))
    record_ends(registry, jobs, "cancelled", "its submission was interrupted, and no job came of it; submit it again")


def _input(submission: Path, info: JobInfo) -> Job | None:
    if not is_here(submission.parent):
        raise MissingError(
            f"job {info.id} of an interrupted submission: {submission} is not here; do this where it is mounted"
        )
    index = info.id.partition("_")[2] or "0"
    try:
        return load_job((submission / index / JOB_FILE).resolve())
    except MissingError:
        return None


def _is(orphan: Orphan, job: Job) -> bool:
    return (orphan.experiment, orphan.stage, orphan.intent.attempt) == (job.experiment, job.stage, job.attempt)
