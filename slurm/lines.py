"""What a supervisor knows of a chain, and what is to be said of its stages."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from registry.history import Header
from registry.job import Job
from registry.paths import cancel_mark, stop_mark
from registry.plan import gone_from_here
from registry.provenance import restart_count
from registry.reading import View
from registry.records import Event
from slurm.chains import Submitted
from slurm.launch import without_a_word


@dataclass
class Line:
    """What is left of a chain: the stages that have not ended, first the one that runs or comes next.

    That one may need the attempt `after` to complete; `told` says why it has to stop, and `look` when to see again
    whether it can start.
    """

    left: list[Submitted]
    after: Job | None
    process: subprocess.Popen[bytes] | None = None
    gpus: tuple[str, ...] = ()
    told: str | None = None
    look: float = 0.0

    @property
    def waiting(self) -> list[Submitted]:
        """The stages that have not started."""
        return self.left[1:] if self.process else self.left

    def cut(self, first: Submitted) -> list[Submitted]:
        """Take `first` and what builds on it out of the line."""
        start = self.left.index(first)
        dropped = self.left[start:]
        del self.left[start:]
        return dropped


def last_of(view: View, job: Job) -> Header | None:
    """The last record of an attempt."""
    own = [one for one in view.state.headers(job.experiment, job.stage) if one.attempt == job.attempt]
    return own[-1] if own else None


def is_taken(view: View, job: Job) -> bool:
    """Whether an earlier attempt is still at work in the same run directory: one that is being replaced."""
    last = {one.attempt: one for one in view.state.headers(job.experiment, job.stage)}
    return any(
        one.attempt < job.attempt
        and one.fingerprint == job.fingerprint
        and one.event in ("submitted", "started")
        and one.job.get("cluster") != "slurm"
        and not gone_from_here(one)
        for one in last.values()
    )


def unsaid(job: Job, code: int, told: str | None) -> tuple[Event, str]:
    """What is to be recorded of a stage that has left no record of its end."""
    if told:
        return "cancelled", told
    if stop_mark(job.folder, restart_count()).exists():
        return "cancelled", "stopped by a signal or its time budget; submit again, and what was done is taken up"
    return "failed", without_a_word(code)


def because(parent: Job, event: str) -> str:
    """Why what builds on `parent` is cancelled."""
    return f"{parent.stage} {'was cancelled' if event == 'cancelled' else event} (attempt {parent.attempt})"


def is_marked(one: Submitted) -> bool:
    """Whether somebody wants the stage to be cancelled."""
    return cancel_mark(one.job.folder).exists()


def who(one: Submitted) -> str:
    """Who that is, as a reason."""
    return f"cancelled by {cancel_mark(one.job.folder).read_text() or 'a user'}"
