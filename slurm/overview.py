"""`meds1 status`: the registry's states, with what the queue says of attempts in flight."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from registry.errors import MissingError
from registry.history import Header
from registry.paths import attempt_dir, is_here, job_file, stop_mark
from registry.plan import Plan, gone_from_here
from registry.provenance import slurm_job_id, user_name
from registry.reading import View
from registry.schema import STAGES, Stage
from registry.status import StageStatus, Word, all_in_flight, in_flight, in_flight_with
from registry.store import Registry
from slurm.queue import JobState, job_states
from slurm.submit import Parent


@dataclass(frozen=True)
class Queue:
    """What Slurm knows of the jobs that were `asked` for; `silent` says why it could not be asked."""

    states: Mapping[str, JobState]
    silent: str | None = None
    asked: tuple[str, ...] = ()

    def is_gone(self, header: Header) -> bool:
        """Whether an attempt in flight has surely ended without a record."""
        if header.job.get("cluster") != "slurm" or header.job.get("id") == slurm_job_id():
            return gone_from_here(header)
        if self.silent or self.hides(header):
            return False
        state = self.states.get(str(header.job.get("id")))
        return state is None or not (state.pending or state.running)

    def hides(self, header: Header) -> bool:
        """Whether Slurm says nothing of a job that may be there: many clusters show a user only his own jobs."""
        owner = header.job.get("user")
        return str(header.job.get("id")) not in self.states and owner not in (None, user_name())


def ask_queue(view: View, names: list[str]) -> Queue:
    """Ask about every Slurm job of these experiments that is in flight, in one call."""
    flying = [header for name in names for stage in STAGES for header in all_in_flight(view.state.headers(name, stage))]
    ids = [str(header.job["id"]) for header in flying if header.job.get("cluster") == "slurm"]
    try:
        return Queue(job_states(ids), None, tuple(ids))
    except MissingError as error:
        return Queue({}, str(error), tuple(ids))


def overview(registry: Registry, view: View, name: str, queue: Queue) -> dict[Stage, StageStatus]:
    """The state of an experiment's stages, corrected by the queue."""
    found = registry.statuses(view, name)
    for stage, status in found.items():
        header = in_flight(view.state.headers(name, stage))
        if header is not None and status.status in ("submitted", "running"):
            found[stage] = _asked(status, header, queue, _has_stopped(registry, name, stage, header))
    return found


def _asked(status: StageStatus, header: Header, queue: Queue, stopped: bool) -> StageStatus:
    job = str(header.job.get("id") or header.job.get("pid") or "?")
    if header.job.get("cluster") == "slurm" and queue.silent:
        return replace(status, status="unknown", reason=f"job {job}: {queue.silent}")
    if header.job.get("cluster") == "slurm" and queue.hides(header):
        return replace(status, status="unknown", reason=f"job {job} of {header.job['user']}: not shown to you")
    if queue.is_gone(header) and stopped:
        return replace(status, status="cancelled", reason=f"job {job} stopped after saving; run it again to resume")
    if queue.is_gone(header):
        state = queue.states.get(job)
        how = f"ended as {state.word}" if state else "is gone"
        ended: Word = "cancelled" if state and state.word == "CANCELLED" else "failed"
        return replace(status, status=ended, reason=f"job {job} {how} without a record")
    state = queue.states.get(job)
    waits = state is not None and state.pending
    word: Word = "submitted" if waits else status.status
    return replace(
        status, status=word, reason=f"job {job}{' (requeued)' if waits and header.event == 'started' else ''}"
    )


def _has_stopped(registry: Registry, name: str, stage: Stage, header: Header) -> bool:
    if "CACHE_DIR" not in os.environ:
        return False  # a laptop with a copy of the registry
    folder = attempt_dir(registry.outputs.run_dir(name, stage, header.fingerprint), header.attempt)
    return is_here(stop_mark(folder, header.restart))


def flying_parents(registry: Registry, view: View, plans: Iterable[Plan], queue: Queue) -> dict[str, Parent]:
    """By fingerprint: the attempts in flight that the plans have to wait for."""
    found: dict[str, Parent] = {}
    for plan in plans:
        upstream = (plan.inputs or {}).get("upstream")
        if not upstream:
            continue
        stage, fingerprint = upstream["stage"], upstream["fingerprint"]
        header = in_flight_with(view.state.headers(plan.experiment, stage), fingerprint)
        if header is not None and not queue.is_gone(header):
            run_dir = registry.outputs.run_dir(plan.experiment, stage, fingerprint)
            job = str(header.job.get("id") or header.job.get("pid"))
            found[fingerprint] = Parent(job, str(header.job.get("cluster")), job_file(run_dir, header.attempt))
    return found
