"""What an attempt records while it runs: `started`, and on the way out what became of it. Only rank 0 records."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from filelock import FileLock, Timeout

from registry.canonical import canonical
from registry.errors import Meds1Error, StageFailure, StageStopped, UsageError
from registry.gpu_time import gpu_time_field, gpus_of, leave
from registry.job import Job, save_end
from registry.paths import stop_mark
from registry.provenance import gather, now, process_start, restart_count, slurm_job_id, user_name
from registry.records import Event
from registry.secrets import masked
from registry.spending import spending_field
from registry.stage import StageOutput
from registry.store import Registry

log = logging.getLogger("meds1")
_TRACEBACK_LINES = 15
_LOCK_SECONDS = 15
_LOST_LOCK_SECONDS = 120  # after a node was lost, NFS may hold the lock of its processes for that long
_FIRST_WORD_SECONDS = 3
LOCAL_JOB = "MEDS1_LOCAL_JOB"  # the id of a job of the local cluster, in that job's environment
LAUNCHED = "MEDS1_LAUNCHED"  # set for the processes of an attempt whose launcher says how it ended
SUBMISSION = "MEDS1_SUBMISSION"  # the token of the submission that a Slurm job is of, in that job's environment


class Attempt:
    """Saves `started` and `completed` when told, and on an error `failed` or `cancelled`.

    A stage that stopped in order to be resumed records nothing: its attempt goes on with the next restart. It leaves a
    mark in its folder, because a launcher of several processes hides their exit code.
    """

    def __init__(self, registry: Registry, job: Job) -> None:
        self.registry, self.job = registry, job
        self.identity, self.provenance, self.clock = job_identity(), gather(job.folder), time.monotonic()
        self.interrupted = self.completed = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Attempt:
        self._listen()
        return self

    def start(self) -> None:
        """Save that the attempt runs from now on; `StageFailure`, before hours are spent, when it cannot be saved."""
        self.job.save(self.registry, "started", {"job": self.identity}, self.provenance)

    def complete(self, output: StageOutput) -> dict[str, Any]:
        """Save the result and return it; `StageFailure` when it holds what no record can."""
        result = {
            "job": self.identity,
            **{key: str(path) for key, path in output.artifacts.items()},
            "metrics": dict(output.metrics),
            "run_dir": self.job.run_dir,
            "link": str(output.link),
        }
        try:
            canonical(result)
        except UsageError as error:
            raise StageFailure(
                f"{self.job.experiment}: {self.job.stage}: its result cannot be recorded: {error}; "
                f"what it made is in {self.job.run_dir}"
            ) from None
        with uninterrupted():
            self.completed = True
            result |= self._taken()
            self.job.save(self.registry, "completed", result, self._ended())
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self.completed:
            return
        with uninterrupted():
            if error is None:  # a shard, whose result is the merge's
                self._leave_time()
            else:
                self._record_end(kind, error, trace)

    def _listen(self) -> None:
        """Note an interrupt: a library in the middle of an import makes an error of its own out of it."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is signal.default_int_handler:
                self._handlers[number] = signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        raise KeyboardInterrupt

    def _record_end(self, kind: type[BaseException] | None, error: BaseException, trace: TracebackType | None) -> None:
        others = [file.read_text() for file in sorted(self.job.folder.glob(f"rank-*-{restart_count()}.txt"))]
        if isinstance(error, StageStopped) and not others:
            self._leave_time()
            try:
                stop_mark(self.job.folder, restart_count()).touch()
            except OSError as full:  # the stop itself is the error to be raised
                log.error("%s: cannot be marked as stopped: %s", self.job.folder, full.strerror)
            return
        ended = self.interrupted or isinstance(error, KeyboardInterrupt | StageStopped)
        event: Event = "cancelled" if ended else "failed"
        text = masked("".join(traceback.format_exception(kind, error, trace)))
        shown = _one_line(error, text)
        if others and ended:  # the launcher ended this rank because another one had failed
            event, text = "failed", others[0]
            shown = f"another rank failed: {text.strip().splitlines()[-1]}"
        result = {
            "job": self.identity,
            "error": masked(shown),
            "traceback": text.splitlines()[-_TRACEBACK_LINES:],
            "log": str(self.job.folder),
            **self._taken(),
        }
        try:
            save_end(self.registry, self.job, event, result, self._ended())
            if isinstance(error, Meds1Error):
                error.recorded = True
        except StageFailure as unsaved:  # what ended the stage is the error to be raised
            log.error("%s", unsaved)
        with contextlib.suppress(OSError):  # a full disk, say: the record has the end of it
            (self.job.folder / "traceback.txt").write_text(text)
        fold_or_warn(self.registry)
        if isinstance(error, StageStopped):
            raise StageFailure(f"{self.job.experiment}: {self.job.stage}: {masked(shown)}") from error

    def _leave_time(self) -> None:
        gpus = gpus_of(self.job, self.provenance["gpus"])
        leave(self.job.folder, restart_count(), gpus, time.monotonic() - self.clock)

    def _taken(self) -> dict[str, Any]:
        self._leave_time()
        return taken(Path(self.job.run_dir))

    def _ended(self) -> dict[str, Any]:
        return {**self.provenance, "ended": now(), "seconds": round(time.monotonic() - self.clock, 3)}


class OtherRank:
    """Leaves the traceback of a rank that is not 0 in the attempt's folder, for rank 0 to record."""

    def __init__(self, job: Job, rank: int) -> None:
        self.file = job.folder / f"rank-{rank}-{restart_count()}.txt"

    def __enter__(self) -> OtherRank:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, StageStopped | KeyboardInterrupt):
            self.file.write_text(masked("".join(traceback.format_exception(kind, error, trace))))
            time.sleep(_FIRST_WORD_SECONDS)  # the launcher ends rank 0, which may be about to say the same


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore signals to end, or to stop, while an end is being recorded. Without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def sole_user(run_dir: Path, experiment: str) -> Iterator[None]:
    """Keep a second attempt out of a run directory while one is at work there; `StageFailure` for the second.

    The lock ends with its process. Where the file system has none, two attempts must be kept apart by their users.
    """
    # A lock that is only a file would outlive a killed process.
    patience = _LOST_LOCK_SECONDS if restart_count() else _LOCK_SECONDS
    lock = FileLock(run_dir / ".lock", timeout=patience, mode=0o664, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise StageFailure(f"{experiment}: another attempt is at work in {run_dir}; wait until it has ended") from None
    except OSError as error:
        log.warning("%s: the file system grants no lock (%s); run one attempt at a time", run_dir, error)
    try:
        yield
    finally:
        lock.release()


def job_identity() -> dict[str, Any]:
    """Where this process runs and for whom, so that anyone can see whether it still does."""
    pid = os.getpid()
    here: dict[str, Any] = {"host": socket.gethostname(), "pid": pid, "start": process_start(pid), "user": user_name()}
    if "SLURMD_NODENAME" in os.environ:
        here["node"] = os.environ["SLURMD_NODENAME"]
    if LOCAL_JOB in os.environ:
        return {"cluster": "local", "id": os.environ[LOCAL_JOB], **here}
    job = slurm_job_id()
    if job is None:
        return {"cluster": "here", **here}
    token = {"token": os.environ[SUBMISSION]} if SUBMISSION in os.environ else {}
    return {"cluster": "slurm", "id": job, **token, **here}


def taken(run_dir: Path) -> dict[str, Any]:
    """What a stage has taken so far, over all its attempts: fields of a result."""
    return {**spending_field(run_dir), **gpu_time_field(run_dir)}


def fold_or_warn(registry: Registry) -> None:
    """Fold; whatever keeps it from that costs no result."""
    try:
        report = registry.fold()
    except Meds1Error as error:
        log.warning("saved, but not yet in the registry file: %s", error)
        return
    if report.skipped:
        log.warning("saved; the registry file is left to the next fold: %s", report.skipped)
    for warning in report.warnings:
        log.warning("%s", warning)


def _one_line(error: BaseException, text: str) -> str:
    return str(error) if isinstance(error, Meds1Error) else text.strip().splitlines()[-1]
