"""`meds1 run` starts a stage's processes, and hands on the signals that are to end them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from registry.schema import Stage
from tests.lab import CHECKOUT, Lab, make_lab

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path / "lab", {"training": {"gpus": 2}})


def _start(lab: Lab, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([CHECKOUT / "bin" / "meds1", "run", *arguments], env=dict(lab.environment))


def _wait_for(lab: Lab, name: str, stage: Stage, event: str) -> None:
    for _ in range(240):
        if any(header.event == event for header in lab.registry.read().state.headers(name, stage)):
            return
        time.sleep(0.25)
    raise AssertionError(f"{name}: {stage}: no {event} record")


def test_training_here_takes_one_process_for_each_gpu_that_it_sees(lab: Lab, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"  # stands in for the driver's: there is no GPU to see
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'GPU 0: made up'\necho 'GPU 1: made up'\n")
    tool.chmod(0o755)
    path = f"{tool.parent}{os.pathsep}{lab.environment['PATH']}"

    replace(lab, environment={**lab.environment, "PATH": path}).meds1(
        "run", "first", "--stage", "curation", "--stage", "training"
    )

    assert lab.results("first")["training"]["metrics"]["world_size"] == 2


def test_an_interrupt_cancels_the_stage_and_starts_nothing_more(lab: Lab) -> None:
    process = _start(lab, "base", "first")
    _wait_for(lab, "base", "eval", "started")

    # A library that is just being imported may swallow an interrupt; a person presses Ctrl-C again.
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)

    assert process.returncode == 1
    assert lab.results("base")["eval"]["status"] == "cancelled"
    assert lab.registry.read().state.headers("first", "curation") == []


@pytest.mark.full
def test_a_terminated_training_saves_and_is_resumed(lab: Lab) -> None:
    lab.edit("first", training_params={"learning_rate": 1e-3, "total_batch_size": 4, "num_epochs": 60})
    process = _start(lab, "first")
    _wait_for(lab, "first", "training", "started")
    run_dir = next((lab.folder / "cache" / "runs" / "first" / "training").iterdir())
    for _ in range(240):
        if list(run_dir.glob("checkpoints/*/checkpoint-*/complete.json")):
            break
        time.sleep(0.25)

    process.send_signal(signal.SIGTERM)

    assert process.wait(120) == 75
    lab.meds1("run", "first")
    training = lab.results("first")["training"]
    assert training["status"] == "completed"
    assert training["metrics"]["steps_this_attempt"] < training["metrics"]["steps"]
