"""`meds1 status`: the registry's states, with what the queue says of attempts in flight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from registry.errors import MissingError, counted
from registry.history import Header
from registry.paths import JOB_FILE, is_here, stop_mark
from registry.plan import IsGone, Plan, is_abandoned
from registry.reading import View
from registry.schema import Stage
from registry.status import StageStatus, Word, being_submitted, in_flight, in_flight_with
from registry.store import Registry
from slurm.asking import Queue
from slurm.chains import Parent
from slurm.logs import folder_of
from slurm.queue import JobInfo

# Slurm's reasons in words; any other is shown as Slurm says it.
_WAITS = {
    "Dependency": "waits for {parent}",
    "Priority": "waits behind jobs of higher priority",
    "Resources": "waits for free resources",
    "JobArrayTaskLimit": "waits for its turn in the array (--max-parallel)",
    "BeginTime": "waits for its time to begin",
    "JobHeldUser": "held; `scontrol release` lets it go on",
    "JobHeldAdmin": "held by an administrator",
    "ReqNodeNotAvail": "waits for a node that is down or reserved",
}


@dataclass(frozen=True)
class Standing:
    """Where a stage stands: its status, and of an attempt in flight which job it is and where and how long it runs."""

    status: StageStatus
    job: str | None = None
    user: str | None = None
    restart: int = 0
    node: str | None = None
    seconds: int | None = None

    @property
    def cell(self) -> str:
        """The state in a few words, for a table."""
        if self.status.status != "running":
            return self.status.status
        clock = None if self.seconds is None else as_clock(self.seconds)
        return " ".join(filter(None, ["running", clock, self.node]))

    @property
    def remark(self) -> str:
        """Why, for a table; which attempt this is where it is not the first, or the first run of it."""
        if self.job is None:
            return self.status.reason
        again = f"attempt {self.status.attempt}" if self.status.attempt and self.status.attempt > 1 else ""
        restarts = counted(self.restart, "restart") if self.restart else ""
        return "; ".join(filter(None, [self.status.reason, ", ".join(filter(None, [again, restarts]))]))

    def to_json(self) -> dict[str, Any]:
        """All that is known, for `--json`."""
        own = {key: getattr(self.status, key) for key in ("status", "reason", "attempt", "timestamp")}
        rest = {"restart": self.restart, "job_id": self.job, "user": self.user}
        return {**own, **rest, "node": self.node, "seconds": self.seconds}


def overview(registry: Registry, view: View, name: str, queue: Queue) -> dict[Stage, Standing]:
    """Where an experiment's stages stand, corrected by what the queue says of attempts in flight."""
    found: dict[Stage, Standing] = {}
    causes: dict[Stage, str] = {}
    parent: Stage | None = None
    for stage, status in registry.statuses(view, name).items():
        header = in_flight(view.state.headers(name, stage))
        if header is None or status.status not in ("submitted", "running"):
            found[stage] = Standing(_with_intent(status, view.state.headers(name, stage)))
        else:
            cause = causes.get(parent) or _ended(view.state.headers(name, parent), parent) if parent else None
            stopped = _has_stopped(view, name, stage, header)
            found[stage] = _standing(_judged(status, _Flight(header, queue, stopped, parent, cause)), header, queue)
            if found[stage].status.status == "cancelled" and cause:
                causes[stage] = cause
            elif found[stage].status.status in ("failed", "cancelled"):
                causes[stage] = f"{stage} {found[stage].status.status} (attempt {header.attempt})"
        parent = parent if status.status == "n/a" else stage
    return found


def _with_intent(status: StageStatus, headers: list[Header]) -> StageStatus:
    """The status, and whether somebody is about to submit the stage, or was interrupted while he did."""
    intents = being_submitted(headers)
    if not intents or intents[-1] is not headers[-1]:
        return status
    job, attempt = intents[-1].job, intents[-1].attempt
    said = f"attempt {attempt} is being submitted by {job.get('user')} on {job.get('host')}"
    if is_abandoned(intents[-1]):
        said = f"attempt {attempt}: its submission was interrupted; the next `meds1 submit` finds out what came of it"
    return replace(status, reason="; ".join(filter(None, [status.reason, said])))


def as_clock(seconds: int) -> str:
    """A duration as Slurm writes it: `12:34`, `1:02:03`, `2-00:00:00`."""
    days, rest = divmod(seconds, 24 * 3600)
    hours, rest = divmod(rest, 3600)
    short = f"{rest // 60:02d}:{rest % 60:02d}"
    if days:
        return f"{days}-{hours:02d}:{short}"
    return f"{hours}:{short}" if hours else short


@dataclass(frozen=True)
class _Flight:
    """An attempt in flight by the registry, what the queue said, and what kept its parent from success, if anything."""

    header: Header
    queue: Queue
    stopped: bool
    parent: Stage | None
    cause: str | None

    @property
    def job(self) -> str:
        return job_name(self.header)


def job_name(header: Header) -> str:
    """How the job of an attempt is called: Slurm's id of it, or a process id."""
    return str(header.job.get("id") or header.job.get("pid") or "?")


def _ended(headers: list[Header], stage: Stage) -> str | None:
    """That a stage's newest attempt did not succeed, in words."""
    last = headers[-1] if headers else None
    return f"{stage} {last.event} (attempt {last.attempt})" if last and last.event in ("failed", "cancelled") else None


def _judged(status: StageStatus, flight: _Flight) -> StageStatus:
    header, queue, job = flight.header, flight.queue, flight.job
    if header.job.get("cluster") == "slurm":
        if queue.silent:
            known = queue.taken is not None and header.id in queue.asked
            since = _utc(queue.taken) if known and queue.taken else header.timestamp
            return replace(status, status="unknown", reason=f"since {since}: job {job}: {queue.silent}")
        if header.id not in queue.asked:
            return replace(status, reason=f"job {job}")
        if queue.hides(header):
            return replace(status, status="unknown", reason=f"job {job} of {header.job['user']}: not shown to you")
    if queue.is_gone(header):
        word, reason = _gone(flight)
        return replace(status, status=word, reason=reason)
    said = queue.job(header) if header.job.get("cluster") == "slurm" else None
    if said is None:
        return replace(status, reason=f"job {job}")
    shards = queue.shards(header)
    if said.pending and shards is not None and shards.running:
        return replace(status, status="running", reason=f"job {job}: {shards.progress}")
    if said.pending:
        requeued = " (requeued)" if header.event == "started" else ""
        return replace(status, status="submitted", reason=f"job {job}{requeued}{_why_pending(said, flight)}")
    starting = ": starting" if header.event == "submitted" else ""
    return replace(status, status="running", reason=f"job {job}{starting}")


def _gone(flight: _Flight) -> tuple[Word, str]:
    """The state of an attempt that has ended without a record, and why."""
    said, job, never_started = flight.queue.job(flight.header), flight.job, flight.header.event == "submitted"
    shards = flight.queue.shards(flight.header)
    lost = shards.lost if shards else None
    if flight.stopped:
        return "cancelled", f"job {job} stopped after saving; run it again to resume"
    if never_started and flight.cause:
        return "cancelled", flight.cause
    if never_started and said and said.never_starts and lost and lost.word != "CANCELLED":
        return "failed", f"job {job}: its shard {lost.id} ended as {lost.word} without a record"
    if never_started and said and said.never_starts:
        return "cancelled", f"job {job}: {_needed(flight)} did not succeed"
    if never_started and said and said.word == "CANCELLED":
        return "cancelled", f"job {job} was cancelled before it started"
    if never_started and flight.header.job.get("cluster") == "local":
        return "cancelled", f"job {job} never started: its supervisor is gone; submit again"
    how = f"ended as {said.word}" if said else "is gone"
    return "cancelled" if said and said.word == "CANCELLED" else "failed", f"job {job} {how} without a record"


def _why_pending(said: JobInfo, flight: _Flight) -> str:
    if said.never_starts:
        return f": never starts: {flight.cause or f'{_needed(flight)} did not succeed'}"
    shards = flight.queue.shards(flight.header)
    if shards is not None and shards.pending is not None:
        said = shards.pending
        return ": " + ", ".join(filter(None, [shards.progress, _in_words(said, "another job")]))
    words = _in_words(said, _needed(flight) or "another job")
    return f": {words}" if words else ""


def _needed(flight: _Flight) -> str | None:
    """What has to succeed before the attempt can start, if anything."""
    return "a shard" if "shards" in flight.header.job else flight.parent


def _in_words(said: JobInfo, parent: str) -> str:
    return _WAITS.get(said.reason, said.reason).format(parent=parent)


def _standing(status: StageStatus, header: Header, queue: Queue) -> Standing:
    owner = header.job.get("user")
    said = queue.job(header) if header.job.get("cluster") == "slurm" and header.id in queue.asked else None
    node, seconds = header.job.get("node") or header.job.get("host"), None
    if said is not None:
        node, seconds = said.nodes or node, said.seconds if said.running else None
    if seconds is None and header.event == "started":
        seconds = _seconds_since(header.timestamp)
    if status.status != "running":
        node = seconds = None
    return Standing(status, job_name(header), owner, header.restart, node, seconds)


def _seconds_since(timestamp: str) -> int | None:
    try:
        began = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return max(0, round((datetime.now(UTC) - began).total_seconds()))


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _has_stopped(view: View, name: str, stage: Stage, header: Header) -> bool:
    try:
        folder = folder_of(view.state, name, stage, header.attempt)
    except MissingError:
        return False
    return is_here(stop_mark(folder, header.restart))


def flying_parents(view: View, plans: Iterable[Plan], is_gone: IsGone) -> dict[str, Parent]:
    """By fingerprint: the attempts in flight that the plans have to wait for; `MissingError` for an unknown folder."""
    found: dict[str, Parent] = {}
    for plan in plans:
        upstream = (plan.inputs or {}).get("upstream")
        if not upstream:
            continue
        stage, fingerprint = upstream["stage"], upstream["fingerprint"]
        header = in_flight_with(view.state.headers(plan.experiment, stage), fingerprint)
        if header is None or is_gone(header):
            continue
        folder = folder_of(view.state, plan.experiment, stage, header.attempt)
        found[fingerprint] = Parent(job_name(header), str(header.job.get("cluster")), folder / JOB_FILE)
    return found
