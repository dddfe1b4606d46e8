"""Batch jobs on a real Slurm cluster, started and stopped by the suite."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.throwaway import Cluster
from tests.lab import Lab, make_lab
from tests.quick_lab import QuickLab, make_quick_lab, on_cluster, until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

SMALL = {"curation": {"cpus": 2}, "training": {"nodes": 2, "cpus": 2}, "eval": {"cpus": 2}}


@pytest.fixture
def lab(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[Lab]:
    yield make_lab(tmp_path / "lab", SMALL)
    subprocess.run(["scancel", "--user", "root"], check=False)


@pytest.fixture
def quick(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    with on_cluster(make_quick_lab(tmp_path / "lab", ("first", "second"))) as lab:
        yield lab


def test_submit_runs_the_chain_and_training_spans_two_nodes(lab: Lab) -> None:
    lab.edit("first", eval={"engine": "vllm"})

    submitted = json.loads(lab.meds1("submit", "first", "--json").stdout)["data"]["jobs"]

    assert [job["stage"] for job in submitted] == ["curation", "training", "eval"]
    lab.wait("first", "eval")
    results = lab.results("first")
    assert {stage: entry["status"] for stage, entry in results.items()} == dict.fromkeys(
        ("curation", "training", "eval"), "completed"
    ), lab.logs()
    assert results["training"]["metrics"]["world_size"] == 2
    assert [results[job["stage"]]["job"]["id"] for job in submitted] == [job["job_id"] for job in submitted]
    assert results["eval"]["metrics"]["benchmarks"]["held-out"]["total_examples"] == 8
    shown = lab.folder / "cache" / "eval" / "first" / "eval_results.json"
    until(shown.is_file, "the result has its link")  # the link is switched once the record is saved
    again = lab.meds1("submit", "first").stdout
    assert again.count("completed and fresh") == 3


def test_a_submitted_stage_is_not_submitted_twice(quick: QuickLab) -> None:
    quick.tell("first", "curation", "wait")
    quick.submit("first")

    assert quick.submit("first", code=1) == {}

    shown = quick.ask("status", "first")["first"]
    assert shown["eval"]["status"] == "submitted"
    assert re.search(r"job \d+", shown["eval"]["reason"])


def test_a_requeued_job_keeps_its_attempt_and_raises_its_restart(quick: QuickLab) -> None:
    quick.tell("base", "eval", "wait")
    jobs = quick.submit("base")
    until(lambda: quick.headers("base", "eval")[-1].event == "started", "the job runs")

    subprocess.run(["scontrol", "requeue", jobs["base", "eval"]], check=True)

    until(lambda: quick.headers("base", "eval")[-1].restart == 1, "the job has started again")
    quick.let_go("base", "eval")
    quick.wait("base", "eval")
    entry = quick.results("base")["eval"]
    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, 1), quick.logs()


def test_a_sweep_submits_what_is_due_and_names_what_is_not(quick: QuickLab) -> None:
    done = quick.run(["slurm/curate_all.sh"])

    assert done.stdout.count("curation: job") == 2
    assert "base: curation: not part of this experiment" in done.stdout
    quick.wait("first", "curation")
    quick.wait("second", "curation")
    refused = quick.run(["slurm/eval_all.sh"], 3)
    assert "base: eval: job" in refused.stdout
    assert refused.stderr.count("eval needs training, which is missing") == 2


def test_a_stage_waits_for_a_parent_that_an_earlier_submission_left_in_flight(quick: QuickLab) -> None:
    quick.tell("first", "curation", "wait")
    quick.submit("first", "--stage", "curation")
    quick.submit("first", "--stage", "training")
    quick.let_go("first", "curation")

    quick.wait("first", "training")
    assert {entry["status"] for entry in quick.results("first").values()} == {"completed"}, quick.logs()


def test_what_sbatch_refuses_is_one_clear_line(quick: QuickLab) -> None:
    done = quick.meds1("submit", "base", "--set", "slurm.eval.partition=nowhere", code=2)

    assert "Traceback" not in done.stderr
    assert "base: sbatch refused eval" in done.stderr
    assert "partition" in done.stderr
