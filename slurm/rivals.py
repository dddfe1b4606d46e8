"""Two commands that submit the same stages at the same time: which of them goes on.

Neither knew of the other when it planned. Each claims its numbers, saves its intents and looks then, so that at least
one of them sees the other. As in Lamport's bakery the lower number goes first, and whoever has a higher one waits for
the intent of a claim that is not yet recorded. Numbers of later stages may be the other way round: the first stage that
both have claimed decides.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from registry.history import Header
from registry.job import Job
from registry.reading import View
from registry.records import TERMINAL
from registry.schema import Stage
from registry.store import Registry

# A claim without an intent for this long is a dead command's; NFS may show a new folder a minute late.
_PATIENCE_S = 75.0


@dataclass(frozen=True)
class _Rival:
    """Another attempt at the same that has come up since the plans were made: its intent, and its last word."""

    intent: Header
    last: Header

    @property
    def command(self) -> tuple[object, ...]:
        """What tells the command that claimed it from others."""
        job = self.intent.job
        return (job["host"], job["pid"], job["start"]) if "pid" in job else (self.intent.id,)

    def said(self, stage: Stage) -> str:
        """Which attempt it is and whose, in words."""
        job = self.intent.job
        who = f"{job.get('user', '?')} on {job.get('host', 'another host')} (process {job.get('pid', '?')})"
        return f"{stage}: attempt {self.intent.attempt} is being submitted by {who}"


def losers(registry: Registry, before: View, claimed: Sequence[tuple[Job, ...]], began: float) -> dict[str, str]:
    """The experiments that give way to another command, each with the reason; `claimed` are their chains.

    Their intents are saved; `before` is the view that they were planned with; `began` says when the first of them was
    claimed (`time.monotonic`).
    """
    every = [job for jobs in claimed for job in jobs]
    in_time = time.monotonic() - began < _PATIENCE_S
    if in_time and all(job.attempt == _last_known(before, job) + 1 for job in every):
        return {}  # ahead of everybody in every stage, and whoever comes next waits for these intents
    known = before.state.known()
    view = _view_with_all_claims(registry, before, every)
    late = time.monotonic() - began > _PATIENCE_S  # then another command may have taken this one for dead
    reasons = {jobs[0].experiment: next(_reasons(view, known, jobs, late), None) for jobs in claimed}
    return {name: why for name, why in reasons.items() if why is not None}


def _view_with_all_claims(registry: Registry, before: View, jobs: Sequence[Job]) -> View:
    """Read once every lower number that was claimed a moment ago has its intent, or its command is dead."""
    awaited = [(job, number) for job in jobs for number in _young_claims(registry, before, job)]
    end = time.monotonic() + _PATIENCE_S
    while True:
        view = registry.read()
        awaited = [
            (job, number)
            for job, number in awaited
            if all(header.attempt != number for header in view.state.headers(job.experiment, job.stage))
        ]
        if not awaited or time.monotonic() > end:
            return view
        time.sleep(0.1)


def _young_claims(registry: Registry, before: View, job: Job) -> Iterator[int]:
    folder = registry.paths.attempts(job.experiment, job.stage)
    last = _last_known(before, job)
    if job.attempt == last + 1:
        return
    own = (folder / str(job.attempt)).stat().st_mtime  # by the same clock as the others'
    for number in range(last + 1, job.attempt):
        claim = folder / str(number)
        if claim.is_dir() and own - claim.stat().st_mtime < _PATIENCE_S:
            yield number


def _last_known(view: View, job: Job) -> int:
    """The newest attempt at the stage that has a record."""
    return max((header.attempt for header in view.state.headers(job.experiment, job.stage)), default=0)


def _reasons(view: View, known: set[str], jobs: Sequence[Job], late: bool) -> Iterator[str]:
    decided = set()
    for job in jobs:
        for rival in _rivals(view, known, job):
            ended, ahead = rival.last.event in TERMINAL, rival.last.event != "intent"
            first = rival.command not in decided and rival.intent.attempt < job.attempt
            if not ended and (first or ahead or late):
                yield rival.said(job.stage)
            decided.add(rival.command)


def _rivals(view: View, known: set[str], job: Job) -> list[_Rival]:
    attempts: dict[int, list[Header]] = {}
    for header in view.state.headers(job.experiment, job.stage):
        if header.attempt != job.attempt and header.fingerprint == job.fingerprint:
            attempts.setdefault(header.attempt, []).append(header)
    return [_Rival(headers[0], headers[-1]) for headers in attempts.values() if headers[0].id not in known]
