"""A model that is adapters on a base: the engines answer with it as with the merged model, or say why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference.checkpoint import max_positions
from inference.engine import EngineSpec, Request, Sampling, open_engine
from registry.errors import MissingError, UsageError
from registry.fields import EngineName
from tests.tiny import ENGINES, NEEDS_VLLM, make_tiny_model

REQUESTS = [Request(f"q{i}", ({"role": "user", "content": f"Which drug lowers {i}?"},)) for i in range(4)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A base, adapters that change its answers, and both merged."""
    folder = tmp_path_factory.mktemp("models")
    base = make_tiny_model(folder / "base")
    return base, make_adapter(base, folder / "adapter"), make_merged(base, folder / "adapter", folder / "merged")


def make_adapter(base: Path, folder: Path, **settings: Any) -> Path:
    """Write random adapters of rank 4 for the model in `base`, with its tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LoraConfig(
            task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False, **settings
        )
        get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def make_merged(base: Path, adapter: Path, folder: Path) -> Path:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    model.merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def answers(name: EngineName, model: Path) -> dict[str, str]:
    with open_engine(EngineSpec(name, model, 128)) as engine:
        return {answer.id: answer.text for answer in engine.generate(REQUESTS, Sampling(max_tokens=8))}


@pytest.mark.parametrize("name", ENGINES)
def test_adapters_answer_as_the_merged_model(name: EngineName, models: tuple[Path, Path, Path]) -> None:
    base, adapter, merged = models
    expected = answers(name, merged)
    assert expected != answers(name, base)
    assert answers(name, adapter) == expected


def test_the_positions_are_those_of_the_base(models: tuple[Path, Path, Path]) -> None:
    base, adapter, _ = models
    assert max_positions(adapter) == max_positions(base) == 512
    with (
        pytest.raises(UsageError, match="max_length 1024 is beyond the model's 512 positions"),
        open_engine(EngineSpec("transformers", adapter, 1024)),
    ):
        pass


@pytest.mark.parametrize("name", ENGINES)
def test_a_base_that_is_gone_is_named(name: EngineName, tmp_path: Path) -> None:
    adapter = make_adapter(make_tiny_model(tmp_path / "base"), tmp_path / "adapter")
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    message = f"{adapter} holds adapters for the model in {tmp_path / 'base'}, which is not there"
    with pytest.raises(MissingError, match=message), open_engine(EngineSpec(name, adapter, 128)):
        pass


def test_a_damaged_adapter_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4}))
    with (
        pytest.raises(MissingError, match=r"adapter_config.json is no config of a LoRA adapter"),
        open_engine(EngineSpec("transformers", tmp_path, 128)),
    ):
        pass


@NEEDS_VLLM
def test_vllm_says_which_adapters_it_cannot_run(models: tuple[Path, Path, Path], tmp_path: Path) -> None:
    saved = make_adapter(models[0], tmp_path / "adapter", modules_to_save=["lm_head"])
    with (
        pytest.raises(UsageError, match=r"adapters that replace whole layers \(lm_head\)"),
        open_engine(EngineSpec("vllm", saved, 128)),
    ):
        pass
    assert answers("transformers", saved)
