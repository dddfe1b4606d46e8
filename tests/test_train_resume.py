"""Killed, preempted, resumed: the losses are those of a training that nobody disturbed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from registry.errors import EXIT_STOPPED, StageStopped
from registry.stopping import STOP_SIGNALS, StopFlag, listening
from tests.training_case import finish, has_checkpoint, losses, make_case, start, wait_for
from train.checkpoints import MANIFEST, checkpoint_folder, find_newest
from train.stage import run

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
    assert (
        f"tiny: training is saved after step {saved.step} of 48 in {saved.path.parent} (stopped by SIGTERM)" in errors
    )
    output = run(case.context())
    assert output.metrics["steps_this_attempt"] == 48 - saved.step
    assert losses(output.artifacts) == undisturbed


def test_a_training_killed_after_its_last_step_trains_no_step_again(tmp_path: Path, undisturbed: list[float]) -> None:
    case = make_case(tmp_path, validation=200, **LONG)  # a long final validation
    process = start(case)
    wait_for(lambda: has_checkpoint(case, 1, after=47), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    output = run(case.context())
    assert output.metrics["steps_this_attempt"] == 0
    assert losses(output.artifacts) == undisturbed


def test_a_signal_that_comes_while_the_model_loads_stops_the_training_before_it_begins(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    context = case.context()
    context.stop.handle(signal.SIGUSR2, None)
    with pytest.raises(StageStopped, match=r"tiny: training had not begun .stopped by SIGUSR2"):
        run(context)
    assert "steps_this_attempt" in run(case.context()).metrics


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_stop_signal_is_heard_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    flag = StopFlag()
    with listening(flag):
        flag.check("nothing has come yet")
        os.kill(os.getpid(), number)
        end = time.monotonic() + 60  # another thread of the test process may have got it, and hands it on
        while not flag.level and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(StageStopped, match=f"at work .stopped by {number.name}") as stopped:
            flag.check("at work")
    assert stopped.value.signal_number == number
    assert signal.getsignal(number) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


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


def test_a_user_signal_ends_no_child_that_a_listening_process_has_started() -> None:
    flag = StopFlag()
    with listening(flag):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        child.send_signal(signal.SIGUSR2)
        answers, _ = child.communicate("finished answers")
    assert answers == "finished answers"
    assert child.returncode == 0
    flag.check("the signal was not for this process")
