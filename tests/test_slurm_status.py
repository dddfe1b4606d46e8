"""`meds1 status` on a real Slurm: why a stage waits, what kept it from starting, and a queue that cannot be asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.paths import stop_mark
from tests.cluster import throwaway
from tests.cluster.throwaway import Cluster
from tests.lab import Lab
from tests.quick_lab import QuickLab, make_quick_lab, on_cluster, until
from tests.small_lab import answer_of, make_small_lab, save, without_slurm

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

HELD = "slurm.curation.extra.hold=true"


@pytest.fixture
def lab(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    with on_cluster(make_quick_lab(tmp_path / "lab", ("first", "second"))) as lab:
        yield lab


def shown(lab: Lab, name: str = "first") -> dict[str, Any]:
    """What status says of an experiment, by an answer of its own."""
    lab.registry.paths.queue.unlink(missing_ok=True)
    found: dict[str, Any] = answer_of(lab, "status", name)["data"][name]
    return found


def settled(lab: Lab, name: str = "first") -> dict[str, Any]:
    """The same, once nothing waits or runs."""
    for _ in range(120):
        found = shown(lab, name)
        if not any(stage["status"] in ("submitted", "running", "unknown") for stage in found.values()):
            return found
        time.sleep(0.5)
    raise AssertionError(f"{name} has not settled: {found}\n{lab.logs()}")


def sleeper(lab: Lab, comment: str = "none") -> str:
    """A job of no experiment that would run for long."""
    command = ["sbatch", "--parsable", "--hold", f"--comment={comment}", "-o", "/dev/null", "--wrap", "sleep 600"]
    return lab.run(command).stdout.strip()


def test_why_each_stage_of_a_chain_waits(lab: QuickLab) -> None:
    lab.meds1("submit", "first", "--set", HELD)

    found: dict[str, Any] = {}

    def has_reasons() -> bool:
        """Between two passes of its scheduler Slurm may name none for a moment."""
        found.update(shown(lab))
        return all(": " in stage["reason"] for stage in found.values())

    until(has_reasons, "Slurm names its reasons")
    assert {stage["status"] for stage in found.values()} == {"submitted"}
    job = found["curation"]["job_id"]
    assert found["curation"]["reason"] == f"job {job}: held; `scontrol release` lets it go on"
    assert found["training"]["reason"].endswith(": waits for curation")
    assert found["eval"]["reason"].endswith(": waits for training")
    assert (found["eval"]["user"], found["eval"]["attempt"], found["eval"]["restart"]) == ("root", 1, 0)


def test_children_of_a_failed_stage_are_cancelled_and_name_the_cause(lab: QuickLab) -> None:
    lab.tell("first", "curation", "fail")
    lab.meds1("submit", "first")

    found = settled(lab)

    assert (found["curation"]["status"], found["curation"]["reason"]) == ("failed", "first: told to fail")
    for stage in ("training", "eval"):
        assert (found[stage]["status"], found[stage]["reason"]) == ("cancelled", "curation failed (attempt 1)")
    line = next(line for line in lab.meds1("status").stdout.splitlines() if line.startswith("first"))
    assert "training: curation failed (attempt 1)" in line
    assert "3 experiments; curation: 1 failed, 1 missing; training:" in lab.meds1("status").stdout


def test_unknown_while_the_controller_is_down_and_the_jobs_go_on_when_it_is_back(
    lab: QuickLab, slurm_cluster: Cluster
) -> None:
    lab.meds1("submit", "first", "--stage", "curation", "--set", HELD)
    job = shown(lab)["curation"]["job_id"]
    answer = json.loads(lab.registry.paths.queue.read_text())
    answer["taken"] -= 3600
    lab.registry.paths.queue.write_text(json.dumps(answer))
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(answer["taken"]))

    with throwaway.controller_down(slurm_cluster):
        found = answer_of(lab, "status", "first")["data"]["first"]["curation"]
    assert found["status"] == "unknown"
    assert found["reason"].startswith(f"since {since}: job {job}: squeue does not answer: ")

    assert shown(lab)["curation"]["status"] == "submitted"
    subprocess.run(["scontrol", "release", job], check=True)
    lab.wait("first", "curation")
    assert lab.results("first")["curation"]["status"] == "completed", lab.logs()


def test_without_accounting_the_same_is_said(tmp_path: Path) -> None:
    with throwaway.fresh(ACCT="0") as cluster:
        lab = make_quick_lab(tmp_path / "lab", ("first", "second"))
        lab = replace(lab, environment={**lab.environment, "SLURM_CONF": str(cluster.conf)})
        lab.meds1("submit", "second", "--stage", "curation")
        lab.meds1("submit", "first", "--set", HELD)
        lab.wait("second", "curation")
        job = shown(lab)["curation"]["job_id"]
        lab.run(["scancel", job])

        found = settled(lab)

    assert found["curation"]["reason"] == f"job {job} was cancelled before it started"
    assert found["eval"]["reason"] == "curation cancelled (attempt 1)"
    assert lab.results("second")["curation"]["status"] == "completed", lab.logs()


@pytest.fixture
def records(slurm_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab whose attempts are records alone, of jobs that do nothing."""
    yield make_small_lab(tmp_path / "lab", monkeypatch)
    subprocess.run(["scancel", "--user", "root"], check=False)


def renew_answer(lab: Lab) -> None:
    """Let the shared answer be one of this moment: on a busy machine it gets too old between two commands."""
    answer = json.loads(lab.registry.paths.queue.read_text())
    lab.registry.paths.queue.write_text(json.dumps(answer | {"taken": time.time()}))


def slurm_job(number: str) -> dict[str, str]:
    return {"cluster": "slurm", "id": number, "user": "root"}


def test_an_answer_is_shared_and_judges_nothing_that_is_newer(records: Lab) -> None:
    save(records, "base", "eval", "submitted", job=slurm_job(sleeper(records)))
    first = answer_of(records, "status", "base")["data"]["base"]["eval"]
    save(records, "tuned", "curation", "submitted", job=slurm_job("1"))

    blind = without_slurm(records)
    renew_answer(records)
    second = answer_of(blind, "status", "base")["data"]["base"]["eval"]
    renew_answer(records)
    newer = answer_of(blind, "status", "tuned")["data"]["tuned"]["curation"]

    assert first == second
    assert first["reason"].endswith("lets it go on")
    assert (newer["status"], newer["reason"]) == ("submitted", "job 1")
    assert shown(records, "tuned")["curation"]["reason"] == "job 1 is gone without a record"


def test_a_job_with_the_id_of_a_lost_one_is_another_job(records: Lab) -> None:
    number = sleeper(records)
    save(records, "base", "eval", "submitted", job={**slurm_job(number), "token": "of-another-cluster"})

    assert shown(records, "base")["eval"]["reason"] == f"job {number} is gone without a record"
    assert "nothing to cancel" in records.meds1("cancel", "base", "--yes").stdout


def test_a_stop_is_known_whosever_cache_the_attempt_is_in(records: Lab, tmp_path: Path) -> None:
    job = save(records, "base", "eval", "started", job=slurm_job("1"))
    stop_mark(job.folder, 0).touch()
    other = Lab(records.folder, {**records.environment, "CACHE_DIR": str(tmp_path)})

    assert shown(other, "base")["eval"]["reason"] == "job 1 stopped after saving; run it again to resume"


def test_an_answer_of_before_a_job_started_does_not_say_that_it_waits(records: Lab) -> None:
    job = save(records, "base", "eval", "submitted", job=slurm_job(sleeper(records)))
    answer_of(records, "status", "base")
    header = records.registry.read().state.headers("base", "eval")[-1]
    records.registry.save(job.record("started", {"job": dict(header.job)}))

    assert answer_of(records, "status", "base")["data"]["base"]["eval"]["status"] == "running"


def test_one_squeue_and_one_sacct_for_many_jobs(records: Lab) -> None:
    tools = records.folder / "counted"
    tools.mkdir()
    for tool in ("squeue", "sacct"):
        real = shutil.which(tool)
        (tools / tool).write_text(f'#!/bin/sh\necho call >>{tools}/{tool}.calls\nexec {real} "$@"\n')
        (tools / tool).chmod(0o755)
    watched = Lab(records.folder, {**records.environment, "PATH": f"{tools}{os.pathsep}{records.environment['PATH']}"})
    save(records, "base", "eval", "submitted", job=slurm_job(sleeper(records)))
    for number in range(1, 6):
        save(records, "tuned", "curation", "submitted", job=slurm_job(f"{number}_0"))

    lines = watched.meds1("status").stdout

    assert "job 5_0 is gone without a record" in lines
    assert [(tools / f"{tool}.calls").read_text() for tool in ("squeue", "sacct")] == ["call\n", "call\n"]


def test_watch_tells_each_change_and_ends_with_the_last_job(records: Lab) -> None:
    job = sleeper(records)
    save(records, "base", "eval", "submitted", job=slurm_job(job))
    command = [str(Path(__file__).parents[1] / "bin" / "meds1"), "status", "base", "--watch"]
    with subprocess.Popen(command, env=dict(records.environment), stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert f"base: eval: submitted: job {job}: held" in watching.stdout.readline()
        subprocess.run(["scancel", job], check=True)
        rest = watching.stdout.read()
    assert f"job {job} was cancelled before it started" in rest.splitlines()[-1]
    assert watching.returncode == 0
