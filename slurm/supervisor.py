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
from pathlib import Path
from types import FrameType

from registry.attempt import LOCAL_JOB
from registry.console import speak
from registry.errors import Meds1Error, StageFailure
from registry.job import Job
from registry.paths import cancel_mark
from registry.plan import gone_from_here
from registry.reading import View
from registry.records import TERMINAL, Event
from slurm.chains import Submitted
from slurm.gpus import share
from slurm.launch import asking_blocked, command, environment, gpus_wanted
from slurm.lines import Line, because, is_marked, is_taken, last_of, unsaid, who
from slurm.local import GO, READY, read_plan, save_end

log = logging.getLogger("meds1")
_TICK_SECONDS = 0.2
_LOOK_SECONDS = 2.0
_SHUT_DOWN = "the local cluster was shut down; submit again, and what was done is taken up"


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
        dropped: list[Submitted] = []
        for line in self.lines:
            dropped += line.cut(line.waiting[0]) if line.waiting else []
            self._stop(line, reason)
        self._record(dropped, "cancelled", reason)

    def _obey(self) -> None:
        if self._to_end:
            self._to_end = False
            self.end_all(_SHUT_DOWN)
        if not self._to_look:
            return
        self._to_look = False
        for line in self.lines:
            if line.process and is_marked(line.left[0]):
                self._stop(line, who(line.left[0]))
                cancel_mark(line.left[0].job.folder).unlink()  # a stage that goes on all the same can be told again
            first = next((one for one in line.waiting if is_marked(one)), None)
            if first:
                self._cancel(line, first)

    def _stop(self, line: Line, reason: str) -> None:
        """Ask a running stage to stop.

        Of a training the first rank alone is asked, as all ranks agree on it: torchrun, whose ranks are no part of its
        process group, would end them 30 s after a SIGTERM, and a checkpoint may take longer.
        """
        if line.process is None:
            return
        one, first_time = line.left[0], line.told is None
        line.told = reason
        rank = self._first_rank(one.job) if one.job.stage == "training" and first_time else None
        with contextlib.suppress(ProcessLookupError):
            if rank is None:
                os.killpg(line.process.pid, signal.SIGTERM)
            else:
                os.kill(rank, signal.SIGUSR1)  # blocked until it listens, see `asking_blocked`

    def _first_rank(self, job: Job) -> int | None:
        """The process that has recorded that the stage runs, if that is known and the process is there."""
        try:
            last = last_of(self.registry.read(), job)
        except Meds1Error:  # unreadable just now
            return None
        started = last is not None and last.event == "started" and not gone_from_here(last)
        return int(last.job["pid"]) if last and started else None

    def _cancel(self, line: Line, first: Submitted) -> None:
        """Cancel a stage that waits, and those that build on it."""
        own, *others = line.cut(first)
        self._record([own], "cancelled", who(own))
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
            last = last_of(view, one.job)
            event, reason = (last.event, "") if last and last.event in TERMINAL else unsaid(one.job, code, told)
            if reason:
                self._record([one], event, reason)
            log.info("<== %s: %s: %s", one.job.experiment, one.job.stage, event)
            if event != "completed":
                self._record(line.left, "cancelled", because(one.job, event))
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
            except (OSError, subprocess.TimeoutExpired) as error:
                self._fail(line, f"it could not be started: {error}")
            free -= 1

    def _may_start(self, line: Line, view: View) -> bool:
        """Whether a line's next stage can start now; a line that never will is ended."""
        one = line.left[0]
        if is_marked(one):
            self._cancel(line, one)
            return False
        if line.after is not None:
            last = last_of(view, line.after)
            if last is not None and last.event in TERMINAL:
                fate = last.event
            elif last is not None and not gone_from_here(last):
                return False
            else:
                last = last_of(self.registry.read(), line.after)  # it may have ended in between
                fate = last.event if last and last.event in TERMINAL else "failed"
            if fate != "completed":
                self._record(line.cut(one), "cancelled", because(line.after, fate))
                return False
            line.after = None
        return not is_taken(view, one.job)

    def _launch(self, line: Line) -> None:
        one = line.left[0]
        # Unbuffered, so that a log can be followed.
        environ = {**environment(), LOCAL_JOB: one.id, "PYTHONUNBUFFERED": "1"}
        if self.gpus:
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(line.gpus)
        log.info("==> %s: %s: attempt %d, job %s", one.job.experiment, one.job.stage, one.job.attempt, one.id)
        shown = f"{one.id}_0_log"
        words = command(one.job, environ)
        out, err = one.job.folder / f"{shown}.out", one.job.folder / f"{shown}.err"
        with open(out, "ab") as stdout, open(err, "ab") as stderr, asking_blocked():
            line.process = subprocess.Popen(
                words, env=environ, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, process_group=0
            )

    def _fail(self, line: Line, reason: str) -> None:
        if self.gpus:
            self.gpus.give_back(line.gpus)
        own, *others = line.cut(line.left[0])
        self._record([own], "failed", reason)
        self._record(others, "cancelled", because(own.job, "failed"))

    def _record(self, jobs: list[Submitted], event: Event, reason: str) -> None:
        """Record how stages ended. A registry that cannot be written costs these records, not the other stages."""
        if not jobs:
            return
        for one in jobs:
            log.info("--- %s: %s: %s: %s", one.job.experiment, one.job.stage, event, reason)
        try:
            save_end(self.registry, [one.job for one in jobs], event, reason)
        except StageFailure as error:
            log.error("%s", error)


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
