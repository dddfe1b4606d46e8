"""The training stage on one process: what it learns, writes, counts and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.errors import MissingError, StageFailure, UsageError
from registry.stage import StageOutput
from tests.training_case import Case, losses, make_case
from train.stage import run
from train.task import prepare


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, StageOutput]:
    case = make_case(tmp_path_factory.mktemp("trained"))
    return case, run(case.context())


def test_the_losses_fall(trained: tuple[Case, StageOutput]) -> None:
    metrics = trained[1].metrics
    assert metrics["train_loss"] < losses(trained[1].artifacts)[0] / 2
    taken = [point["loss"] for point in metrics["validation_losses"]]
    assert len(taken) == 4  # one for each epoch
    assert taken == sorted(taken, reverse=True)
    assert metrics["validation_loss"] == taken[-1]


def test_the_metrics_say_what_was_done(trained: tuple[Case, StageOutput]) -> None:
    metrics = trained[1].metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    expected = {"rows": 27, "rows_dropped": 0, "rows_cut": 0, "validation_rows": 5, "steps": 16, "global_batch": 8}
    assert {name: metrics[name] for name in expected} == expected
    assert metrics["per_device_batch"] * metrics["accumulation"] * metrics["world_size"] == 8
    assert metrics["tokens"] == 4 * metrics["tokens_per_epoch"] > 4 * metrics["completion_tokens_per_epoch"] > 0
    assert metrics["resolved"]["max_length"] == 256


def test_the_run_directory_holds_the_result_alone(trained: tuple[Case, StageOutput]) -> None:
    case, output = trained
    artifacts = {"model_path": "model", "log_path": "training_log.parquet", "loss_curve_path": "loss_curve.png"}
    assert dict(output.artifacts) == {key: case.run_dir / name for key, name in artifacts.items()}
    assert {path.name for path in case.run_dir.iterdir()} == {"case.json", "tensorboard", *artifacts.values()}
    weights = [path.name for path in (case.run_dir / "model").iterdir() if path.suffix in {".safetensors", ".bin"}]
    assert weights == ["model.safetensors"]


def test_the_model_loads_with_its_template_and_has_changed(trained: tuple[Case, StageOutput]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    case, output = trained
    after, report = AutoModelForCausalLM.from_pretrained(output.artifacts["model_path"], output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    before = AutoModelForCausalLM.from_pretrained(str(case.config.model.file_path))
    assert after.generation_config.eos_token_id == before.generation_config.eos_token_id
    assert not torch.equal(after.lm_head.weight, before.lm_head.weight)
    tokenizer = AutoTokenizer.from_pretrained(output.artifacts["model_path"])
    messages = [{"role": "user", "content": "Which?"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True).endswith("assistant\n")


def test_training_again_gives_the_same_losses_and_replaces_the_model(trained: tuple[Case, StageOutput]) -> None:
    case, output = trained
    stale = case.run_dir / "model" / "stale"
    stale.touch()
    before = losses(output.artifacts)
    assert losses(run(case.context()).artifacts) == before
    assert not stale.exists()


def test_a_bf16_model_stays_one(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    case = make_case(tmp_path, rows=8, num_epochs=1)
    source = str(case.config.model.file_path)
    AutoModelForCausalLM.from_pretrained(source).to(torch.bfloat16).save_pretrained(source)
    output = run(case.context())
    assert AutoModelForCausalLM.from_pretrained(output.artifacts["model_path"]).dtype == torch.bfloat16
    assert json.loads((case.run_dir / "model" / "config.json").read_text())["dtype"] == "bfloat16"


def test_filling_the_last_batch_changes_no_loss(tmp_path: Path) -> None:
    exact = run(make_case(tmp_path / "exact", rows=5, total_batch_size=5).context())
    filled = run(make_case(tmp_path / "filled", rows=5, total_batch_size=8).context())
    assert len(losses(exact.artifacts)) == 4
    assert losses(filled.artifacts) == pytest.approx(losses(exact.artifacts), rel=1e-3)


def test_the_per_device_size_changes_no_loss(trained: tuple[Case, StageOutput], tmp_path: Path) -> None:
    output = run(make_case(tmp_path, per_device_batch_size=8).context())
    assert output.metrics["accumulation"] == 1
    assert losses(output.artifacts) == pytest.approx(losses(trained[1].artifacts), rel=1e-3)


def test_packing_changes_no_loss(trained: tuple[Case, StageOutput], tmp_path: Path) -> None:
    case = make_case(tmp_path, packing=True)
    task = prepare(case.context())
    assert max(len(element) for element in task.layout.elements[0]) > 1
    assert task.layout.accumulation < task.plan.accumulation * task.plan.per_device
    output = run(case.context())
    assert output.metrics["resolved"]["packing"]
    assert losses(output.artifacts) == pytest.approx(losses(trained[1].artifacts), rel=1e-3)
    assert output.metrics["validation_loss"] == pytest.approx(trained[1].metrics["validation_loss"], rel=1e-3)


def test_gradient_checkpointing_changes_no_loss(trained: tuple[Case, StageOutput], tmp_path: Path) -> None:
    output = run(make_case(tmp_path, gradient_checkpointing=True).context())
    assert losses(output.artifacts) == pytest.approx(losses(trained[1].artifacts), rel=1e-3)


def test_rows_over_max_length_are_counted(tmp_path: Path) -> None:
    dropped = run(make_case(tmp_path / "drop", max_length=84, num_epochs=1).context()).metrics
    cut = run(make_case(tmp_path / "cut", max_length=84, num_epochs=1, truncation="cut").context()).metrics
    assert dropped["rows"] + dropped["rows_dropped"] == cut["rows"] == 27
    assert dropped["rows_dropped"] == cut["rows_cut"] > 0
    assert cut["rows_dropped"] == dropped["rows_cut"] == 0


def test_a_part_of_an_epoch(tmp_path: Path) -> None:
    metrics = run(make_case(tmp_path, rows=32, num_epochs=0.5).context()).metrics
    assert metrics["steps"] == 2
    assert [point["step"] for point in metrics["validation_losses"]] == [2]


def test_a_data_set_without_validation_rows(tmp_path: Path) -> None:
    from datasets import DatasetDict, load_from_disk

    case = make_case(tmp_path, rows=8, num_epochs=1)
    train = load_from_disk(str(case.dataset))["train"]
    without = tmp_path / "without"
    DatasetDict({"train": train}).save_to_disk(str(without))
    metrics = run(Case(case.config, case.run_dir, without).context()).metrics
    assert (metrics["validation_rows"], metrics["validation_loss"]) == (0, None)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"max_length": 20}, UsageError, "tiny: no training row is left .27 are over max_length 20."),
    ({"max_length": 20, "truncation": "cut"}, StageFailure, "tiny: row row0 has no completion token"),
    (
        {"learning_rate": 1e38, "num_epochs": 20},
        StageFailure,
        "tiny: the norm of the gradient is nan at step 3, in all",
    ),
]


@pytest.mark.parametrize(("params", "error", "message"), REFUSED)
def test_what_cannot_be_trained_on_stops_with_one_line(
    tmp_path: Path, params: dict[str, Any], error: type[Exception], message: str
) -> None:
    case = make_case(tmp_path, **params)
    with pytest.raises(error, match=message) as raised:
        run(case.context())
    assert "\n" not in str(raised.value)
    assert not (case.run_dir / "model").exists()


def test_a_folder_without_a_model_is_missing(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    Path(str(case.config.model.file_path), "config.json").unlink()
    with pytest.raises(MissingError, match="holds no model"):
        run(case.context())


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="tiny: a global batch of 5 rows cannot be shared by 2 processes"):
        run(make_case(tmp_path, total_batch_size=5).context(rank=0, world_size=2))
