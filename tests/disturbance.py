"""Batch jobs that are disturbed in the middle of their work, never by the clock: held still, disturbed, let go."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.history import Header
from registry.job import Job, load_job
from registry.paths import job_file
from registry.schema import Stage
from tests.lab import Lab
from tests.stages import record, write_jsonl
from train.checkpoints import checkpoint_folder, find_newest

ONE_TASK = {stage: {"cpus": 1} for stage in ("curation", "training", "eval")}
LONG = {
    "learning_rate": 1e-3,
    "total_batch_size": 4,
    "num_epochs": 20,  # 6 steps each, and a checkpoint
    "gradient_checkpointing": False,
}
LIMIT_SECONDS = 240


def wait_until(condition: Callable[[], object], lab: Lab) -> None:
    """Wait for a condition; fail with the jobs' logs when it takes too long."""
    end = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < end, lab.logs()
        time.sleep(0.005)


def submit(lab: Lab, name: str, stage: Stage, *options: str) -> tuple[str, Job]:
    """Submit one stage; returns its Slurm job's id and the claimed attempt."""
    (sent,) = submit_all(lab, [name], stage, *options)
    return sent


def submit_all(lab: Lab, names: list[str], stage: Stage, *options: str) -> list[tuple[str, Job]]:
    """Submit one stage of several experiments."""
    done = lab.meds1("submit", *names, "--stage", stage, "--json", *options)
    found = []
    for sent in json.loads(done.stdout)["data"]["jobs"]:
        header = lab.registry.read().state.headers(sent["experiment"], stage)[-1]
        run_dir = lab.folder / "cache" / "runs" / sent["experiment"] / stage / header.fingerprint[:12]
        found.append((sent["job_id"], load_job(job_file(run_dir, sent["attempt"]))))
    return found


def last(lab: Lab, job: Job) -> Header:
    """The newest header of the job's stage."""
    return lab.registry.read().state.headers(job.experiment, job.stage)[-1]


def hold(lab: Lab, job: Job, reached: Callable[[], object]) -> int:
    """Wait until the job has come so far, and hold its first process still; returns its number."""
    wait_until(lambda: last(lab, job).event == "started", lab)
    pid = int(last(lab, job).job["pid"])
    wait_until(reached, lab)
    os.kill(pid, signal.SIGSTOP)
    assert last(lab, job).event == "started", "it was too quick"
    return pid


def preempt(lab: Lab, job_id: str, pid: int) -> None:
    """Preempt the held job by one of the partition `high` that wants both nodes; let go once Slurm has told it."""
    urgent = ["--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true"]
    subprocess.run(["sbatch", *urgent], check=True, capture_output=True)
    wait_until(lambda: shown(job_id)["PreemptTime"] != "None", lab)
    os.kill(pid, signal.SIGCONT)


def shown(job_id: str) -> dict[str, str]:
    """What `scontrol` says of a job."""
    done = subprocess.run(["scontrol", "show", "job", "-o", job_id], check=True, capture_output=True, text=True)
    return dict(re.findall(r"(\w+)=(\S*)", done.stdout))


def has_checkpoint(job: Job, processes: int = 1) -> bool:
    """Whether a training has saved a checkpoint."""
    return find_newest(checkpoint_folder(Path(job.run_dir), processes)).newest is not None


def keep(journal: Path, copy: Path) -> bool:
    """Give a journal that holds an answer a second name, so that it outlives its end; whether there was one."""
    if not journal.is_file() or not journal.stat().st_size:
        return False
    copy.hardlink_to(journal)
    return True


def calls(journal: Path) -> list[tuple[str, int]]:
    """The request and sample of every answer that a model was asked for."""
    return [(line["id"], line["index"]) for line in map(json.loads, journal.read_text().splitlines())]


def many_questions(lab: Lab, file: str, number: int) -> None:
    """Make a file of the lab's long enough to be caught in the middle."""
    write_jsonl(lab.folder / file, [record(each, "ABCD"[each % 4]) for each in range(number)])


def ended(lab: Lab, job: Job) -> dict[str, Any]:
    """The result of the job's stage once it has ended."""
    lab.wait(job.experiment, job.stage, LIMIT_SECONDS)
    entry: dict[str, Any] = lab.results(job.experiment)[job.stage]
    return entry


def log_of(job: Job) -> str:
    """All that the job has said."""
    return "".join(file.read_text() for file in sorted(job.folder.glob("*_log.err")))
