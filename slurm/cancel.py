"""End attempts in flight: Slurm's by one `scancel`, those of this machine by a signal.

Nothing is waited for. An attempt that runs records its own end; for one that had not started nobody else would.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from registry.attempt import fold_or_warn
from registry.errors import MissingError
from registry.history import Header
from registry.job import Job, load_job
from registry.paths import JOB_FILE
from registry.provenance import user_name
from registry.reading import View
from registry.records import Record
from registry.schema import STAGES, Stage
from registry.status import all_in_flight
from registry.store import Registry
from slurm import local
from slurm.asking import Queue, ask_queue, forget_queue
from slurm.logs import folder_of
from slurm.overview import job_name

_SCANCEL_SECONDS = 120


@dataclass(frozen=True)
class Target:
    """An attempt in flight that is to end; `waits`: it has not started, or is in the queue again.

    `shards` is the array of its shards while that is in the queue.
    """

    experiment: str
    stage: Stage
    header: Header
    waits: bool
    shards: str | None = None

    @property
    def job(self) -> str:
        """The job's id."""
        return job_name(self.header)

    @property
    def owner(self) -> str | None:
        """Who submitted it."""
        return self.header.job.get("user")

    @property
    def is_mine(self) -> bool:
        """Whether this user may end it."""
        return self.owner in (None, user_name()) or os.geteuid() == 0

    @property
    def on_slurm(self) -> bool:
        """Whether it is a job of Slurm, and not a process of some machine."""
        return self.header.job.get("cluster") == "slurm"

    def to_json(self) -> dict[str, object]:
        """For `--json`."""
        state = "submitted" if self.waits else "running"
        shards = {"shards_id": self.shards} if self.shards else {}
        who = {"job_id": self.job, **shards, "user": self.owner}
        own = {"experiment": self.experiment, "stage": self.stage, "attempt": self.header.attempt}
        return {**own, "state": state, **who}


@dataclass(frozen=True)
class Ended:
    """What became of targets: `recorded` never started and are recorded as cancelled; `refused` could not be ended."""

    recorded: list[Target]
    refused: list[tuple[Target, str]]
    warnings: list[str]


def targets_of(view: View, queue: Queue, names: Iterable[str], stages: Sequence[Stage]) -> list[Target]:
    """The attempts in flight of these stages, and those of later stages that wait for them and could never start."""
    found: list[Target] = []
    for name in names:
        reached = False
        for stage in STAGES:
            for header in all_in_flight(view.state.headers(name, stage)):
                job = queue.job(header)
                waits = header.event == "submitted" if job is None else job.pending
                if queue.is_gone(header) or not (stage in stages or (reached and waits)):
                    continue
                shards = queue.shards(header)
                found.append(Target(name, stage, header, waits, shards.id if shards and shards.in_queue else None))
                reached = True
    return found


def lines_of(targets: Sequence[Target]) -> list[str]:
    """What is to end, one line per experiment."""
    by_name: dict[str, list[str]] = {}
    for target in targets:
        state = "waits" if target.waits else "runs"
        whose = f" for {target.owner}" if target.owner else ""
        job = f"job {target.job}" + (f" and its shards {target.shards}" if target.shards else "")
        by_name.setdefault(target.experiment, []).append(f"{target.stage} ({job}, {state}{whose})")
    return [f"{name}: {', '.join(jobs)}" for name, jobs in by_name.items()]


def end(registry: Registry, targets: Sequence[Target]) -> Ended:
    """End them; `MissingError` where Slurm does not answer."""
    here = [target for target in targets if not target.on_slurm]
    jobs = [target for target in targets if target.on_slurm]
    recorded, warnings = _end_jobs(registry, jobs) if jobs else ([], [])
    refused = _end_here(registry, here) if here else []
    if recorded or here:
        fold_or_warn(registry)
    return Ended(recorded, refused, warnings)


def scancel(ids: Iterable[str]) -> str:
    """Cancel jobs in one call; returns what Slurm has to say. One that has ended already is as good."""
    command = ["scancel", "--quiet", *compact(ids)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SCANCEL_SECONDS, check=False)
    except FileNotFoundError:
        raise MissingError("scancel is not on this machine; cancel where Slurm is") from None
    except subprocess.TimeoutExpired:
        raise MissingError(f"scancel does not answer within {_SCANCEL_SECONDS} s; ask `meds1 status` later") from None
    return " ".join(done.stderr.split())


def compact(ids: Iterable[str]) -> list[str]:
    """Job ids for a command line, the elements of each array as ranges: `12`, `13_[0-4,7]`."""
    arrays: dict[str, list[int]] = {}
    for job in ids:
        array, _, index = job.partition("_")
        arrays.setdefault(array, []).extend([int(index)] if index else [])
    return [f"{array}_[{_ranges(sorted(set(indices)))}]" if indices else array for array, indices in arrays.items()]


def _ranges(indices: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _end_jobs(registry: Registry, targets: Sequence[Target]) -> tuple[list[Target], list[str]]:
    said = scancel(job for target in targets for job in filter(None, (target.job, target.shards)))
    forget_queue(registry)
    before = registry.read()
    queue = ask_queue(before, {target.experiment for target in targets})
    if queue.silent:
        raise MissingError(f"{said or queue.silent}; `meds1 status` shows what has been cancelled when Slurm is back")
    view = registry.read()
    # Only what has neither started meanwhile nor recorded its end.
    dead = [target for target in targets if target.waits and _is_last(view, target) and queue.is_gone(target.header)]
    warnings = [f"scancel: {said}"] if said else []
    recorded, records = [], []
    for target in dead:
        try:
            records.append(_cancelled(_job_of(view, target), target))
        except MissingError as error:
            warnings.append(str(error))
        else:
            recorded.append(target)
    registry.save_all(records)
    return recorded, warnings


def _is_last(view: View, target: Target) -> bool:
    headers = view.state.headers(target.experiment, target.stage)
    own = [header for header in headers if header.attempt == target.header.attempt]
    return bool(own) and own[-1].id == target.header.id


def _job_of(view: View, target: Target) -> Job:
    return load_job(folder_of(view.state, target.experiment, target.stage, target.header.attempt) / JOB_FILE)


def _cancelled(job: Job, target: Target) -> Record:
    when = "in the queue again" if target.header.event == "started" else "before it started"
    result = {"job": dict(target.header.job), "error": f"cancelled by {user_name()} {when}", "log": str(job.folder)}
    return replace(job.record("cancelled", result), restart=target.header.restart)


def _end_here(registry: Registry, targets: Sequence[Target]) -> list[tuple[Target, str]]:
    """End stages that run, or wait to run, on this machine; returns those that cannot be ended from here, and why."""
    view = registry.read()
    jobs = [_job_of(view, target) for target in targets]
    refused = [(job.experiment, job.stage, job.attempt, why) for job, why in local.cancel(registry, jobs)]
    by_attempt = {(target.experiment, target.stage, target.header.attempt): target for target in targets}
    return [(by_attempt[name, stage, attempt], why) for name, stage, attempt, why in refused]
