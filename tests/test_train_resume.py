"""Killed, preempted, resumed: the losses are those of a training that nobody disturbed."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from tests.training_case import Case, finish, make_case, start
from train.checkpoints import MANIFEST, checkpoint_folder, find_newest
from train.stage import run

LONG = {"num_epochs": 12, "checkpoints_per_epoch": 1}  # 48 steps, a checkpoint after every fourth


def losses(metrics: Any) -> list[float]:
    return [point["loss"] for point in metrics["loss_curve"]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of the long case on one process."""
    return losses(run(make_case(tmp_path_factory.mktemp("undisturbed"), **LONG).context()).metrics)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until the running training has come so far; it must not have ended before."""
    while not condition():
        assert process.poll() is None, process.communicate()[1][-4000:]
        time.sleep(0.005)


def has_checkpoint(case: Case, processes: int, step: int = 0) -> bool:
    newest = find_newest(checkpoint_folder(case.run_dir, processes)).newest
    return newest is not None and newest.step > step


def ranks_of(launcher: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes under torchrun that train."""
    children = psutil.Process(launcher.pid).children(recursive=True)
    return [child for child in children if any("training_case.py" in word for word in child.cmdline())]


def test_a_killed_training_goes_on_where_its_last_checkpoint_is(tmp_path: Path, undisturbed: list[float]) -> None:
    case = make_case(tmp_path, **LONG)
    process = start(case)
    wait_for(lambda: has_checkpoint(case, 1), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    metrics = finish(start(case), case)
    assert 0 < metrics["steps_this_attempt"] < 48
    assert losses(metrics) == undisturbed
    assert not (case.run_dir / "checkpoints").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_saves_and_stops(tmp_path: Path, undisturbed: list[float], number: signal.Signals) -> None:
    case = make_case(tmp_path, **LONG, learning_rate=2e-3)
    process = start(case)
    wait_for(lambda: has_checkpoint(case, 1), process)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 75, errors[-4000:]
    assert f"StageStopped: tiny: training was stopped by {number.name} and saved after step" in errors
    assert not (case.run_dir / "model").exists()
    saved = find_newest(checkpoint_folder(case.run_dir, 1)).newest
    assert saved is not None
    assert f"saved after step {saved.step} of 48" in errors
    if number == signal.SIGTERM:
        metrics = run(case.context()).metrics
        assert metrics["steps_this_attempt"] == 48 - saved.step
        assert losses(metrics) == undisturbed


def test_a_half_written_checkpoint_is_removed_and_said(
    tmp_path: Path, undisturbed: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    case = make_case(tmp_path, **LONG)
    process = start(case)
    wait_for(lambda: has_checkpoint(case, 1, step=4), process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    folder = checkpoint_folder(case.run_dir, 1)
    newest = find_newest(folder).newest
    assert newest is not None
    (newest.path / MANIFEST).unlink()
    before = find_newest(folder).newest
    assert before is not None
    metrics = run(case.context()).metrics
    assert f"removing the incomplete checkpoint {newest.path}" in capsys.readouterr().err
    assert metrics["steps_this_attempt"] == 48 - before.step
    assert losses(metrics) == undisturbed


def test_two_sharded_processes_stopped_by_one_ranks_signal_then_killed_then_resumed(
    tmp_path: Path, undisturbed: list[float]
) -> None:
    case = make_case(tmp_path, **LONG)
    launcher = start(case, processes=2)
    wait_for(lambda: has_checkpoint(case, 2), launcher)
    ranks_of(launcher)[1].send_signal(signal.SIGTERM)  # the ranks must agree: each alone would wait for the other
    _, errors = launcher.communicate()
    assert errors.count("StageStopped: tiny: training was stopped by SIGTERM") == 2, errors[-4000:]
    stopped = find_newest(checkpoint_folder(case.run_dir, 2)).newest
    assert stopped is not None

    launcher = start(case, processes=2)
    wait_for(lambda: has_checkpoint(case, 2, step=stopped.step), launcher)
    for rank in ranks_of(launcher):
        rank.kill()
    launcher.communicate()
    assert launcher.returncode != 0

    metrics = finish(start(case, processes=2), case)
    assert 0 < metrics["steps_this_attempt"] < 48 - stopped.step
    assert losses(metrics) == pytest.approx(undisturbed, rel=2e-2)
