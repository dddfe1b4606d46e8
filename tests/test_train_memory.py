"""The memory estimate against what torch really holds, against real models' sizes, and as `meds1 submit` says it."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.effective import EffectiveConfig
from registry.errors import MissingError, UsageError
from registry.model_shape import ModelShape, read_shape
from registry.schema import Resources
from registry.training_memory import Load, MemoryEstimate, estimate_memory, shortage, tokens_per_pass
from registry.training_schema import TrainingParams
from slurm.gpu_memory import Card, card_of, gpu_names, memory_by_name
from tests.lab import Lab
from tests.small_lab import add, answer_of, edit_json, make_small_lab
from tests.tiny import make_tiny_model
from tests.training_case import Case, make_case
from train.memory import memory_of
from train.resolved import resolved
from train.task import prepare

GIB = 2**30
LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 14_336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "tie_word_embeddings": False,
}
SMALL = LLAMA_8B | {"hidden_size": 192, "num_hidden_layers": 3, "intermediate_size": 640, "vocab_size": 1000}
QWEN = {"num_attention_heads": 6, "num_key_value_heads": 2}
SHAPES: dict[str, dict[str, Any]] = {
    "llama 8B": LLAMA_8B,
    "tied llama": SMALL | {"tie_word_embeddings": True, "num_attention_heads": 4, "num_key_value_heads": 2},
    "llama with biases": SMALL | {"attention_bias": True, "mlp_bias": True, **QWEN},
    "mistral": SMALL | {"model_type": "mistral", "head_dim": 16, "num_attention_heads": 8, "num_key_value_heads": 4},
    "qwen2": SMALL | {"model_type": "qwen2", **QWEN},
    "tied qwen3": SMALL | {"model_type": "qwen3", "head_dim": 64, "tie_word_embeddings": True, **QWEN},
}


def params(**fields: Any) -> TrainingParams:
    return TrainingParams.model_validate({"learning_rate": 1e-5, "num_epochs": 1, **fields})


def shape_of(folder: Path, config: dict[str, Any]) -> ModelShape:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return read_shape(folder)


def real_model(config: dict[str, Any]) -> Any:
    """The model on torch's meta device, which holds no numbers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = {name: value for name, value in config.items() if name != "model_type"}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **fields))


@pytest.fixture
def llama(tmp_path: Path) -> ModelShape:
    return shape_of(tmp_path / "llama", LLAMA_8B)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_the_parameters_told_from_a_config_are_those_of_the_real_model(tmp_path: Path, config: dict[str, Any]) -> None:
    shape = shape_of(tmp_path / "model", config)
    assert shape.parameters == sum(weight.numel() for weight in real_model(config).parameters())


def test_weights_that_are_here_are_counted(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = make_tiny_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    real = sum(weight.numel() for weight in AutoModelForCausalLM.from_pretrained(folder).parameters())
    assert read_shape(folder).parameters == real
    (folder / "config.json").write_text(json.dumps({**config, "num_local_experts": 8}))
    assert read_shape(folder).parameters == real
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="a mixture of experts"):
        read_shape(folder)


def test_a_model_of_another_kind_has_no_shape(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tells no shape of a decoder .'hidden_size'"):
        shape_of(tmp_path / "model", {"model_type": "t5", "d_model": 512})
    with pytest.raises(MissingError, match="holds no model"):
        read_shape(tmp_path / "nowhere")


@pytest.mark.parametrize("processes", [1, 4])
def test_a_layer_keeps_what_torch_keeps_of_it(tmp_path: Path, processes: int) -> None:
    """Of one process the float32 weights under autocast, of several the bf16 weights that FSDP2 hands out."""
    tokens, plain = 96, params(gradient_checkpointing=False)
    config = SMALL | QWEN
    few, many = (config | {"num_hidden_layers": layers} for layers in (2, 3))
    told = [
        estimate_memory(shape_of(tmp_path / "model", one), plain, Load(processes, tokens, 1)).activations
        for one in (few, many)
    ]
    held = [kept_for_backward(one, tokens, in_bf16=processes > 1) for one in (few, many)]
    assert told[1] - told[0] == pytest.approx(held[1] - held[0], rel=0.03)


def kept_for_backward(config: dict[str, Any], tokens: int, in_bf16: bool) -> int:
    """Bytes that autograd keeps of a forward pass of the layers beside their weights."""
    import torch
    from transformers import LlamaConfig, LlamaModel

    model = LlamaModel(LlamaConfig(**{name: config[name] for name in config if name != "model_type"}))
    model = model.to(torch.bfloat16) if in_bf16 else model
    sizes = {weight.numel() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.nbytes() // tensor.element_size() not in sizes:  # no weight, nor autocast's copy of one
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        output = model(torch.arange(tokens)[None], use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(kept.values())


def test_the_parts_of_a_full_training_are_the_papers(llama: ModelShape) -> None:
    """ZeRO's 16 bytes for each parameter, here float32 throughout, shared by the processes."""
    for processes in (1, 4, 8):
        told = estimate_memory(llama, params(), Load(processes, 8192, 8))
        assert told.weights == told.gradients == llama.parameters * 4 // processes
        assert told.optimizer == llama.parameters * 8 // processes
        assert told.generation == 0


def test_checkpointing_longer_rows_and_accumulation_change_what_they_should(llama: ModelShape) -> None:
    def told(tokens: int = 8192, accumulation: int = 8, processes: int = 4, **fields: Any) -> MemoryEstimate:
        return estimate_memory(llama, params(**fields), Load(processes, tokens, accumulation))

    assert told(gradient_checkpointing=False).activations > 8 * told().activations
    long, twice = (told(tokens, gradient_checkpointing=False).activations for tokens in (65_536, 131_072))
    assert twice == pytest.approx(2 * long, rel=0.01)
    # On one GPU autocast's bf16 copies are a layer's at a time, or all of those that the backward pass needs.
    whole, layer = (told(processes=1, gradient_checkpointing=kept).working_copies for kept in (False, True))
    assert whole == 32 * layer


def test_adapters_leave_the_base_model_in_bf16_and_little_else(llama: ModelShape) -> None:
    """Their number against peft's own."""
    from peft import LoraConfig, get_peft_model

    fields = {"rank": 8, "target_modules": ["q_proj", "down_proj"], "modules_to_save": ["lm_head"]}
    tuned = get_peft_model(
        real_model(LLAMA_8B), LoraConfig(r=8, target_modules=["q_proj", "down_proj"], modules_to_save=["lm_head"])
    )
    trained = sum(weight.numel() for weight in tuned.parameters() if weight.requires_grad)
    told = estimate_memory(llama, params(method="lora", lora=fields), Load(1, 8192, 8))
    assert (told.gradients, told.optimizer) == (4 * trained, 8 * trained)
    assert told.weights == 4 * trained + 2 * llama.parameters
    longer = {"rank": 8, "target_modules": ["self_attn.q_proj", "mlp.down_proj"], "modules_to_save": ["lm_head"]}
    assert estimate_memory(llama, params(method="lora", lora=longer), Load(1, 8192, 8)) == told
    every = estimate_memory(llama, params(method="lora"), Load(1, 8192, 8))
    assert every.total < 24 * GIB < 120 * GIB < estimate_memory(llama, params(), Load(1, 8192, 8)).total


def test_grpo_adds_vllms_share_and_the_model_that_it_is_held_against(llama: ModelShape) -> None:
    def told(gpu: int | None = 80 * GIB, **grpo: Any) -> MemoryEstimate:
        return estimate_memory(llama, params(method="grpo", grpo=grpo), Load(8, 4096, 8, gpu))

    assert told().generation == 24 * GIB
    assert told(gpu=None).generation is None
    assert told(gpu=None).total == told().total - 24 * GIB
    assert told(beta=0.04).weights == 2 * told().weights


def test_the_longest_pass_is_known_before_the_rows(llama: ModelShape) -> None:
    assert tokens_per_pass(params(batch_size=2, gradient_accumulation_steps=16), 8192, 4, 4) == (16_384, 16)
    assert tokens_per_pass(params(batch_size=8, total_batch_size=4, max_length=100), 8192, 2, 4) == (200, 1)
    assert tokens_per_pass(params(per_device_batch_size=1, batch_size=8), 8192, 4, 4) == (8192, 8)


@pytest.mark.parametrize(
    ("fields", "remedies"),
    [
        ({"gradient_checkpointing": False, "batch_size": 4}, ("gradient_checkpointing true", 'method "lora"')),
        ({"batch_size": 4}, ("a lower per_device_batch_size", 'method "lora"')),
        ({"method": "grpo"}, ("more GPUs (slurm.training.gpus or nodes)", "lora")),
        ({"method": "lora"}, ("more GPUs (slurm.training.gpus or nodes)", "a lower max_length")),
    ],
)
def test_what_does_not_fit_is_said_with_the_remedies_that_are_left(
    llama: ModelShape, fields: dict[str, Any], remedies: tuple[str, str]
) -> None:
    told = estimate_memory(llama, params(**fields), Load(4, 8192, 4))
    assert shortage(told, told.total, params(**fields)) is None
    said = str(shortage(told, 8 * GIB, params(**fields)))
    assert "on each GPU, and one has 8.0 GiB; " in said
    named = said.partition("what helps: ")[2].split(", ")
    assert (named[0], named[-1]) == remedies


def test_a_training_that_starts_takes_its_longest_rows(tmp_path: Path) -> None:
    case = make_case(tmp_path, batch_size=2)
    task = prepare(case.context())
    assert task.load(80 * GIB).tokens == task.plan.per_device * max(task.train.lengths) < 2 * 256
    told = memory_of(task, 80 * GIB)
    assert memory_of(task, None) is None
    assert told is not None
    assert told.weights == 4 * read_shape(task.model_path).parameters
    assert resolved(task)["memory_estimate"] is None  # there is no GPU here
    packed = prepare(replace(case, config=make_packed(case)).context())
    assert packed.load(80 * GIB).tokens == 2 * 256


def make_packed(case: Case) -> EffectiveConfig:
    training = case.config.training
    assert training is not None
    return case.config.model_copy(update={"training": training.model_copy(update={"packing": True})})


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("h100", 79),
        ("nvidia_h200", 140),
        ("nvidia_a100-sxm4-80gb", 80),
        ("NVIDIA_H100_80GB_HBM3", 80),
        ("a100_3g.20gb", 20),
        ("l40s", 44),
        ("a100", None),
        ("a10g", None),
        ("tesla", None),
    ],
)
def test_a_gpus_memory_by_its_name_in_slurm(name: str, gib: int | None) -> None:
    assert memory_by_name(name) == (gib and gib * GIB)


def test_the_gpus_of_a_partition_are_those_that_sinfo_names() -> None:
    listed = "main*|gpu:h100:4(S:0-1)\ncpu|(null)\nmain*|gpu:a100-40gb:2,gpu:h200:8,shard:4\nold|gpu:4\n"
    assert gpu_names(listed, default_only=True) == {"h100", "a100-40gb", "h200"}
    assert gpu_names("old|gpu:4(S:0)\n", default_only=False) == {"GPUs without a name"}
    assert gpu_names("cpu|(null)\n", default_only=False) == set()


def test_what_the_config_says_of_a_gpu_wins_over_slurm() -> None:
    assert card_of(Resources(gpu_memory="40G", gpus=1), with_slurm=True) == Card(40 * GIB, "slurm.training.gpu_memory")
    assert card_of(Resources(gpus=1), with_slurm=False).memory is None


SINFO = """#!/bin/sh
case "$*" in
  *--partition=big*) echo 'big|gpu:h200:8' ;;
  *--partition=none*) echo 'none|(null)' ;;
  *) echo 'small*|gpu:t4:4' ;;
esac
"""


def write_empty_weights(file: Path, count: int) -> None:
    """A file of so many bf16 weights, which takes no room on the disk."""
    tensor = {"dtype": "BF16", "shape": [count], "data_offsets": [0, 2 * count]}
    header = json.dumps({"weights": tensor}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(file, 8 + len(header) + 2 * count)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose model is that of Llama 8B by its config, and a `sinfo` that stands in for a cluster with GPUs."""
    made = make_small_lab(tmp_path / "lab", monkeypatch)
    model = made.folder / "model"
    (model / "config.json").write_text(json.dumps({**LLAMA_8B, "max_position_embeddings": 8192}))
    write_empty_weights(model / "model.safetensors", 8_030_261_248)
    edit_json(made.folder / "config.json", lambda catalog: catalog["models"]["tiny"].update(max_length=8192))
    for name, slurm in {"t4": {}, "big": {"partition": "big"}, "none": {"partition": "none"}}.items():
        add(made, name, slurm={"training": {"gpus": 4, **slurm}})
    add(made, "told", slurm={"training": {"gpus": 4, "gpu_memory": "32G"}})
    add(made, "cpu")
    tool = tmp_path / "tools" / "sinfo"
    tool.parent.mkdir()
    tool.write_text(SINFO)
    tool.chmod(0o755)
    path = f"{tool.parent}{os.pathsep}{made.environment['PATH']}"
    return replace(made, environment={**made.environment, "PATH": path})


def test_a_dry_run_shows_the_memory_of_each_training_and_warns_of_what_does_not_fit(lab: Lab) -> None:
    names = ("t4", "big", "none", "told", "cpu")
    asked = ("submit", *names, "--cluster", "slurm", "--dry-run", "--stage", "curation", "--stage", "training")
    body = answer_of(lab, *asked)
    memory = body["data"]["memory"]
    assert set(memory) == {"t4", "big", "none", "told"}
    assert [memory[name]["gpu_memory"] for name in names[:4]] == [
        14 * GIB,
        140 * GIB,
        None,
        32 * GIB,
    ]
    estimate = memory["t4"]["estimate"]
    assert estimate["total"] == sum(part for name, part in estimate.items() if name != "total")
    assert (memory["t4"]["gpus"], memory["t4"]["tokens_per_pass"]) == (4, 8192)
    exceeded = [line for line in body["warnings"] if "training needs about" in line]
    assert [line.partition(":")[0] for line in exceeded] == ["t4", "told"]
    assert "one has 14.0 GiB; what helps: more GPUs" in exceeded[0]
    assert exceeded[0].endswith("(the default partition: t4)")
    said = lab.meds1(*asked)
    assert "Memory of each GPU (estimate)" in said.stdout
    assert "not compared: Slurm names no GPUs of partition none; slurm.training.gpu_memory says" in said.stdout
    assert "warning: t4: training needs about" in said.stderr


def test_an_estimate_of_a_model_that_is_not_here_is_unknown(lab: Lab) -> None:
    hub = {"hf_path": "some/model", "max_length": 256}
    edit_json(lab.folder / "config.json", lambda catalog: catalog["models"].update(far=hub))
    add(lab, "far", like="told", model_key="far")
    body = answer_of(
        lab, "submit", "far", "--cluster", "local", "--dry-run", "--stage", "training", "--stage", "curation"
    )
    assert body["data"]["memory"]["far"]["estimate"] is None
    assert body["data"]["memory"]["far"]["unknown"].startswith("unknown: some/model is not on this machine")
