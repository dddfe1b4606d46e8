"""`python -m slurm.supervisor FOLDER`: the background process that runs one local submission, and ends with it.

It takes the chains of the submission in order, at most so many stages at once, each as a process group of its own that
reports by its records. A stage whose parent fails never starts; other experiments go on. SIGUSR1: look for stages that
are to be cancelled. SIGTERM: stop what runs, and start no more. When this process is killed without a word, the stages
that wait count as gone; one that runs may finish, and records its own result.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from registry.attempt import LOCAL_JOB
from registry.console import speak
from registry.errors import Meds1Error, StageFailure
from registry.history import Header
from registry.job import Job
from registry.paths import cancel_mark, stop_mark
from registry.plan import gone_from_here
from registry.provenance import restart_count
from registry.reading import View
from registry.records import TERMINAL, Event
from slurm.gpus import share
from slurm.launch import command, environment, gpus_wanted, without_a_word
from slurm.local import GO, READY, LocalJob, read_plan, save_end

log = logging.getLogger("meds1")
_TICK_SECONDS = 0.2
_LOOK_SECONDS = 2.0
_SHUT_DOWN = "the local cluster was shut down; submit again, and what was done is taken up"


@dataclass
class Line:
    """What is left of a chain: the stages that have not ended, first the one that runs or comes next.

    That one may need the attempt `after` to complete; `told` says why it has to stop, and `look` when to see again
    whether it can start.
    """

    left: list[LocalJob]
    after: Job | None
    process: subprocess.Popen[bytes] | None = None
    gpus: tuple[str, ...] = ()
    told: str | None = None
    look: float = 0.0

    @property
    def waiting(self) -> list[LocalJob]:
        """The stages that have not started."""
        return self.left[1:] if self.process else self.left

    def cut(self, first: LocalJob) -> list[LocalJob]:
        """Take `first` and what builds on it out of the line."""
        start = self.left.index(first)
        dropped = self.left[start:]
        del self.left[start:]
        return dropped

    def stop(self, reason: str) -> None:
        """Ask the running stage to stop."""
        if self.process:
            self.told = reason
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)


class Supervisor:
    """The lines of a submission, and the loop that brings them to their ends."""

    def __init__(self, folder: Path) -> None:
        plan = read_plan(folder)
        self.registry = plan.chains[0][0][0].job.open()
        self.lines = [Line(jobs, after) for jobs, after in plan.chains]
        self.max_parallel = plan.max_parallel
        self.gpus = share(os.environ, plan.max_parallel)
        self._to_end = self._to_look = False
        self._trouble = ""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGUSR1, self._look)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._to_end = True

    def _look(self, number: int, frame: FrameType | None) -> None:
        self._to_look = True

    def run(self) -> None:
        """Until every stage has ended. While the registry cannot be read, nothing is started."""
        while self.lines:
            try:
                self._obey()
                self._settle_some()
                self._start_some()
            except Meds1Error as error:
                if str(error) != self._trouble:
                    log.error("waiting until the registry can be read: %s", error)
                self._trouble = str(error)
            self.lines = [line for line in self.lines if line.left]
            time.sleep(_TICK_SECONDS if self.lines else 0)

    def end_all(self, reason: str) -> None:
        """Stop what runs, and cancel what waits."""
        dropped: list[LocalJob] = []
        for line in self.lines:
            dropped += line.cut(line.waiting[0]) if line.waiting else []
            line.stop(reason)
        self._record(dropped, "cancelled", reason)

    def _obey(self) -> None:
        if self._to_end:
            self._to_end = False
            self.end_all(_SHUT_DOWN)
        if not self._to_look:
            return
        self._to_look = False
        for line in self.lines:
            if line.process and _is_marked(line.left[0]):
                line.stop(_who(line.left[0]))
                cancel_mark(line.left[0].job.folder).unlink()  # a stage that goes on all the same can be told again
            first = next((one for one in line.waiting if _is_marked(one)), None)
            if first:
                self._cancel(line, first)

    def _cancel(self, line: Line, first: LocalJob) -> None:
        """Cancel a stage that waits, and those that build on it."""
        own, *others = line.cut(first)
        self._record([own], "cancelled", _who(own))
        self._record(others, "cancelled", f"{own.job.stage} was cancelled (attempt {own.job.attempt})")

    def _settle_some(self) -> None:
        """Take note of the stages that have ended, and cancel what builds on those that have not completed."""
        ended = [line for line in self.lines if line.process and line.process.poll() is not None]
        view = self.registry.read() if ended else None
        for line in ended:
            assert line.process is not None
            assert view is not None
            one, code, told = line.left.pop(0), line.process.returncode, line.told
            if self.gpus:
                self.gpus.give_back(line.gpus)
            line.process, line.gpus, line.told, line.look = None, (), None, 0.0
            last = _last(view, one.job)
            event, reason = (last.event, "") if last and last.event in TERMINAL else _unsaid(one.job, code, told)
            if reason:
                self._record([one], event, reason)
            log.info("<== %s: %s: %s", one.job.experiment, one.job.stage, event)
            if event != "completed":
                self._record(line.left, "cancelled", _because(one.job, event))
                line.left.clear()

    def _start_some(self) -> None:
        """Start what can start, in order; a stage that waits for GPUs is overtaken by none that needs GPUs too."""
        free = self.max_parallel - sum(line.process is not None for line in self.lines)
        view: View | None = None
        scarce = False
        for line in self.lines:
            if free <= 0:
                return
            if line.process or not line.left or line.look > time.monotonic():
                continue
            wanted = gpus_wanted(line.left[0].job)
            if self.gpus and wanted and (scarce or not self.gpus.suffice_for(wanted)):
                scarce = True
                continue
            view = view or self.registry.read()
            if not self._may_start(line, view):
                line.look = time.monotonic() + _LOOK_SECONDS
                continue
            line.gpus = self.gpus.take(wanted) if self.gpus else ()
            try:
                self._launch(line)
            except OSError as error:
                self._fail(line, f"it could not be started: {error.filename or ''}: {error.strerror}")
            free -= 1

    def _may_start(self, line: Line, view: View) -> bool:
        """Whether a line's next stage can start now; a line that never will is ended."""
        one = line.left[0]
        if _is_marked(one):
            self._cancel(line, one)
            return False
        if line.after is not None:
            last = _last(view, line.after)
            if last is not None and last.event in TERMINAL:
                fate = last.event
            elif last is not None and not gone_from_here(last):
                return False
            else:
                last = _last(self.registry.read(), line.after)  # it may have ended in between
                fate = last.event if last and last.event in TERMINAL else "failed"
            if fate != "completed":
                self._record(line.cut(one), "cancelled", _because(line.after, fate))
                return False
            line.after = None
        return not _is_taken(view, one.job)

    def _launch(self, line: Line) -> None:
        one = line.left[0]
        # Unbuffered, so that a log can be followed.
        environ = {**environment(), LOCAL_JOB: one.id, "PYTHONUNBUFFERED": "1"}
        if self.gpus:
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(line.gpus)
        log.info("==> %s: %s: attempt %d, job %s", one.job.experiment, one.job.stage, one.job.attempt, one.id)
        shown = f"{one.id}_0_log"
        with open(one.job.folder / f"{shown}.out", "ab") as out, open(one.job.folder / f"{shown}.err", "ab") as err:
            line.process = subprocess.Popen(
                command(one.job, environ),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,
            )

    def _fail(self, line: Line, reason: str) -> None:
        if self.gpus:
            self.gpus.give_back(line.gpus)
        own, *others = line.cut(line.left[0])
        self._record([own], "failed", reason)
        self._record(others, "cancelled", _because(own.job, "failed"))

    def _record(self, jobs: list[LocalJob], event: Event, reason: str) -> None:
        """Record how stages ended. A registry that cannot be written costs these records, not the other stages."""
        if not jobs:
            return
        for one in jobs:
            log.info("--- %s: %s: %s: %s", one.job.experiment, one.job.stage, event, reason)
        try:
            save_end(self.registry, [one.job for one in jobs], event, reason)
        except StageFailure as error:
            log.error("%s", error)


def _last(view: View, job: Job) -> Header | None:
    """The last record of an attempt."""
    own = [one for one in view.state.headers(job.experiment, job.stage) if one.attempt == job.attempt]
    return own[-1] if own else None


def _is_taken(view: View, job: Job) -> bool:
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


def _unsaid(job: Job, code: int, told: str | None) -> tuple[Event, str]:
    """What is to be recorded of a stage that has left no record of its end."""
    if told:
        return "cancelled", told
    if stop_mark(job.folder, restart_count()).exists():
        return "cancelled", "stopped by a signal; submit again, and what was done is taken up"
    return "failed", without_a_word(code)


def _because(parent: Job, event: str) -> str:
    return f"{parent.stage} {'was cancelled' if event == 'cancelled' else event} (attempt {parent.attempt})"


def _is_marked(one: LocalJob) -> bool:
    return cancel_mark(one.job.folder).exists()


def _who(one: LocalJob) -> str:
    return f"cancelled by {cancel_mark(one.job.folder).read_text() or 'a user'}"


def main(folder: Path) -> None:
    """Say that this process listens, wait for the word to go, and run the submission."""
    speak()
    supervisor = Supervisor(folder)
    sys.stdout.write(READY)
    sys.stdout.flush()
    told = sys.stdin.readline() == GO
    os.dup2(2, 1)  # nobody reads there any more
    if told:
        supervisor.run()
    else:
        supervisor.end_all("the command that submitted it ended before everything was submitted")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
