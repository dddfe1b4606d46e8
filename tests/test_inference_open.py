"""Opening and closing engines: one after the other in one process, and every reason why one cannot be opened."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from inference.data_parallel import copies_of, devices_of
from inference.engine import EngineSpec, Generation, Request, Sampling, open_engine
from registry.errors import Meds1Error, MissingError, StageFailure, UsageError
from registry.fields import EngineName
from tests.tiny import CHAT_TEMPLATE, ENGINES, NEEDS_VLLM, change_json, make_tiny_model

REQUEST = Request("q", ({"role": "user", "content": "Which drug?"},))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def model(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be changed at will."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def answer(spec: EngineSpec, sampling: Sampling) -> Generation:
    with open_engine(spec) as engine:
        (generation,) = engine.generate([REQUEST], sampling)
    return generation


@pytest.mark.parametrize("name", ENGINES)
def test_of_the_generation_config_only_the_end_tokens_are_followed(name: EngineName, model: Path) -> None:
    ids, text = greedy(model, 12)
    position = next(i for i in range(4, 12) if ids[i] not in ids[:i])
    settings = {"do_sample": True, "temperature": 0.6, "top_k": 2, "repetition_penalty": 5.0, "max_length": 20}
    change_json(model / "generation_config.json", eos_token_id=[2, ids[position]], **settings)
    generation = answer(EngineSpec(name, model, 128), Sampling(max_tokens=12))
    assert (generation.finish_reason, generation.completion_tokens) == ("stop", position + 1)
    assert generation.text == text(ids[:position])


def greedy(model: Path, count: int) -> tuple[list[int], Callable[[list[int]], str]]:
    """The model's first `count` greedy tokens, by plain transformers, and its tokenizer's decoder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = tokenizer.apply_chat_template(list(REQUEST.messages), add_generation_prompt=True, return_dict=False)
    network = AutoModelForCausalLM.from_pretrained(model).eval()
    output = network.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=count)
    return output[0, len(ids) :].tolist(), tokenizer.decode


def test_thinking_that_the_template_opens_is_part_of_the_text(model: Path) -> None:
    template = CHAT_TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    assert template != CHAT_TEMPLATE
    (model / "chat_template.jinja").write_text(template)
    generation = answer(EngineSpec("transformers", model, 128), Sampling(max_tokens=4))
    assert generation.text.startswith("<think>\n")
    assert generation.completion_tokens == 4
    held = [replace(REQUEST, id=text, continuation=text) for text in ("<think>\nThe patient", "The patient")]
    with open_engine(EngineSpec("transformers", model, 128)) as engine:
        marked, bare = engine.generate(held, Sampling(max_tokens=4))
    assert marked.text == bare.text
    assert marked.prompt_tokens == bare.prompt_tokens > generation.prompt_tokens, "the mark is in the prompt once"
    assert "<think>" not in marked.text


@NEEDS_VLLM
def test_closing_vllm_gives_back_its_memory_and_the_process(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    answer(EngineSpec("vllm", model, 128), Sampling(max_tokens=4))  # the first opening also imports the library
    environment, setter, threads = dict(os.environ), torch.set_num_threads, torch.get_num_threads()
    before = psutil.Process().memory_info().rss
    for _ in range(2):
        with open_engine(EngineSpec("vllm", model, 128)) as engine:
            assert len(list(engine.generate([REQUEST], Sampling(max_tokens=4)))) == 1
            assert psutil.Process().memory_info().rss - before > 2**29, "the key-value cache is 1 GiB"
        assert dict(os.environ) == environment
        assert torch.set_num_threads is setter
        assert torch.get_num_threads() == threads
        assert not torch.distributed.is_initialized()
        assert psutil.Process().memory_info().rss - before < 2**29


Breakage = Callable[[Path], object]


def remove_tokenizer(model: Path) -> None:
    for file in model.glob("token*"):
        file.unlink()


NOT_OPENED: list[tuple[str, Breakage, type[Meds1Error], str]] = [
    ("no folder", shutil.rmtree, MissingError, "is no model folder"),
    ("no weights", lambda m: (m / "model.safetensors").unlink(), MissingError, "holds no model weights"),
    ("torn config", lambda m: (m / "config.json").write_text("{"), MissingError, "not readable JSON"),
    ("no tokenizer", remove_tokenizer, MissingError, "no usable tokenizer"),
    ("empty tokenizer", lambda m: (m / "tokenizer.json").write_text("{}"), MissingError, "no usable tokenizer"),
    ("no template", lambda m: (m / "chat_template.jinja").unlink(), UsageError, "no chat template"),
    ("few positions", lambda m: change_json(m / "config.json", max_position_embeddings=64), UsageError, "64 positions"),
    ("unknown model", lambda m: change_json(m / "config.json", model_type="x"), StageFailure, "cannot open"),
    ("cut weights", lambda m: os.truncate(m / "model.safetensors", 5000), StageFailure, "cannot open"),
]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    ("breakage", "error", "words"), [case[1:] for case in NOT_OPENED], ids=[c[0] for c in NOT_OPENED]
)
def test_a_model_that_cannot_be_opened_is_one_clear_line(
    name: EngineName, model: Path, breakage: Breakage, error: type[Meds1Error], words: str
) -> None:
    breakage(model)
    with pytest.raises(error) as caught, open_engine(EngineSpec(name, model, 128)):
        pytest.fail("opened")
    message = str(caught.value)
    assert words in message
    assert str(model) in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_opens_after_one_that_did_not(name: EngineName, tiny: Path, model: Path) -> None:
    os.truncate(model / "model.safetensors", 5000)
    with pytest.raises(StageFailure), open_engine(EngineSpec(name, model, 128)):
        pytest.fail("opened")
    assert answer(EngineSpec(name, tiny, 128), Sampling(max_tokens=4)).error is None


@pytest.mark.parametrize("name", ENGINES)
def test_more_gpus_than_there_are_is_refused(name: EngineName, model: Path) -> None:
    spec = EngineSpec(name, model, 128, tensor_parallel=999)
    with pytest.raises(UsageError, match="tensor_parallel"), open_engine(spec):
        pytest.fail("opened")


def test_copies_are_as_many_as_the_gpus_hold() -> None:
    spec = EngineSpec("vllm", Path("model"), 128, tensor_parallel=2)
    assert [copies_of(spec, gpus) for gpus in (2, 5, 8)] == [1, 2, 4]
    assert copies_of(replace(spec, data_parallel=3), 8) == 3
    with pytest.raises(UsageError, match="data_parallel 4 times tensor_parallel 2 needs 8 GPUs, 7 are visible"):
        copies_of(replace(spec, data_parallel=4), 7)
    assert [copies_of(replace(spec, tensor_parallel=1, data_parallel=n), 0) for n in (None, 1, 3)] == [1, 1, 3]


def test_each_copy_sees_gpus_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices_of(2, 2, 5) == ["0,1", "2,3"]
    assert devices_of(2, 1, 0) == ["", ""]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-8f,7")
    assert devices_of(3, 1, 3) == ["4", "GPU-8f", "7"]


def test_the_transformers_engine_has_one_copy(model: Path) -> None:
    spec = EngineSpec("transformers", model, 128, data_parallel=2)
    with pytest.raises(UsageError, match=r"runs on one device.*data_parallel 2"), open_engine(spec):
        pytest.fail("opened")


def test_messages_that_the_template_refuses_cost_their_own_answer_alone(model: Path) -> None:
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system\\nrole') }}{% endif %}"
    (model / "chat_template.jinja").write_text(refusing + CHAT_TEMPLATE)
    refused = Request("r", ({"role": "system", "content": "Be brief."}, *REQUEST.messages))
    with open_engine(EngineSpec("transformers", model, 128)) as engine:
        found = {g.id: g for g in engine.generate([refused, REQUEST], Sampling(max_tokens=4, n=2, temperature=1.0))}
    assert (found["r"].finish_reason, found["q"].error) == ("error", None)
    assert str(model) in (found["r"].error or "")
    assert "refuses the messages: no system role" in (found["r"].error or "")


def test_without_vllm_the_other_engine_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(MissingError, match=r"vllm is not installed.*transformers"),
        open_engine(EngineSpec("vllm", model, 128)),
    ):
        pytest.fail("opened")


def test_a_batch_that_does_not_fit_into_memory_is_halved(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is made: a model that has memory for three rows, and none for a prompt of 90 tokens."""
    import torch
    from transformers import LlamaForCausalLM

    requests = [replace(REQUEST, id=f"q{i}") for i in range(10)]
    long = Request("long", ({"role": "user", "content": "?" * 90},))
    with open_engine(EngineSpec("transformers", tiny, 128)) as engine:
        whole = {g.id: g for g in engine.generate(requests, Sampling(max_tokens=6, temperature=1.0))}
        generate = LlamaForCausalLM.generate

        def cramped(self: Any, input_ids: torch.Tensor, **arguments: Any) -> Any:
            if input_ids.shape[0] > 3 or input_ids.shape[1] > 90:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
            return generate(self, input_ids=input_ids, **arguments)

        monkeypatch.setattr(LlamaForCausalLM, "generate", cramped)
        found = {g.id: g for g in engine.generate([long, *requests], Sampling(max_tokens=6, temperature=1.0))}
    assert found.pop("long").error is not None
    assert found == whole
