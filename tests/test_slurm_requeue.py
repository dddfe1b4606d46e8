"""Which jobs come back by themselves on a real Slurm, how often, and what is recorded of those that do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from eval.stage import PARTIAL
from registry.job import Job
from tests.cluster.throwaway import Cluster
from tests.disturbance import (
    LONG,
    ONE_TASK,
    calls,
    ended,
    has_checkpoint,
    hold,
    keep,
    last,
    log_of,
    many_questions,
    preempt,
    shown,
    submit,
    submit_all,
    wait_until,
)
from tests.lab import Lab, make_lab
from tests.quick_lab import with_sbatch

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]


@pytest.fixture
def lab(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[Lab]:
    lab = make_lab(tmp_path / "lab", ONE_TASK)
    many_questions(lab, "eval.jsonl", 500)
    lab.edit("base", eval={"engine": "transformers", "max_tokens": 64})
    yield lab
    subprocess.run(["scancel", "--user", "root"], check=False)


def hold_eval(lab: Lab, *options: str) -> tuple[str, Job, int]:
    """Submit an eval and hold it still in the middle; returns its Slurm job, its attempt and its process."""
    job_id, job = submit(lab, "base", "eval", *options)
    copy = lab.folder / f"journal-{job.attempt}"
    return job_id, job, hold(lab, job, lambda: keep(Path(job.run_dir) / PARTIAL, copy))


def warn(job_id: str, pid: int) -> None:
    """Send what Slurm sends before a time limit, and let the job go."""
    subprocess.run(["scancel", "--signal=USR2", job_id], check=True)
    wait_until_pending(pid, signal.SIGUSR2)
    os.kill(pid, signal.SIGCONT)


def wait_until_pending(pid: int, number: signal.Signals) -> None:
    """Wait until a process that is held still has a signal to come."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        mask = next(line for line in status if line.startswith("ShdPnd:")).split()[1]
        if int(mask, 16) >> (number - 1) & 1:
            return
        time.sleep(0.005)  # Slurm needs the processor too


def test_a_job_comes_back_from_a_time_limit(lab: Lab) -> None:
    job_id, job, pid = hold_eval(lab)

    warn(job_id, pid)

    entry = ended(lab, job)
    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, 1), lab.logs()
    asked = calls(lab.folder / "journal-1")
    assert len(asked) == len(set(asked)) == 500


def test_one_element_of_an_array_comes_back_alone(lab: Lab) -> None:
    document = json.loads((lab.folder / "results.json").read_text())
    config = document["experiments"]["base"]["config"]
    document["experiments"]["other"] = {"config": {**config, "eval": {**config["eval"], "max_tokens": 4}}}
    (lab.folder / "results.json").write_text(json.dumps(document))
    (job_id, job), (_, other) = submit_all(lab, ["base", "other"], "eval")
    assert job_id.endswith("_0")
    pid = hold(lab, job, lambda: keep(Path(job.run_dir) / PARTIAL, lab.folder / "journal"))

    warn(job_id, pid)

    for each, restart in ((job, 1), (other, 0)):
        entry = ended(lab, each)
        assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, restart), lab.logs()


def test_a_preemption_that_only_sends_sigterm_is_told_from_a_cancellation(lab: Lab) -> None:
    # As where the cluster sends no user signal: the last argument of sbatch is the script.
    lab = with_sbatch(lab, 'sed -i "s/--signal=USR2@/--signal=TERM@/" "${@: -1}"')
    job_id, job, pid = hold_eval(lab)

    preempt(lab, job_id, pid)

    entry = ended(lab, job)
    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, 1), lab.logs()
    assert "stopped by SIGTERM" in log_of(job)


def test_a_cancelled_job_stays_away_and_the_next_attempt_goes_on_where_it_was(lab: Lab) -> None:
    job_id, _, _ = hold_eval(lab)

    subprocess.run(["scancel", job_id], check=True)  # Slurm lets a held process go itself

    wait_until(lambda: shown(job_id)["JobState"] == "CANCELLED", lab)
    status = lab.meds1("status", "base", "--json").stdout
    assert '"cancelled"' in status, status
    _, second = submit(lab, "base", "eval")
    entry = ended(lab, second)
    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 2, 0), lab.logs()
    asked = calls(lab.folder / "journal-1")
    assert len(asked) == len(set(asked)) == 500


def test_a_job_at_its_limit_of_restarts_ends_as_failed_and_does_not_start_again(lab: Lab) -> None:
    job_id, job, pid = hold_eval(lab, "--set", "slurm.eval.max_requeues=0")

    warn(job_id, pid)

    entry = ended(lab, job)
    assert entry["status"] == "failed"
    words = "it has come back as often as it may (slurm.eval.max_requeues is 0); go on from there with `meds1"
    assert words in entry["error"]
    wait_until(lambda: shown(job_id)["JobState"] == "FAILED", lab)
    subprocess.run(["scontrol", "requeue", job_id], check=True)
    wait_until(lambda: last(lab, job).restart == 1, lab)
    entry = ended(lab, job)
    assert (entry["status"], entry["restart"]) == ("failed", 1)
    assert "was not started again" in entry["error"]
    assert words in entry["error"]


def test_a_job_that_may_not_be_requeued_says_so(lab: Lab) -> None:
    job_id, job, pid = hold_eval(lab)
    subprocess.run(["scontrol", "update", f"JobId={job_id}", "Requeue=0"], check=True)

    warn(job_id, pid)

    entry = ended(lab, job)
    assert entry["status"] == "failed"
    assert "could not be requeued: Requested operation is presently disabled" in entry["error"]
    assert "requests are answered and kept in" in entry["error"]


@pytest.mark.full
def test_a_rank_that_is_lost_fails_the_job_for_good(lab: Lab) -> None:
    lab.edit("first", training_params=LONG)
    lab.meds1("run", "first", "--stage", "curation")
    job_id, job = submit(lab, "first", "training", "--set", "slurm.training.nodes=2")
    wait_until(lambda: has_checkpoint(job, processes=2), lab)
    (other,) = [process for process in psutil.process_iter() if is_rank(process, job_id, 1)]

    other.kill()

    wait_until(lambda: shown(job_id)["JobState"] == "FAILED", lab)
    assert shown(job_id)["Restarts"] == "0"
    assert '"failed"' in lab.meds1("status", "first", "--json").stdout


@pytest.mark.full
def test_a_training_whose_time_budget_is_used_up_comes_back_until_it_is_done(lab: Lab) -> None:
    lab.edit("first", training_params={**LONG, "num_epochs": 0.1, "time_budget": "0:00:00"})
    lab.meds1("run", "first", "--stage", "curation")
    _, job = submit(lab, "first", "training")

    entry = ended(lab, job)

    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, 1), lab.logs()
    assert "training is saved after step 1 of 1 " in log_of(job)
    assert "(its time budget is used up)" in log_of(job)


def is_rank(process: psutil.Process, job_id: str, rank: int) -> bool:
    """Whether a process is the one of this rank of the job's step."""
    try:
        environment, words = process.environ(), process.cmdline()
    except psutil.Error:
        return False
    own = (environment.get("SLURM_JOB_ID"), environment.get("SLURM_PROCID")) == (job_id, str(rank))
    return own and "slurm.entry" in words and "SLURM_STEP_ID" in environment
