"""Ask Slurm what became of jobs: `squeue` for those it still holds, `sacct` for the rest; two calls for any number."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from registry.errors import MissingError

_PENDING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "SUSPENDED"})
_RUNNING = frozenset({"RUNNING", "COMPLETING", "CONFIGURING", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING"})


@dataclass(frozen=True)
class JobState:
    """A job's state in Slurm's own word, such as RUNNING or OUT_OF_MEMORY."""

    word: str

    @property
    def pending(self) -> bool:
        """Whether the job waits to start."""
        return self.word in _PENDING

    @property
    def running(self) -> bool:
        """Whether the job has started and not ended."""
        return self.word in _RUNNING


def job_states(ids: Iterable[str]) -> dict[str, JobState]:
    """The state of each job that Slurm knows of; ids it has forgotten are left out.

    `MissingError` when the queue cannot be asked at all.
    """
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    if shutil.which("squeue") is None:
        raise MissingError("squeue is not on this machine")
    states = _ask(["squeue", "--noheader", "--states=all", f"--jobs={','.join(wanted)}", "--format=%i|%T"])
    if states is None:
        # squeue refuses the whole list when it has forgotten a single id. Every user's jobs: a registry is shared.
        states = _ask(["squeue", "--noheader", "--states=all", "--format=%i|%T"])
        if states is None:
            raise MissingError("squeue does not answer")
    left = [job for job in wanted if job not in states]
    if left and shutil.which("sacct") is not None:
        accounted = _ask(
            ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={','.join(left)}", "--format=JobID,State"]
        )
        states.update(accounted or {})
    return {job: states[job] for job in wanted if job in states}


def _ask(command: list[str]) -> dict[str, JobState] | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        return None
    pairs = (line.split("|", 1) for line in done.stdout.splitlines() if "|" in line)
    # "CANCELLED by 1000" is one state with a remark.
    return {job.strip(): JobState(state.split()[0].rstrip("+")) for job, state in pairs if state.strip()}
