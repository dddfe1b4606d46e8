"""The GPU time that results tell: over attempts, restarts and shards, by a stand-in for nvidia-smi."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import registry.runner
from registry.errors import StageFailure, StageStopped
from registry.gpu_time import gpu_time_field, leave
from registry.job import Job, claim
from registry.paths import attempt_dir, shard_dir
from registry.provenance import gather
from registry.runner import record_failure, run_job, run_shard
from registry.schema import Stage
from registry.stopping import StopFlag
from registry.store import Registry
from tests.registry_case import CURATION, edit, plans, result_in_file, run, staged_lab, use_stages

HOUR = 3600.0


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return staged_lab(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def three_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nprintf 'made up\\n%.0s' 1 2 3\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tool


def claimed(lab: Registry, stage: Stage, name: str = "tuned") -> Job:
    return claim(lab, plans(lab, (stage,), name=name, force=True)[0])


@pytest.mark.parametrize(
    ("variables", "gpus"),
    [
        ({}, 3),
        ({"CUDA_VISIBLE_DEVICES": "0, GPU-8f"}, 2),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, 0),
        ({"RANK": "0", "WORLD_SIZE": "2"}, 2),  # torchrun: one for each process, whatever it sees
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "8", "CUDA_VISIBLE_DEVICES": "0"}, 8),
        ({"RANK": "0", "WORLD_SIZE": "2", "CUDA_VISIBLE_DEVICES": ""}, 0),
    ],
)
def test_provenance_says_how_many_gpus_a_stage_has(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], gpus: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    found = gather()

    assert (found["device"], found["gpus"]) == ("made up, made up, made up", gpus)


def test_every_stage_records_the_time_of_its_gpus_and_one_without_a_model_has_none(lab: Registry) -> None:
    def of(stage: Stage) -> tuple[int, bool]:
        found = result_in_file(lab, stage=stage)
        taken = found["provenance"]["gpus"] * found["provenance"]["seconds"] / HOUR
        return found["provenance"]["gpus"], found["gpu_hours"] == pytest.approx(taken, abs=1e-3)

    run(lab)

    assert {of(stage) for stage in ("training", "eval")} == {(3, True)}
    assert result_in_file(lab, stage="curation")["gpu_hours"] == 0.0


def test_a_curation_that_loads_a_model_holds_gpus_and_its_shards_and_earlier_restarts_count(
    lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.runner, "SHARD_ENTRY_POINT", f"{__name__}:look_on")
    edit(lab, curation={**CURATION, "difficulty": {"model_key": "tiny"}, "shards": 2})
    job = claimed(lab, "curation")
    for number in range(2):
        shard = replace(job, shard=number)
        shard.folder.mkdir(parents=True)
        run_shard(shard, StopFlag())
        left = json.loads((shard.folder / "gpu-time-0.json").read_text())
        assert left["gpus"] == 3
        leave(shard.folder, 0, left["gpus"], HOUR)  # as if it had taken that long
    leave(job.folder, 0, 1, HOUR)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")

    run_job(job)

    assert result_in_file(lab, stage="curation")["gpu_hours"] == pytest.approx(7.0, abs=0.5)


def look_on(context: Any, index: int, count: int) -> None:
    """A shard that has nothing to do."""


def test_attempts_that_fail_or_stop_leave_their_time_to_the_one_that_completes(
    lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lab, ("curation", "training"))
    for name, error in (("stop", StageStopped), ("give_up", StageFailure)):
        use_stages(monkeypatch, eval=name)
        job = claimed(lab, "eval")
        with pytest.raises(error):
            run_job(job)
        assert json.loads((job.folder / "gpu-time-0.json").read_text())["gpus"] == 3
        leave(job.folder, 0, 3, HOUR)
    record_failure(claimed(lab, "eval"), "killed")
    killed = result_in_file(lab)
    use_stages(monkeypatch)
    run_job(claimed(lab, "eval"))

    assert (killed["status"], killed["gpu_hours"]) == ("failed", 6.0)
    assert result_in_file(lab)["gpu_hours"] == pytest.approx(6.0, abs=0.5)


def test_what_one_attempt_does_not_know_nobody_knows(lab: Registry, three_gpus: Path, tmp_path: Path) -> None:
    folders = [attempt_dir(tmp_path, 1), shard_dir(attempt_dir(tmp_path, 2), 1)]
    assert gpu_time_field(tmp_path) == {}
    for folder, gpus in zip(folders, (2, None), strict=True):
        folder.mkdir(parents=True)
        leave(folder, 0, gpus, HOUR)
    assert gpu_time_field(tmp_path) == {"gpu_hours": None}
    leave(folders[1], 0, 4, HOUR)
    assert gpu_time_field(tmp_path) == {"gpu_hours": 6.0}
    (folders[0] / "gpu-time-0.json").write_text('{"gpus": 2, "sec')
    assert gpu_time_field(tmp_path) == {"gpu_hours": None}
    (tmp_path / "gone").mkdir()
    leave(tmp_path / "gone" / "folder", 0, 1, HOUR)  # told, and no error


def test_a_reused_result_has_held_none(lab: Registry) -> None:
    run(lab)
    run(lab, name="twin")

    assert "gpu_hours" not in result_in_file(lab, name="twin")
