"""Stages as background processes of this machine."""

from __future__ import annotations

import os
import shlex
import signal
import time
from pathlib import Path

from registry.console import speak
from registry.errors import MissingError
from registry.job import Job, last_word, load_job
from registry.plan import gone_from_here
from registry.records import TERMINAL
from slurm.launch import environment, run_here

_LOCAL_TIMEOUT_MIN = 60 * 24 * 30
_POLL_SECONDS = 1.0


def to_background(job: Job, parent: Path | None) -> str:
    """Start a claimed stage, which waits for the attempt whose `job.json` is `parent`; returns its process id."""
    import submitit

    os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    executor = submitit.LocalExecutor(folder=job.folder)
    # submitit hides every GPU from a background job that asks for none.
    seen = "unset CUDA_VISIBLE_DEVICES" if visible is None else f"export CUDA_VISIBLE_DEVICES={shlex.quote(visible)}"
    executor.update_parameters(timeout_min=_LOCAL_TIMEOUT_MIN, setup=[seen])
    return str(executor.submit(run_in_background, str(job.file), str(parent) if parent else None).job_id)


def run_in_background(job_file: str, parent_file: str | None) -> None:
    """Run a claimed attempt as a background process of this machine, after its parent attempt."""
    speak()
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    job = load_job(Path(job_file))
    if parent_file is not None:
        _wait_for(load_job(Path(parent_file)))
    run_here(job)


def _wait_for(parent: Job) -> None:
    registry = parent.open()
    while True:
        headers = registry.read().state.headers(parent.experiment, parent.stage)
        own = [header for header in headers if header.attempt == parent.attempt]
        if own and own[-1].event in TERMINAL:
            return  # whether it completed is checked when the stage starts
        if own and gone_from_here(own[-1]) and last_word(registry, parent) is None:
            raise MissingError(f"{parent.experiment}: {parent.stage} ended without a result; see {parent.folder}")
        time.sleep(_POLL_SECONDS)
