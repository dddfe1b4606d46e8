"""Stopped anywhere, again and again: losses, validations and weights are those of an undisturbed training."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.errors import StageStopped
from registry.fields import seconds_of
from registry.stage import StageOutput
from registry.stopping import StopFlag
from tests.training_case import Case, losses, make_case, start
from train.checkpoints import checkpoint_folder, find_newest
from train.pace import LOOK_SECONDS, Deadline, Pace
from train.progress import ShowProgress
from train.stage import run

LONG = {"num_epochs": 10}  # 40 steps of 4 forward passes, with a checkpoint and a validation after every fourth


def dropping(case: Case) -> Case:
    """The case with a model whose losses depend on the random state too."""
    file = Path(str(case.config.model.file_path), "config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "attention_dropout": 0.3}))
    return case


@pytest.fixture(scope="module", params=[False, True], ids=["padded", "packed"])
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, StageOutput]:
    """Whether rows are packed, and what comes out when nobody disturbs."""
    case = dropping(make_case(tmp_path_factory.mktemp("undisturbed"), packing=request.param, **LONG))
    return request.param, run(case.context())


def again_and_again(case: Case) -> Iterator[StageStopped | StageOutput]:
    """Attempts, each resuming the one before, until one completes."""
    for _ in range(60):
        try:
            yield run(replace(case.context(), stop=StopFlag()))
        except StageStopped as stopped:
            yield stopped
        else:
            return
    raise AssertionError("no attempt came to the end")


def assert_equal(output: StageOutput | StageStopped, wanted: StageOutput) -> None:
    """The same losses, validations and weights, to the last bit."""
    assert isinstance(output, StageOutput)
    assert losses(output.artifacts) == losses(wanted.artifacts)
    assert output.metrics["validation_losses"] == wanted.metrics["validation_losses"]
    one, two = (Path(each.artifacts["model_path"], "model.safetensors").read_bytes() for each in (output, wanted))
    assert one == two


def signalled(monkeypatch: pytest.MonkeyPatch, event: str, when: Callable[[Any], bool]) -> None:
    """Let this process get a stop signal at each `event` of a training at which `when` holds of the trainer's state."""
    before = getattr(ShowProgress, event)

    def disturbed(self: Any, args: Any, state: Any, control: Any, **options: Any) -> None:
        before(self, args, state, control, **options)
        if when(state):
            os.kill(os.getpid(), signal.SIGUSR2)

    monkeypatch.setattr(ShowProgress, event, disturbed)


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.full)])
def test_a_stop_at_every_tenth_step(
    every: int, tmp_path: Path, undisturbed: tuple[bool, StageOutput], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes after the ranks have looked at the end of a step: it ends the next step, or the validation."""
    packing, wanted = undisturbed
    case = dropping(make_case(tmp_path, packing=packing, **LONG))
    signalled(monkeypatch, "on_step_end", lambda state: state.global_step % every == 0)
    *stops, output = again_and_again(case)
    assert len(stops) == 4 if every == 10 else len(stops) >= 20
    assert all(isinstance(stop, StageStopped) and stop.signal_number == signal.SIGUSR2 for stop in stops)
    assert_equal(output, wanted)


def test_a_stop_between_the_forward_passes_of_a_step_does_them_all_again(
    tmp_path: Path, undisturbed: tuple[bool, StageOutput], monkeypatch: pytest.MonkeyPatch
) -> None:
    packing, wanted = undisturbed
    case = dropping(make_case(tmp_path, packing=packing, **LONG))
    monkeypatch.setattr(Pace, "looked", lambda self, seconds: setattr(self, "passed", 0))  # look after every pass
    came: list[int] = []

    def once_in_each_seventh_step(state: Any) -> bool:
        if state.global_step % 7 or state.global_step in came:
            return False
        came.append(state.global_step)
        return True

    signalled(monkeypatch, "on_step_begin", once_in_each_seventh_step)
    first, *stops, output = again_and_again(case)
    assert "training had not begun" in str(first)  # it was in the first step
    kept = [str(stop).split(" after ")[1].split(" in ")[0] for stop in stops]
    assert kept == [f"step {step} of 40" for step in came[1:]]
    assert_equal(output, wanted)


def test_a_long_validation_is_left_and_taken_by_the_next_attempt(
    tmp_path: Path, undisturbed: tuple[bool, StageOutput], monkeypatch: pytest.MonkeyPatch
) -> None:
    packing, wanted = undisturbed
    case = dropping(make_case(tmp_path, packing=packing, **LONG))
    seen: list[int] = []

    def second_row_of_the_first_time(state: Any) -> bool:
        seen.append(state.global_step)
        return seen.count(state.global_step) == 2

    signalled(monkeypatch, "on_prediction_step", second_row_of_the_first_time)
    monkeypatch.setattr(Pace, "looked", lambda self, seconds: setattr(self, "passed", 0))  # look after every row
    *stops, output = again_and_again(case)
    assert len(stops) == 10  # one for each of the validations
    assert [seen.count(step) for step in range(4, 41, 4)] == [
        2 + 5
    ] * 10  # it was left at the third row, then taken whole
    assert_equal(output, wanted)


def test_a_signal_after_training_lets_the_model_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(tmp_path, num_epochs=1)
    signalled(monkeypatch, "on_train_end", lambda state: True)
    assert run(case.context()).metrics["steps"] == 4


def test_a_time_budget_ends_an_attempt_and_each_one_comes_further(
    tmp_path: Path, undisturbed: tuple[bool, StageOutput]
) -> None:
    packing, _ = undisturbed
    case = make_case(tmp_path / "short", packing=packing, num_epochs=0.75, time_budget="0:00:00")
    *stops, output = again_and_again(case)
    folder = checkpoint_folder(case.run_dir, 1)
    assert [str(stop) for stop in stops] == [
        f"tiny: training is saved after step {step} of 3 in {folder} (its time budget is used up)" for step in (1, 2, 3)
    ]
    assert {stop.signal_number for stop in stops if isinstance(stop, StageStopped)} == {0}
    assert_equal(output, run(make_case(tmp_path / "whole", packing=packing, num_epochs=0.75).context()))


def test_two_ranks_leave_together_when_the_budget_is_used_up(tmp_path: Path) -> None:
    case = make_case(tmp_path, num_epochs=0.5, time_budget="0:00:00")
    launcher = start(case, processes=2)
    _, errors = launcher.communicate()
    assert errors.count("training is saved after step 1 of 2") == 2, errors[-4000:]
    newest = find_newest(checkpoint_folder(case.run_dir, 2)).newest
    assert newest is not None
    assert newest.step == 1


@pytest.mark.parametrize(
    ("time", "seconds"), [(90, 5400), ("0:00:05", 5), ("12:30:00", 45000), ("1-00", 86400), ("2-01:30:10", 178210)]
)
def test_a_time_budget_in_seconds(time: int | str, seconds: int) -> None:
    assert seconds_of(time) == seconds


def test_a_deadline_leaves_room_for_the_longest_stretch_and_the_longest_saving() -> None:
    deadline = Deadline(1000.0)
    deadline.took(stretch=400.0)
    deadline.took(saving=500.0)
    deadline.took(stretch=100.0, saving=10.0)
    assert not deadline.near()
    deadline.took(saving=601.0)
    assert deadline.near()
    assert not Deadline(None).near()


def test_a_first_saving_is_taken_to_last_as_long_as_the_loading() -> None:
    deadline = Deadline(1000.0)
    deadline.created -= 2000.0
    assert not deadline.near()
    deadline.begin()
    assert deadline.near()


@pytest.mark.parametrize("seconds", [0.01, 1.0, 60.0])
def test_looks_lie_a_few_seconds_apart_however_long_a_pass_takes(seconds: float) -> None:
    pace, apart = Pace(), []
    for _ in range(20):
        turns = 1
        while not pace.due():
            turns += 1
        apart.append(turns * seconds)
        pace.looked(turns * seconds)
    assert apart[-1] <= max(LOOK_SECONDS, seconds)
    assert apart[-1] > max(LOOK_SECONDS, seconds) / 2
