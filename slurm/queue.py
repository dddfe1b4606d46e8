"""Ask Slurm about jobs: one `squeue` for all that it still holds, at most one `sacct` for the rest, however many.

`squeue` is asked by the users who own the jobs, not by a list of ids: it refuses a whole list for one id that it has
forgotten. Accounting that is off or down costs no answer: what only it could tell is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from registry.errors import MissingError
from registry.provenance import user_name

COMMENT = "meds1:"
_PENDING = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED"}
)
_ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
)
_NEVER = frozenset({"DependencyNeverSatisfied"})
_NO_REASON = frozenset({"None", "(null)", "N/A", "NonZeroExitCode"})
_CLOCK = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
_ARRAY = re.compile(r"(\d+)_\[(.+)\]")
_SPAN = re.compile(r"(\d+)(?:-(\d+))?(?::(\d+))?")
_SEPARATOR = "\x1f"
# The comment comes last: whoever wrote it may have put anything into it.
_QUEUE_FORMAT = _SEPARATOR.join(("%i", "%T", "%r", "%N", "%M", "%E", "%u", "%k"))
_ACCOUNT_FORMAT = "JobID,State,Reason,NodeList,Elapsed,User"
_TIMEOUT_S = 30
_IDS_PER_ARGUMENT = 5000  # Linux takes no argument longer than 128 KiB


@dataclass(frozen=True)
class JobInfo:
    """What Slurm says of one job or array element; `id` is `123` or `123_4`, `word` Slurm's own, such as TIMEOUT.

    `seconds` is how long its present run has lasted, `nodes` where; `reason` is empty where Slurm has none. `comment`
    is null for a job that the queue has forgotten.
    """

    id: str
    word: str
    reason: str = ""
    nodes: str = ""
    seconds: int | None = None
    dependency: str = ""
    user: str = ""
    comment: str | None = ""

    @property
    def pending(self) -> bool:
        """Whether the job waits to start."""
        return self.word in _PENDING

    @property
    def running(self) -> bool:
        """Whether the job has started and not ended; a state that is new to this code is no end."""
        return not self.pending and self.word not in _ENDED

    @property
    def in_queue(self) -> bool:
        """Whether the job waits or runs."""
        return self.pending or self.running

    @property
    def never_starts(self) -> bool:
        """Whether the job waits, or waited until Slurm ended it, for a parent that did not succeed."""
        return self.reason in _NEVER

    @property
    def token(self) -> str | None:
        """The token of the submission that the job belongs to."""
        return self.comment.removeprefix(COMMENT) if self.comment and self.comment.startswith(COMMENT) else None

    def may_be(self, user: str | None, token: str | None) -> bool:
        """Whether this can be the job of this user that a submission with this token has made; null: not known."""
        if token is not None and self.comment is not None:
            return self.token == token
        return user is None or self.user in ("", user)


def ask_slurm(wanted: Mapping[str, str | None], users: Iterable[str] = ()) -> dict[str, JobInfo]:
    """All jobs in the queue, by id, of the owners of `wanted` (job id -> owner) and of `users`, and the wanted others.

    An owner that is null may be anyone: then everybody's jobs are asked for. Jobs that Slurm has forgotten or does not
    show to this user are left out. `MissingError` when the queue cannot be asked.
    """
    owners = {*wanted.values(), *users}
    if not owners:
        return {}
    if shutil.which("squeue") is None:
        raise MissingError("squeue is not on this machine")
    whose = [] if None in owners else [f"--users={','.join(sorted(filter(None, owners)))}"]
    command = ["squeue", "--noheader", "--states=all", "--array", *whose, f"--format={_QUEUE_FORMAT}"]
    jobs = {job.id: job for job in _queue_lines(_output(command))}
    left = [job for job in wanted if job not in jobs]
    if left and shutil.which("sacct") is not None:
        jobs.update((job.id, job) for job in _accounted(left) if _is_news(job, wanted.get(job.id, "")))
    return jobs


def jobs_of(jobs: Mapping[str, JobInfo], tokens: Iterable[str]) -> dict[str, list[JobInfo]]:
    """By token: the jobs of `ask_slurm` that a submission with this token has made; an empty list when there is none.

    Only squeue knows tokens (accounting keeps no comment unless it is told to), so what ended long ago is not found.
    """
    found: dict[str, list[JobInfo]] = {token: [] for token in tokens}
    for job in jobs.values():
        if job.token in found:
            found[job.token].append(job)
    return found


def _accounted(ids: list[str]) -> Iterator[JobInfo]:
    # One id for all elements of an array; several arguments add up.
    asked = sorted({job.partition("_")[0] for job in ids})
    parts = [asked[start : start + _IDS_PER_ARGUMENT] for start in range(0, len(asked), _IDS_PER_ARGUMENT)]
    command = ["sacct", "--noheader", "--parsable2", f"--delimiter={_SEPARATOR}", "--allocations"]
    command += [*(f"--jobs={','.join(part)}" for part in parts), f"--format={_ACCOUNT_FORMAT}"]
    try:
        text = _output(command)
    except MissingError:  # no accounting, or its daemon is down
        return
    wanted: dict[str, set[str]] = {}
    for job in ids:
        wanted.setdefault(job.partition("_")[0], set()).add(job)
    for line in sorted(text.splitlines(), key=_detail):
        fields = line.split(_SEPARATOR)
        if len(fields) == 6 and fields[1]:
            jobs, word, reason, nodes, clock, user = fields
            own = wanted.get(jobs.partition("_")[0], set())
            for job in own.intersection(_elements(jobs)) if "_" in jobs else own:
                yield JobInfo(job, _word(word), _said(reason), _said(nodes), _seconds(clock), "", user, None)


def _detail(line: str) -> int:
    """How exact a line of accounting is: the most exact one comes last and wins.

    One without an element is about all of an array that was cancelled before accounting had heard of its elements.
    """
    jobs = line.partition(_SEPARATOR)[0]
    return 0 if "_" not in jobs else 1 if "[" in jobs else 2


def _elements(jobs: str) -> Iterator[str]:
    """The ids that one line of accounting is about: elements that never started share one, `5_[0-3,10-20:5%2]`."""
    match = _ARRAY.fullmatch(jobs)
    if match is None:
        yield jobs
        return
    for part in match[2].partition("%")[0].split(","):
        span = _SPAN.fullmatch(part)
        if span is not None:  # what an old Slurm cuts off ends in dots
            first, last, step = int(span[1]), int(span[2] or span[1]), int(span[3] or 1)
            yield from (f"{match[1]}_{index}" for index in range(first, last + 1, step))


def _is_news(job: JobInfo, owner: str | None) -> bool:
    """Whether to believe accounting about a job that the queue does not have.

    It takes a job whose end it missed for a running one for ever; only of another user's jobs it may know more.
    """
    return not job.in_queue or owner not in (None, user_name())


def _queue_lines(text: str) -> Iterator[JobInfo]:
    for line in text.splitlines():
        fields = line.split(_SEPARATOR, 7)
        if len(fields) == 8:  # else the rest of a comment of several lines
            job, word, reason, nodes, clock, dependency, user, comment = fields
            seconds = _seconds(clock)
            yield JobInfo(job, word, _said(reason), _said(nodes), seconds, _said(dependency), user, _said(comment))


def _output(command: list[str]) -> str:
    """What a Slurm command prints; `MissingError` with its own words when it does not answer."""
    try:
        # Lists of array elements in full, not their first 64 characters.
        environment = {**os.environ, "SLURM_BITSTR_LEN": "0"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, errors="replace", env=environment
        )
    except subprocess.TimeoutExpired:
        raise MissingError(f"{command[0]} does not answer within {_TIMEOUT_S} s") from None
    # Of a user whom it does not know, such as while the directory of users is down, squeue shows no job, and ends well.
    if done.returncode != 0 or f"Invalid user: {user_name()}\n" in done.stderr:
        raise MissingError(f"{command[0]} does not answer: {' '.join(done.stderr.split()) or 'no word why'}")
    return done.stdout


def _word(state: str) -> str:
    """`CANCELLED by 1000` is one state with a remark, and a trailing plus marks a shortened one."""
    return state.split()[0].rstrip("+")


def _said(field: str) -> str:
    return "" if field in _NO_REASON or field == "None assigned" else field


def _seconds(clock: str) -> int | None:
    match = _CLOCK.fullmatch(clock)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
