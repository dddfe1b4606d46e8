"""`sbatch slurm/curate.sh NAME`, train.sh and eval.sh, from a fresh clone on a real Slurm cluster; with bash: here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.schema import Stage
from slurm.snapshot import snapshot
from tests.lab import CHECKOUT, Lab, make_lab
from tests.quick_lab import until

pytestmark = pytest.mark.timeout(600)
SMALL = ("--gpus-per-node=0", "--mem=0", "--cpus-per-task=2", "--time=10", "--nodes=1", "--ntasks-per-node=1")
WAIT_SECONDS = 240
LONG = {"learning_rate": 1e-3, "total_batch_size": 4, "num_epochs": 25}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path / "lab")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone of the project as it stands here, uncommitted changes included."""
    root = tmp_path / "a clone"
    subprocess.run(["git", "clone", "-q", str(CHECKOUT), str(root)], check=True)
    shutil.copytree(snapshot(CHECKOUT, tmp_path / "snapshots"), root, dirs_exist_ok=True, copy_function=_copy)
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o755)
    return root


def _copy(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    shutil.copy(source, target)


def sbatch(lab: Lab, folder: Path, *arguments: str, code: int | None = 0) -> str:
    """Submit from `folder` after `source config.sh`, wait for the job's end, and return what it said."""
    said = lab.folder / "job.out"
    line = ["sbatch", "--wait", f"--output={said}", *SMALL, *arguments]
    script = 'source "$1/config.sh" && cd "$2" && shift 2 && exec "$@"'
    root = next(path for path in (folder, *folder.parents) if (path / "config.sh").exists() or path == Path("/"))
    root = root if root != Path("/") else CHECKOUT
    lab.run(["bash", "-c", script, "-", str(root), str(folder), *line], code)
    return said.read_text()


def events(lab: Lab, name: str, stage: Stage) -> list[tuple[int, str]]:
    return [(header.attempt, header.event) for header in lab.registry.read().state.headers(name, stage)]


def job_of(job: str) -> str:
    """What Slurm says of a job."""
    line = ["scontrol", "show", "job", "--oneliner", job]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


@pytest.mark.slurm
@pytest.mark.full
def test_each_stage_runs_from_a_fresh_clone_in_the_allocation_that_it_gets(lab: Lab, clone: Path) -> None:
    sbatch(lab, clone, "slurm/curate.sh", "second")
    sbatch(lab, clone, "--nodes=2", "slurm/train.sh", "second")
    sbatch(lab, clone / "slurm", "eval.sh", "second", "--set", "eval.limit=4")  # also from a folder in the clone

    results = lab.results("second")
    assert {stage: entry["status"] for stage, entry in results.items()} == dict.fromkeys(
        ("curation", "training"), "completed"
    )
    assert results["training"]["metrics"]["world_size"] == 2
    assert results["curation"]["metrics"]["funnel"]["total"] == 24
    assert results["training"]["provenance"]["git"]["commit"]
    assert events(lab, "second", "eval")[-1] == (1, "completed")


@pytest.mark.slurm
def test_a_script_that_is_submitted_from_elsewhere_says_what_to_do(lab: Lab, clone: Path, tmp_path: Path) -> None:
    said = sbatch(lab, tmp_path, str(clone / "slurm" / "eval.sh"), "base", code=2)
    assert said == "eval.sh: submit it from the checkout: cd med-s1 && sbatch slurm/eval.sh EXPERIMENT\n"


@pytest.fixture
def training(lab: Lab, clone: Path) -> Iterator[str]:
    """The id of a job of train.sh on two nodes that has written a checkpoint and has long to go."""
    lab.edit("first", training_params=LONG)
    lab.meds1("run", "first", "--stage", "curation")
    line = ["sbatch", "--parsable", f"--output={lab.folder}/job.out", *SMALL, "--nodes=2", "slurm/train.sh", "first"]
    job = lab.run(["bash", "-c", 'cd "$0" && exec "$@"', str(clone), *line]).stdout.strip()
    saved = "cache/runs/first/training/*/checkpoints/*/checkpoint-*/complete.json"
    until(lambda: list(lab.folder.glob(saved)), "a checkpoint is saved", WAIT_SECONDS)
    yield job
    subprocess.run(["scancel", job], check=False)


@pytest.mark.slurm
def test_a_training_that_is_warned_comes_back_and_one_that_is_cancelled_stays_away(lab: Lab, training: str) -> None:
    subprocess.run(["scancel", "--signal=USR2", training], check=True)  # what Slurm does before a time limit
    until(lambda: (2, "started") in events(lab, "first", "training"), "it starts again", WAIT_SECONDS)
    assert events(lab, "first", "training")[-1] == (2, "started"), (lab.folder / "job.out").read_text()

    subprocess.run(["scancel", training], check=True)

    def is_gone() -> bool:
        return "JobState=CANCELLED " in job_of(training) and "COMPLETING" not in job_of(training)

    until(is_gone, "the job is cancelled", WAIT_SECONDS)
    assert "Restarts=1 " in job_of(training)
    assert events(lab, "first", "training")[-1][0] == 2


@pytest.mark.slurm
@pytest.mark.full
def test_a_training_that_is_preempted_comes_back_by_itself(lab: Lab, training: str) -> None:
    urgent = ["sbatch", "--parsable", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null"]
    subprocess.run([*urgent, "--wrap", "true"], check=True)

    until(lambda: (2, "completed") in events(lab, "first", "training"), "the training completes", WAIT_SECONDS)
    entry = lab.results("first")["training"]
    assert (entry["restart"], entry["job"]["id"]) == (1, training), (lab.folder / "job.out").read_text()
    assert 0 < entry["metrics"]["steps_this_attempt"] < entry["metrics"]["steps"]


def test_with_bash_a_script_runs_here_without_slurm(lab: Lab, clone: Path) -> None:
    line = ["bash", "-c", 'cd "$0/docs" && exec bash ../slurm/eval.sh base --set eval.limit=2', str(clone)]

    lab.run(line)

    assert events(lab, "base", "eval")[-1] == (1, "completed")


def test_the_headers_hold_the_catalogs_defaults() -> None:
    catalog = json.loads((CHECKOUT / "config.json").read_text())["slurm"]
    for script, stage in (("curate", "curation"), ("train", "training"), ("eval", "eval")):
        text = (CHECKOUT / "slurm" / f"{script}.sh").read_text()
        header = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.MULTILINE))
        wanted = catalog[stage]
        assert header["gpus-per-node"] == str(wanted["gpus"])
        assert header["cpus-per-task"] == str(wanted["cpus"])
        assert header["mem"] == wanted["memory"]
        assert header["time"] == str(wanted["time"])
        assert header["nodes"] == str(wanted.get("nodes", 1))
        assert header["ntasks-per-node"] == str(wanted["gpus"] if stage == "training" else 1)
        assert header["job-name"] == stage
        assert not {"partition", "account", "qos", "constraint", "extra"} & wanted.keys()
