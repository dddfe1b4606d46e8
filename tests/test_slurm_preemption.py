"""Preempted by the partition `high` on a real Slurm: what comes out is what comes out undisturbed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from eval.stage import PARTIAL
from registry.job import Job, load_job
from tests.cluster import throwaway
from tests.cluster.throwaway import Cluster
from tests.disturbance import (
    LONG,
    ONE_TASK,
    calls,
    ended,
    has_checkpoint,
    hold,
    keep,
    log_of,
    many_questions,
    preempt,
    shown,
    submit,
    wait_until,
)
from tests.lab import Lab, make_lab
from tests.tiny import NEEDS_VLLM
from tests.training_case import losses

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]


class Training:
    """The result of a training; equal to another one with the same loss at every step and the same weights."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.steps: int = entry["metrics"]["steps_this_attempt"]
        self.made = [
            losses(entry),
            (Path(entry["model_path"]) / "model.safetensors").read_bytes(),
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Training) and self.made == other.made


@pytest.fixture
def lab(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[Lab]:
    yield make_lab(tmp_path / "lab", ONE_TASK)
    subprocess.run(["scancel", "--user", "root"], check=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """What the long training becomes when nobody disturbs it."""
    lab = make_lab(tmp_path_factory.mktemp("undisturbed"))
    lab.edit("first", training_params=LONG)
    lab.meds1("run", "first", "--stage", "curation", "--stage", "training")
    return Training(lab.results("first")["training"])


def begin(lab: Lab, *options: str) -> tuple[str, Job]:
    """Submit the long training."""
    lab.edit("first", training_params=LONG)
    lab.meds1("run", "first", "--stage", "curation")
    return submit(lab, "first", "training", *options)


def test_a_preempted_training_becomes_the_model_that_it_becomes_undisturbed(lab: Lab, undisturbed: Training) -> None:
    job_id, job = begin(lab)

    preempt(lab, job_id, hold(lab, job, lambda: has_checkpoint(job)))

    entry = ended(lab, job)
    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, 1), lab.logs()
    assert 0 < Training(entry).steps < undisturbed.steps == 120
    assert Training(entry) == undisturbed
    assert "training is saved after step" in log_of(job)


@pytest.mark.full
def test_a_training_whose_node_is_lost_goes_on_from_its_last_checkpoint(
    lab: Lab, undisturbed: Training, slurm_cluster: Cluster
) -> None:
    job_id, job = begin(lab)
    hold(lab, job, lambda: has_checkpoint(job))
    node = shown(job_id)["NodeList"]

    throwaway.kill_node(slurm_cluster, node)
    throwaway.start_node(slurm_cluster, node)

    entry = ended(lab, job)
    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, 1), lab.logs()
    assert 0 < Training(entry).steps < undisturbed.steps
    assert Training(entry) == undisturbed


@pytest.mark.full
def test_two_ranks_on_two_nodes_are_preempted_in_the_middle_of_a_training(lab: Lab) -> None:
    two = ("--set", "slurm.training.nodes=2")
    job_id, job = begin(lab, *two)

    preempt(lab, job_id, hold(lab, job, lambda: has_checkpoint(job, processes=2)))

    entry = ended(lab, job)
    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, 1), lab.logs()
    assert entry["metrics"]["world_size"] == 2
    assert 0 < Training(entry).steps < 120
    again = make_lab(lab.folder.parent / "again", ONE_TASK)
    _, job = begin(again, *two)
    assert Training(ended(again, job)) == Training(entry)


@pytest.mark.full
def test_a_preempted_script_comes_back_too(lab: Lab, tmp_path: Path) -> None:
    many_questions(lab, "eval.jsonl", 500)
    lab.edit("base", eval={"engine": "transformers", "max_tokens": 64})
    flags = ["--gpus-per-node=0", "--mem=0", "--cpus-per-task=1", f"--output={tmp_path}/log", "--open-mode=append"]
    job_id = lab.run(["sbatch", "--parsable", *flags, "slurm/eval.sh", "base"]).stdout.strip()
    wait_until(lambda: lab.registry.read().state.headers("base", "eval"), lab)
    (file,) = (lab.folder / "cache" / "runs" / "base" / "eval").glob("*/attempts/1/job.json")
    job = load_job(file)
    copy = tmp_path / "journal"

    preempt(lab, job_id, hold(lab, job, lambda: keep(Path(job.run_dir) / PARTIAL, copy)))

    entry = ended(lab, job)
    assert (entry["status"], entry["restart"]) == ("completed", 1), (tmp_path / "log").read_text()
    asked = calls(copy)
    assert len(asked) == len(set(asked)) == 500


@pytest.mark.parametrize("engine", ["transformers", pytest.param("vllm", marks=[NEEDS_VLLM, pytest.mark.full])])
def test_a_preempted_eval_asks_no_question_twice(lab: Lab, tmp_path: Path, engine: str) -> None:
    """vLLM with an engine process of its own, as on GPUs, which gets the signal too."""
    many_questions(lab, "eval.jsonl", 500)
    lab.edit("base", eval={"engine": engine, "max_tokens": 64})
    lab = Lab(lab.folder, {**lab.environment, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"})
    job_id, job = submit(lab, "base", "eval")
    copy = tmp_path / "journal"

    pid = hold(lab, job, lambda: keep(Path(job.run_dir) / PARTIAL, copy))
    preempt(lab, job_id, pid)

    entry = ended(lab, job)
    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, 1), lab.logs()
    assert entry["metrics"]["benchmarks"]["held-out"]["total_examples"] == 500
    asked = calls(copy)
    assert len(asked) == len(set(asked)) == 500
    assert "of 500 requests are answered and kept in" in log_of(job)


def test_a_preempted_curation_asks_the_model_nothing_twice(lab: Lab) -> None:
    many_questions(lab, "train.jsonl", 500)
    difficulty = {"engine": "transformers", "max_tokens": 64, "pass_rate": [0.0, 1.0]}
    lab.edit("first", curation={"method": "all", "difficulty": difficulty})
    job_id, job = submit(lab, "first", "curation")

    def journals() -> list[Path]:
        return sorted((lab.folder / "cache" / "shared" / "answers").glob("*/*.jsonl"))

    def has_answer() -> bool:
        return any(journal.stat().st_size for journal in journals())

    preempt(lab, job_id, hold(lab, job, has_answer))

    entry = ended(lab, job)
    assert (entry["status"], entry["attempt"], entry["restart"]) == ("completed", 1, 1), lab.logs()
    asked = [call for journal in journals() for call in calls(journal)]
    assert len(asked) == len(set(asked)) == 500
