"""What Slurm said of the attempts in flight, and of which of their records: an answer judges nothing newer.

`ask_queue` asks now; `recent_queue` takes an answer that somebody else got a few seconds ago, if there is one.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry.durable import write_durably
from registry.errors import MissingError
from registry.history import Header
from registry.plan import gone_from_here
from registry.provenance import slurm_job_id, user_name
from registry.reading import View
from registry.schema import STAGES
from registry.status import all_in_flight
from registry.store import Registry
from slurm.queue import JobInfo, ask_slurm
from slurm.shards import ShardsInfo, token_of_shards

SHARED_SECONDS = 10.0


@dataclass(frozen=True)
class Queue:
    """Slurm's answer: `jobs` by id, and the ids of the records that were asked about (`asked`), by whom and when.

    `silent` says why there was none; `taken` is then the time of the last good one, if that is known. A `shared` one
    was got a little earlier, perhaps by somebody else.
    """

    jobs: Mapping[str, JobInfo]
    asked: frozenset[str]
    asker: str
    taken: float | None
    silent: str | None = None
    shared: bool = False

    def is_gone(self, header: Header) -> bool:
        """Whether an attempt in flight has surely ended without a record."""
        if header.job.get("cluster") != "slurm" or header.job.get("id") == slurm_job_id():
            return gone_from_here(header)
        if self.silent or header.id not in self.asked or self.hides(header):
            return False
        job = self.job(header)
        return job is None or not job.in_queue

    def hides(self, header: Header) -> bool:
        """Whether Slurm says nothing of a job that may be there: many clusters show a user only his own jobs."""
        return self.job(header) is None and header.job.get("user") not in (None, self.asker)

    def job(self, header: Header) -> JobInfo | None:
        """What Slurm says of an attempt's job, if anything: a cluster that was set up anew gives ids out again."""
        found, who = self.jobs.get(str(header.job.get("id"))), header.job
        return found if found and found.may_be(who.get("user"), who.get("token")) else None

    def shards(self, header: Header) -> ShardsInfo | None:
        """What Slurm says of the shards of an attempt that has not started, if it has any."""
        who, shards = header.job, header.job.get("shards")
        if shards is None:
            return None
        every = (self.jobs.get(job) for job in _elements(shards))
        token = token_of_shards(str(who.get("token")))
        known = [job for job in every if job is not None and job.may_be(who.get("user"), token)]
        return ShardsInfo(shards["id"], shards["count"], known)


def _elements(shards: Mapping[str, Any]) -> list[str]:
    return [f"{shards['id']}_{index}" for index in range(shards["count"])]


def ask_queue(view: View, names: Iterable[str], users: Iterable[str] = ()) -> Queue:
    """Ask Slurm now about every job of these experiments that is in flight, and about all jobs of `users`."""
    return _asked(_flying(view, names), users)


def recent_queue(registry: Registry, view: View) -> Queue:
    """An answer about all attempts of the registry, some seconds old when one is there: many people watch one queue."""
    flying = _flying(view, view.state.history)
    if not flying:
        return _asked(flying)
    shared = _load(registry.paths.queue)
    if shared is not None and _is_fresh(shared) and not any(_is_mine_and_hidden(shared, header) for header in flying):
        return shared
    answer = _asked(flying)
    if answer.silent:
        return replace(answer, asked=shared.asked, taken=shared.taken) if shared is not None else answer
    with contextlib.suppress(OSError):  # a registry that one can only read: everybody asks for himself
        elements = {job for header in flying if "shards" in header.job for job in _elements(header.job["shards"])}
        ids = {str(header.job["id"]) for header in flying} | elements
        write_durably(registry.paths.queue, _dump(answer, ids))
    return answer


def forget_queue(registry: Registry) -> None:
    """Let the next `recent_queue` ask anew: the queue has just been changed."""
    with contextlib.suppress(OSError):  # then the shared answer lasts its few seconds
        registry.paths.queue.unlink(missing_ok=True)


def _flying(view: View, names: Iterable[str]) -> list[Header]:
    every = (header for name in names for stage in STAGES for header in all_in_flight(view.state.headers(name, stage)))
    return [header for header in every if header.job.get("cluster") == "slurm"]


def _asked(flying: list[Header], users: Iterable[str] = ()) -> Queue:
    wanted = {str(header.job["id"]): header.job.get("user") for header in flying}
    asked, asker = frozenset(header.id for header in flying), user_name()
    before = time.time()
    try:
        return Queue(ask_slurm(wanted, users), asked, asker, before)
    except MissingError as error:
        return Queue({}, asked, asker, None, str(error))


def _is_fresh(answer: Queue) -> bool:
    return answer.taken is not None and 0 <= time.time() - answer.taken < SHARED_SECONDS


def _is_mine_and_hidden(answer: Queue, header: Header) -> bool:
    """Whether this user may be shown more than the one who asked."""
    return header.job.get("user") == user_name() and header.id in answer.asked and answer.hides(header)


def _dump(answer: Queue, ids: set[str]) -> bytes:
    """The answer about these jobs; its users may have thousands of others in the queue."""
    body = {
        "asker": answer.asker,
        "taken": answer.taken,
        "asked": sorted(answer.asked),
        "jobs": [list(vars(job).values()) for job in answer.jobs.values() if job.id in ids],
    }
    return (json.dumps(body) + "\n").encode()


def _load(path: Path) -> Queue | None:
    """The shared answer, or null: what cannot be read, or was written by another version, is asked anew."""
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
        jobs = [JobInfo(*values) for values in body["jobs"]]
        return Queue(
            {job.id: job for job in jobs}, frozenset(body["asked"]), body["asker"], float(body["taken"]), shared=True
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
