"""LoRA: adapters on frozen weights, merged or alone in the folder that is left, on one process and on two."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageError
from registry.stage import StageOutput
from tests.training_case import Case, finish, has_checkpoint, losses, make_case, start, wait_for
from train.checkpoints import checkpoint_folder, find_newest
from train.export import ADAPTER_WEIGHTS
from train.lora import count_parameters
from train.method import prepare
from train.stage import run

RANK = 4
LORA: dict[str, Any] = {
    "method": "lora",
    "learning_rate": 2e-2,
    "lora": {"rank": RANK, "alpha": 8.0, "modules_to_save": ["lm_head"]},
}


def lora(**changes: Any) -> dict[str, Any]:
    return {**LORA, "lora": {**LORA["lora"], **changes}}


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, StageOutput]:
    case = make_case(tmp_path_factory.mktemp("merged"), gradient_checkpointing=True, **LORA)
    return case, run(case.context())


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, dict[str, Any]]:
    case = make_case(tmp_path_factory.mktemp("sharded"), gradient_checkpointing=True, **LORA)
    return case, finish(start(case, processes=2), case)


def weights(model: Path | str) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(Path(model) / "model.safetensors")


def test_only_what_was_asked_for_is_trained(merged: tuple[Case, StageOutput]) -> None:
    case, output = merged
    assert output.metrics["train_loss"] < losses(output.artifacts)[0] / 2
    before, after = weights(str(case.config.model.file_path)), weights(output.artifacts["model_path"])
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if "_proj" in name or name == "lm_head.weight"}
    projections = [before[name].shape for name in before if "_proj" in name]
    trained = sum(RANK * (rows + columns) for rows, columns in projections) + before["lm_head.weight"].numel()
    resolved = output.metrics["resolved"]
    assert resolved["parameters"] == sum(weight.numel() for weight in before.values())
    assert resolved["parameters_trained"] == trained


def test_adapters_alone_answer_as_merged_ones(merged: tuple[Case, StageOutput], tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    case = make_case(tmp_path, gradient_checkpointing=False, **lora(merge=False))
    output = run(case.context())
    assert losses(output.artifacts) == losses(merged[1].artifacts)  # recomputed activations change nothing
    folder = Path(output.artifacts["model_path"])
    assert not list(folder.glob("model*"))
    assert (folder / ADAPTER_WEIGHTS).is_file()
    base = Path(str(case.config.model.file_path))
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base.absolute())
    assert AutoTokenizer.from_pretrained(folder).chat_template

    prompt = torch.arange(3, 60)[None]
    alone = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    whole = AutoModelForCausalLM.from_pretrained(merged[1].artifacts["model_path"])
    with torch.inference_mode():
        untrained = AutoModelForCausalLM.from_pretrained(base)(prompt).logits
        difference = (alone(prompt).logits - whole(prompt).logits).abs().max()
        assert difference < 1e-3 * (whole(prompt).logits - untrained).abs().max()


def test_a_bf16_model_is_left_in_bf16_rounded_once(merged: tuple[Case, StageOutput], tmp_path: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    case = make_case(tmp_path, num_epochs=1, **lora(modules_to_save=[]))
    base = str(case.config.model.file_path)
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(base)
    model = run(case.context()).artifacts["model_path"]
    assert AutoConfig.from_pretrained(model).dtype == torch.bfloat16
    before, after = weights(base), weights(model)
    assert {weight.dtype for weight in after.values()} == {torch.bfloat16}
    assert not after["model.layers.0.mlp.up_proj.weight"].equal(before["model.layers.0.mlp.up_proj.weight"])
    assert after["model.norm.weight"].equal(before["model.norm.weight"])


def test_the_best_adapters_become_the_model(tmp_path: Path) -> None:
    case = make_case(tmp_path, keep="best", **{**LORA, "num_epochs": 2})
    output = run(case.context())
    before, after = weights(str(case.config.model.file_path)), weights(output.artifacts["model_path"])
    assert not after["model.layers.0.mlp.up_proj.weight"].equal(before["model.layers.0.mlp.up_proj.weight"])
    assert not after["lm_head.weight"].equal(before["lm_head.weight"])


def test_two_processes_train_what_one_trains(
    merged: tuple[Case, StageOutput], sharded: tuple[Case, dict[str, Any]]
) -> None:
    one, two = merged[1], sharded[1]
    assert two["world_size"] == 2
    assert losses(two) == pytest.approx(losses(one.artifacts), rel=1e-3)
    assert two["validation_loss"] == pytest.approx(one.metrics["validation_loss"], rel=1e-3)
    expected, left = weights(one.artifacts["model_path"]), weights(two["model_path"])
    assert left.keys() == expected.keys()
    for name, weight in expected.items():
        assert (left[name] - weight).norm() <= 1e-3 * weight.norm(), name


@pytest.mark.full
def test_stopped_adapters_go_on_alone(merged: tuple[Case, StageOutput], tmp_path: Path) -> None:
    case = make_case(tmp_path, gradient_checkpointing=True, **LORA)
    stop_after_a_checkpoint(case, 1)
    output = run(case.context())
    assert output.metrics["steps_this_attempt"] < 16
    assert losses(output.artifacts) == losses(merged[1].artifacts)


@pytest.mark.full
def test_stopped_adapters_go_on_sharded(sharded: tuple[Case, dict[str, Any]], tmp_path: Path) -> None:
    case = make_case(tmp_path, gradient_checkpointing=True, **LORA)
    stop_after_a_checkpoint(case, 2)
    metrics = finish(start(case, processes=2), case)
    assert metrics["steps_this_attempt"] < 16
    assert losses(metrics) == losses(sharded[1])


def stop_after_a_checkpoint(case: Case, processes: int) -> None:
    launcher = start(case, processes)
    wait_for(lambda: has_checkpoint(case, processes), launcher)
    launcher.send_signal(signal.SIGTERM)
    _, errors = launcher.communicate()
    assert "StageStopped: tiny: training is saved after step" in errors, errors[-4000:]
    assert find_newest(checkpoint_folder(case.run_dir, processes)).newest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"target_modules": ["q_proj", "query"]},
            "tiny: training_params.lora.target_modules: .* has no layer query that it could be; it has down_proj, "
            "embed_tokens, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj",
        ),
        ({"target_modules": ["mlp"]}, "has no layer mlp"),
        ({"modules_to_save": ["head"]}, "modules_to_save: .* has no layer head .* it has .*, lm_head, .* norm"),
        ({"target_modules": ["lm_head"]}, "lm_head cannot have an adapter, .* put it into modules_to_save"),
    ],
)
def test_layers_that_cannot_be_are_told_before_training(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(make_case(tmp_path, **lora(**changes)).context())


@pytest.mark.parametrize("changes", [{"target_modules": ["embed_tokens"]}, {"modules_to_save": ["lm_head"]}])
def test_tied_embeddings_are_not_trained(changes: dict[str, Any], tmp_path: Path) -> None:
    case = make_case(tmp_path, **lora(modules_to_save=[]))
    model = Path(str(case.config.model.file_path))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    training = case.config.training
    assert training is not None
    assert training.lora is not None
    assert count_parameters(model, training.lora).trained > 0
    with pytest.raises(UsageError, match="input and output embeddings are one matrix"):
        count_parameters(model, training.lora.model_copy(update=changes))
