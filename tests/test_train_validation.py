"""Validation, the best weights and early stopping, as the config has them, also over a stop and on two processes."""

from __future__ import annotations

import math
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import StageFailure, StageStopped, UsageError
from registry.stage import StageOutput
from registry.stopping import StopFlag
from registry.training_schema import EarlyStoppingConfig
from tests.training_case import Case, conversation, finish, losses, make_case, start
from train.checkpoints import checkpoint_folder, find_newest
from train.examples import IGNORED, Limit, tokenize
from train.method import prepare
from train.stage import run
from train.task import load_tokenizer
from train.validation import Metric, Validated, best, evaluation_steps, out_of_patience

# 27 rows in batches of 8: 4 steps an epoch.
STEEP: dict[str, Any] = {"evaluations_per_epoch": 2, "learning_rate": 0.01, "lr_scheduler": "constant"}
BEST: dict[str, Any] = {"keep": "best", **STEEP}
IMPATIENT: dict[str, Any] = {"early_stopping": {"patience": 2, "threshold": 100.0}, "evaluations_per_epoch": 2}


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 7))
def test_each_epoch_has_as_many_validations_as_asked_for(steps: int, per_epoch: int, evaluations: int) -> None:
    planned = evaluation_steps(steps, per_epoch, evaluations)
    assert steps in planned
    assert all(1 <= step <= steps for step in planned)
    if not evaluations:
        assert planned == {steps}
    for epoch in range(steps // per_epoch if evaluations else 0):
        within = [step for step in planned if epoch * per_epoch < step <= (epoch + 1) * per_epoch]
        assert len(within) == min(evaluations, per_epoch)
        assert (epoch + 1) * per_epoch in within


VALUES = st.lists(st.floats(-3, 3) | st.sampled_from([math.nan, 0.0, 1.0]), min_size=1, max_size=12)


@settings(deadline=None)  # the first example imports transformers
@given(VALUES, st.sampled_from(["loss", "token_accuracy"]), st.sampled_from([0.0, 0.3]), st.integers(1, 4))
def test_patience_ends_where_transformers_own_does(
    values: list[float], metric: Metric, threshold: float, patience: int
) -> None:
    from transformers import EarlyStoppingCallback

    callback = EarlyStoppingCallback(patience, threshold)
    arguments = SimpleNamespace(greater_is_better=metric != "loss", metric_for_best_model=metric)
    # As `Trainer._determine_best_metric`, which runs after the callback.
    state = SimpleNamespace(best_metric=-math.inf if metric != "loss" else math.inf)
    early = EarlyStoppingConfig(patience=patience, threshold=threshold)
    taken = [Validated(step, value) for step, value in enumerate(values)]
    for number, value in enumerate(values, 1):
        control = SimpleNamespace(should_training_stop=False)
        callback.on_evaluate(arguments, state, control, {f"eval_{metric}": value})
        better = value > state.best_metric if metric != "loss" else value < state.best_metric
        state.best_metric = value if better else state.best_metric
        assert out_of_patience(taken[:number], metric, early) == control.should_training_stop
    highest = best(taken, metric)
    assert (highest.value if highest else math.inf) == (state.best_metric if highest else math.inf)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, StageOutput]:
    case = contrary(make_case(tmp_path_factory.mktemp("kept"), **BEST))
    return case, run(case.context())


def contrary(case: Case) -> Case:
    """Give the case validation rows that the model knows ever less about, the more it has learned."""
    from datasets import Dataset, DatasetDict, load_from_disk

    rows = [conversation(number) for number in range(1000, 1005)]
    for row in rows:
        row["completion"][0]["content"] = row["completion"][0]["content"][::-1]
    folder = case.dataset.with_name("contrary")
    train = load_from_disk(str(case.dataset))["train"]
    DatasetDict({"train": train, "validation": Dataset.from_list(rows)}).save_to_disk(str(folder))
    changed = Case(case.config, case.run_dir, folder)
    case.file.write_text(case.file.read_text().replace(str(case.dataset), str(folder)))
    return changed


def measured(case: Case, model: Path) -> tuple[float, float]:
    """Mean loss of the validation's completion tokens and the share told right, by transformers alone."""
    import torch
    from datasets import load_from_disk
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(model)
    rows = tokenize(load_from_disk(str(case.dataset))["validation"], tokenizer, Limit(256, "drop")).dataset
    loaded = AutoModelForCausalLM.from_pretrained(model)
    lost, right, tokens = 0.0, 0, 0
    for row in rows:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        with torch.no_grad():
            output = loaded(ids, labels=labels)
        asked = labels[0, 1:] != IGNORED
        lost += output.loss.item() * int(asked.sum())
        right += int((output.logits[0, :-1].argmax(-1) == labels[0, 1:])[asked].sum())
        tokens += int(asked.sum())
    return lost / tokens, right / tokens


def test_the_best_weights_become_the_model(kept: tuple[Case, StageOutput]) -> None:
    case, output = kept
    taken = {point["step"]: point["loss"] for point in output.metrics["validation_losses"]}
    assert list(taken) == list(range(2, 17, 2))
    best_step = min(taken, key=lambda step: taken[step])
    assert taken[best_step] < taken[16] - 0.5
    metrics = output.metrics
    assert (metrics["best_step"], metrics["best_validation"]) == (best_step, taken[best_step])
    assert (metrics["kept_step"], metrics["stopped_early"], metrics["steps"]) == (best_step, None, 16)
    assert measured(case, output.artifacts["model_path"])[0] == pytest.approx(taken[best_step], rel=1e-4)


def test_the_last_weights_are_kept_unless_the_best_are_asked_for(tmp_path: Path) -> None:
    case = contrary(make_case(tmp_path, **STEEP))
    output = run(case.context())
    metrics = output.metrics
    assert metrics["best_step"] < metrics["kept_step"] == 16
    assert measured(case, output.artifacts["model_path"])[0] == pytest.approx(metrics["validation_loss"], rel=1e-4)


def test_token_accuracy_decides_where_it_is_the_metric(tmp_path: Path) -> None:
    case = contrary(make_case(tmp_path, metric="token_accuracy", **BEST))
    output = run(case.context())
    accuracy = measured(case, output.artifacts["model_path"])[1]
    assert output.metrics["best_validation"] == pytest.approx(accuracy, rel=1e-4)


def test_training_ends_when_patience_does(tmp_path: Path) -> None:
    case = make_case(tmp_path, **IMPATIENT)
    output = run(case.context())
    metrics = output.metrics
    assert (metrics["steps"], metrics["stopped_early"]) == (6, 6)
    assert [point["step"] for point in metrics["validation_losses"]] == [2, 4, 6]
    assert len(losses(output.artifacts)) == 6
    assert metrics["kept_step"] == metrics["best_step"]
    assert measured(case, output.artifacts["model_path"])[0] == pytest.approx(metrics["best_validation"], rel=1e-4)


@pytest.mark.parametrize("evaluations", [0, 4])
def test_validations_are_as_many_as_asked_for(tmp_path: Path, evaluations: int) -> None:
    metrics = run(make_case(tmp_path, num_epochs=1, evaluations_per_epoch=evaluations).context()).metrics
    taken = [point["step"] for point in metrics["validation_losses"]]
    assert taken == ([4] if evaluations == 0 else [1, 2, 3, 4])


def stopped_after(case: Case, step: int) -> None:
    """Run the case, send it SIGTERM within this step, and be stopped at its end."""
    from train.validating import Validate

    flag, validate = StopFlag(), Validate.on_step_end

    def disturbed(self: Validate, args: Any, state: Any, control: Any, **options: Any) -> None:
        validate(self, args, state, control, **options)
        if state.global_step == step:
            flag.handle(signal.SIGTERM, None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validate, "on_step_end", disturbed)
        with pytest.raises(StageStopped, match=f"saved after step {step} of"):
            run(replace(case.context(), stop=flag))


@pytest.mark.parametrize("step", [2, 5, 10, 16])
def test_a_stop_changes_no_validation_and_no_best(tmp_path: Path, kept: tuple[Case, StageOutput], step: int) -> None:
    from safetensors.torch import load_file

    case = contrary(make_case(tmp_path, **BEST))
    stopped_after(case, step)
    output = run(case.context())
    assert losses(output.artifacts) == losses(kept[1].artifacts)
    for name in ("validation_losses", "best_step", "best_validation", "kept_step"):
        assert output.metrics[name] == kept[1].metrics[name]
    weights, expected = (
        load_file(artifacts["model_path"] / "model.safetensors") for artifacts in (output.artifacts, kept[1].artifacts)
    )
    assert all(weights[name].equal(expected[name]) for name in expected)


@pytest.mark.parametrize("step", [4, 6])
def test_patience_is_counted_over_a_stop(tmp_path: Path, step: int) -> None:
    case = make_case(tmp_path, **IMPATIENT)
    stopped_after(case, step)
    metrics = run(case.context()).metrics
    assert (metrics["steps"], metrics["stopped_early"]) == (6, 6)
    assert [point["step"] for point in metrics["validation_losses"]] == [2, 4, 6]
    assert metrics["steps_this_attempt"] == 6 - step


def test_a_training_that_had_ended_early_trains_no_step_again(tmp_path: Path) -> None:
    case = make_case(tmp_path, checkpoints_per_epoch=2, **IMPATIENT)
    obstacle = case.run_dir / ".model.tmp"
    obstacle.write_text("no folder can be made here")
    with pytest.raises(StageFailure, match="tiny: the model could not be saved"):
        run(case.context())
    newest = find_newest(checkpoint_folder(case.run_dir, 1)).newest
    assert newest is not None
    assert newest.step == 6
    obstacle.unlink()
    metrics = run(case.context()).metrics
    assert (metrics["steps"], metrics["stopped_early"], metrics["steps_this_attempt"]) == (6, 6, 0)
    assert [point["step"] for point in metrics["validation_losses"]] == [2, 4, 6]


def test_the_best_checkpoint_outlives_the_deletion_of_old_ones(tmp_path: Path) -> None:
    case = contrary(make_case(tmp_path, checkpoints_per_epoch=4, **BEST))
    stopped_after(case, 15)
    left = {path.name for path in checkpoint_folder(case.run_dir, 1).glob("checkpoint-*")}
    best_step = run(case.context()).metrics["best_step"]
    assert best_step < 14
    assert left == {f"checkpoint-{step}" for step in (best_step, 14, 15)}


def test_two_processes_keep_the_same_best(tmp_path: Path, kept: tuple[Case, StageOutput]) -> None:
    """Under FSDP2, from sharded checkpoints; the validation's numbers are those of one process."""
    case = contrary(make_case(tmp_path, **BEST))
    metrics = finish(start(case, processes=2), case)
    one = kept[1].metrics
    assert metrics["kept_step"] == metrics["best_step"] == one["best_step"]
    # So steep a training lets float noise grow; up to the best it has not.
    taken, expected = ([point["loss"] for point in each["validation_losses"]][:3] for each in (metrics, one))
    assert taken == pytest.approx(expected, rel=1e-3)
    assert measured(case, case.run_dir / "model")[0] == pytest.approx(metrics["best_validation"], rel=1e-4)


@pytest.mark.full
def test_the_share_of_right_tokens_is_the_same_on_two_processes(tmp_path: Path) -> None:
    case = make_case(tmp_path, metric="token_accuracy", num_epochs=2, keep="best")
    metrics = finish(start(case, processes=2), case)
    assert metrics["best_validation"] == pytest.approx(measured(case, case.run_dir / "model")[1], rel=1e-4)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"keep": "best"}, "tiny: training_params has keep 'best', but there are no validation rows"),
        ({"early_stopping": {}}, "tiny: training_params has early_stopping, but there are no validation rows"),
    ],
)
def test_the_best_of_no_validation_is_refused_before_a_model_is_loaded(
    tmp_path: Path, params: dict[str, Any], message: str
) -> None:
    from datasets import DatasetDict, load_from_disk

    case = make_case(tmp_path, **params)
    without = tmp_path / "without"
    DatasetDict({"train": load_from_disk(str(case.dataset))["train"]}).save_to_disk(str(without))
    with pytest.raises(UsageError, match=message):
        prepare(Case(case.config, case.run_dir, without).context())


def test_early_stopping_without_validations_on_the_way_is_refused(tmp_path: Path) -> None:
    case = make_case(tmp_path, evaluations_per_epoch=0, early_stopping={})
    with pytest.raises(UsageError, match=r"tiny: .* early_stopping, but evaluations_per_epoch is 0"):
        prepare(case.context())
