"""Killed, preempted, resumed: the losses are those of a training that nobody disturbed."""

import os
import signal
from pathlib import Path

import pytest

from registry.errors import EXIT_STOPPED
from tests.training_case import finish, has_checkpoint, losses, make_case, start, wait_for
from train.checkpoints import MANIFEST, checkpoint_folder, find_newest
from train.stage import run
from train.stopping import STOP_SIGNALS, stop_signals

LONG = {"num_epochs": 12, "checkpoints_per_epoch": 1}  # 48 steps, a checkpoint after every fourth


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of the long case on one process."""
    return losses(run(make_case(tmp_path_factory.mktemp("undisturbed"), **LONG).context()).artifacts)


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


def test_sigterm_saves_and_stops_and_the_next_attempt_ends_it(tmp_path: Path, undisturbed: list[float]) -> None:
    case = make_case(tmp_path, **LONG)
    process = start(case)
    wait_for(lambda: has_checkpoint(case, 1), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == EXIT_STOPPED, errors[-4000:]
    assert not (case.run_dir / "model").exists()
    saved = find_newest(checkpoint_folder(case.run_dir, 1)).newest
    assert saved is not None
    assert f"tiny: training was stopped by SIGTERM and saved after step {saved.step} of 48" in errors
    output = run(case.context())
    assert output.metrics["steps_this_attempt"] == 48 - saved.step
    assert losses(output.artifacts) == undisturbed


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_stop_signal_is_heard_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_signals() as flag:
        assert flag.signal == 0
        os.kill(os.getpid(), number)
        assert flag.signal == number
    assert signal.getsignal(number) == before


def test_a_half_written_checkpoint_is_removed_and_said(
    tmp_path: Path, undisturbed: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    case = make_case(tmp_path, **LONG)
    process = start(case)
    wait_for(lambda: has_checkpoint(case, 1, after=4), process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    folder = checkpoint_folder(case.run_dir, 1)
    newest = find_newest(folder).newest
    assert newest is not None
    (newest.path / MANIFEST).unlink()
    before = find_newest(folder).newest
    assert before is not None
    output = run(case.context())
    assert f"removing the incomplete checkpoint {newest.path}" in capsys.readouterr().err
    assert output.metrics["steps_this_attempt"] == 48 - before.step
    assert losses(output.artifacts) == undisturbed
