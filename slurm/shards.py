"""A curation in shards: an array of jobs that warms the shared caches, and after it the attempt's own job.

The array is a submission of its own, whose token and folder are named after the attempt's. Of the attempt's records
only `submitted` knows it, as `job.shards`: the array's id and how many elements it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.errors import counted
from registry.job import Job
from registry.plan import Plan
from slurm.queue import JobInfo

ATTEMPT = "attempt"  # the link to the attempt's folder in that of its shards' submission


@dataclass(frozen=True)
class ShardsInfo:
    """What Slurm says of the shards that an attempt in flight waits for: those of `count` that it still knows."""

    id: str
    count: int
    known: Sequence[JobInfo]

    @property
    def running(self) -> bool:
        """Whether a shard is at work."""
        return any(job.running for job in self.known)

    @property
    def pending(self) -> JobInfo | None:
        """The first shard that waits to start, if any."""
        return next((job for job in self.known if job.pending), None)

    @property
    def in_queue(self) -> bool:
        """Whether a shard waits or runs."""
        return self.running or self.pending is not None

    @property
    def progress(self) -> str:
        """How far they are, in words."""
        left = sum(job.in_queue for job in self.known)
        return f"{self.count - left} of {counted(self.count, 'shard')} done (job {self.id})"

    @property
    def lost(self) -> JobInfo | None:
        """One that has ended without success, if Slurm remembers it; one that was not merely cancelled comes first."""
        ended = [job for job in self.known if not job.in_queue and job.word != "COMPLETED"]
        return min(ended, key=lambda job: job.word == "CANCELLED", default=None)


def shards_of(plan: Plan) -> int:
    """Over how many jobs a stage is to be spread where it is submitted to Slurm; 1: not at all."""
    curation = plan.config.curation if plan.stage == "curation" else None
    return 1 if curation is None else curation.shards


def array_of(element: str) -> str:
    """The id of the array that an element belongs to."""
    return element.partition("_")[0]


def token_of_shards(token: str) -> str:
    """The token of the array that comes before the job of a submission with this token."""
    return f"{token}-shards"


def identity_of_shards(job: Job, array: str) -> Mapping[str, Any]:
    """What the `submitted` record of an attempt says of its shards."""
    return {"id": array, "count": job.shards}
