"""Run a claimed attempt here: as one process, one per visible GPU, or one per task of the surrounding allocation."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from registry.attempt import LAUNCHED
from registry.effective import EffectiveConfig
from registry.errors import (
    EXIT_MISSING,
    EXIT_USAGE,
    Meds1Error,
    MissingError,
    StageFailure,
    StageStopped,
    UsageError,
)
from registry.history import Entry
from registry.job import Job, last_word
from registry.paths import CHECKOUT, stop_mark
from registry.provenance import restart_count
from registry.runner import record_failure
from registry.stage import MODULE
from registry.stopping import USER_SIGNALS

_SRUN = ("srun", "--kill-on-bad-exit=1")
# Slurm starts tasks with no signal blocked: a user signal would end a program that does not listen yet.
DEAF = ("bash", "-c", 'trap "" USR1 USR2; exec "$0" "$@"')
_ERRORS: dict[int, type[Meds1Error]] = {
    EXIT_USAGE: UsageError,
    EXIT_MISSING: MissingError,
}


def run_here(job: Job) -> Entry:
    """Run the attempt to its end and return its result; the error of a stage that fails is raised here too.

    A process of its own keeps the stages' libraries apart, and outlives nothing: if it is killed without a word, the
    failure is recorded for it.
    """
    code, interrupted = _run_to_the_end(command(job, os.environ))
    if stop_mark(job.folder, restart_count()).exists():
        raise StageStopped(f"{job.experiment}: {job.stage} stopped (attempt {job.attempt}); run it again to resume")
    registry = job.open()
    ended = last_word(registry, job)
    if ended is None:
        record_failure(job, without_a_word(code))
        ended = last_word(registry, job)
    if interrupted:
        raise KeyboardInterrupt  # also where the stage has completed all the same: nothing more is to start
    if code != 0 or ended is None:
        if ended and ended["status"] == "completed":
            raise StageFailure(
                f"{job.experiment}: {job.stage} completed (attempt {job.attempt}), but {registry.paths.root} could not "
                f"be written; its record is kept in {job.folder} until a command can: mend the folder"
            )
        kind = _ERRORS.get(code, StageFailure)
        why = (ended or {}).get("error")
        raise kind(f"{job.experiment}: {job.stage} did not complete (attempt {job.attempt}): {why}; see {job.folder}")
    return ended


def without_a_word(code: int) -> str:
    """How a process ended that left no record: `code` is its exit code, or a signal's number below 0."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"the process ended with {how} and left no record"


def _run_to_the_end(line: list[str]) -> tuple[int, bool]:
    """Run a command in a process group of its own; return its exit code, and whether a signal to end was handed on."""
    process = subprocess.Popen(line, env={**environment(), LAUNCHED: "1"}, process_group=0)
    received: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return process.wait(), bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def asking_blocked() -> Iterator[None]:
    """Block the user signals, which ask to stop, in what is started meanwhile.

    A stage that listens finds them pending, and a launcher such as torchrun does not die of them.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, USER_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def command(job: Job, environ: Mapping[str, str]) -> list[str]:
    """The command that runs the attempt's processes in the environment `environ`.

    In a job of slurm/*.sh it is a step, which Slurm warns of what comes, and which puts the job back into the queue.
    """
    comes_back = in_batch_script() and "MEDS1_BATCH_SCRIPT" in environ
    stage = ["-m", "slurm.entry"] if comes_back else ["-m", MODULE[job.stage], "--job"]
    if job.stage == "training" and in_batch_script() and int(environ.get("SLURM_NTASKS", "1")) > 1:
        return [*_SRUN, *DEAF, sys.executable, *stage, str(job.file)]
    processes = processes_here(job, environ)
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    line = [sys.executable, *(torchrun if processes > 1 else []), *stage, str(job.file)]
    return [*_SRUN, "--nodes=1", "--ntasks=1", *DEAF, *line] if comes_back else line


def environment(code: Path = CHECKOUT) -> dict[str, str]:
    """The environment of a stage's processes: `code`, a checkout or a snapshot of one, first on the path.

    Python itself would put the folder that the user stands in before it: with `-m` that is most often the checkout.
    """
    ours = ("", str(CHECKOUT), str(code))
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part not in ours]
    cpus = os.environ.get("SLURM_CPUS_PER_TASK")  # since Slurm 22.05 srun no longer reads it by itself
    more = {"SRUN_CPUS_PER_TASK": cpus} if cpus else {}
    path = os.pathsep.join([str(code), *others])
    return {**os.environ, **more, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "MEDS1_SNAPSHOT": str(code)}


def in_batch_script() -> bool:
    """Whether this is the batch script of a Slurm job, outside any step."""
    return "SLURM_JOB_ID" in os.environ and "SLURM_STEP_ID" not in os.environ


def processes_here(job: Job, environ: Mapping[str, str]) -> int:
    """One training process per visible GPU, at most as many per node as the experiment asks for; else one."""
    if job.stage != "training":
        return 1
    return max(1, min(gpus_wanted(job), len(visible_gpus(environ))))


def gpus_wanted(job: Job) -> int:
    """How many GPUs of one node the attempt asks for."""
    resources = getattr(EffectiveConfig.model_validate(job.config).slurm, job.stage)
    return int(resources.gpus)


def visible_gpus(environ: Mapping[str, str]) -> list[str]:
    """The GPUs that a process started here with `environ` would see, as CUDA_VISIBLE_DEVICES names them."""
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if shutil.which("nvidia-smi") is None:
        return []
    if chosen is not None:
        return [part.strip() for part in chosen.split(",") if part.strip()]
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    found = sum(line.startswith("GPU ") for line in listed.stdout.splitlines()) if listed.returncode == 0 else 0
    return [str(number) for number in range(found)]


def python_path_line(code: Path = CHECKOUT) -> str:
    """The shell line that puts `code` first on a job's path, as `environment` does."""
    path = f"{shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}"
    return f"export PYTHONPATH={path} PYTHONSAFEPATH=1 MEDS1_SNAPSHOT={shlex.quote(str(code))}"
