"""Two processes under torchrun with FSDP2 over gloo train what one process trains."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.stage import StageOutput
from tests.training_case import Case, finish, make_case, start
from train.stage import run

GENERATE = """
import json, sys
from vllm import LLM, SamplingParams
model = LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=256, seed=0)
output = model.chat(json.loads(sys.argv[2]), SamplingParams(temperature=0.0, max_tokens=12))
print("TOKENS", json.dumps(list(output[0].outputs[0].token_ids)))
"""
QUESTION = [{"role": "user", "content": "Which drug lowers pressure 3?\n\nA. one\nB. two\nC. three\nD. four"}]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> StageOutput:
    return run(make_case(tmp_path_factory.mktemp("single"), gradient_checkpointing=True).context())


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, dict[str, Any]]:
    """That the parameters are DTensors is checked by the stage itself, which refuses to train otherwise."""
    case = make_case(tmp_path_factory.mktemp("sharded"), gradient_checkpointing=True)
    return case, finish(start(case, processes=2), case)


def test_the_batch_is_the_same_and_so_are_the_losses(single: StageOutput, sharded: tuple[Case, dict[str, Any]]) -> None:
    one, two = single.metrics, sharded[1]
    assert (one["world_size"], two["world_size"]) == (1, 2)
    assert (one["accumulation"], two["accumulation"]) == (4, 2)
    for name in ("global_batch", "steps", "rows", "tokens", "completion_tokens_per_epoch"):
        assert one[name] == two[name]
    assert [point["loss"] for point in two["loss_curve"]] == pytest.approx(
        [point["loss"] for point in one["loss_curve"]], rel=1e-3
    )
    assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-3)


def test_one_consolidated_model_is_left(single: StageOutput, sharded: tuple[Case, dict[str, Any]]) -> None:
    from safetensors.torch import load_file

    case = sharded[0]
    assert {path.name for path in case.run_dir.iterdir()} == {"case.json", "output.json", "loss_curve.csv", "model"}
    one = load_file(single.artifacts["model_path"] / "model.safetensors")
    two = load_file(case.run_dir / "model" / "model.safetensors")
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3


def test_vllm_and_transformers_generate_alike_from_it(sharded: tuple[Case, dict[str, Any]]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = sharded[0].run_dir / "model"
    generated = subprocess.run(
        [sys.executable, "-c", GENERATE, str(model), json.dumps(QUESTION)],
        env={**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert generated.returncode == 0, generated.stderr[-4000:]
    tokens = json.loads(next(line for line in generated.stdout.splitlines() if line.startswith("TOKENS"))[7:])
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    answer = AutoModelForCausalLM.from_pretrained(model).generate(**prompt, do_sample=False, max_new_tokens=12)
    assert tokens == answer[0, prompt["input_ids"].shape[1] :].tolist()


def test_a_batch_that_two_processes_cannot_share_is_refused(tmp_path: Path) -> None:
    case = make_case(tmp_path, total_batch_size=5)
    process = start(case, processes=2)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "UsageError: tiny: a global batch of 5 rows cannot be shared by 2 processes" in errors
