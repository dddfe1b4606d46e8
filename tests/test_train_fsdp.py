"""Two processes under torchrun with FSDP2 over gloo train what one process trains."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from registry.stage import StageOutput
from tests.training_case import ROOT, Case, finish, has_checkpoint, losses, make_case, start, wait_for
from train.checkpoints import checkpoint_folder, find_newest
from train.stage import run

GENERATE = """
import json, sys
from vllm import LLM, SamplingParams
model = LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=256, seed=0)
output = model.chat(json.loads(sys.argv[2]), SamplingParams(temperature=0.0, max_tokens=12))
print("TOKENS", json.dumps(list(output[0].outputs[0].token_ids)))
"""
# Trains a case, then prints what this rank gathers of the weights: their hash, and how many of them it holds itself.
GATHER = """
import hashlib, json, os, sys
from pathlib import Path
from registry.effective import EffectiveConfig
from tests.training_case import Case
from train.arguments import training_arguments
from train.distributed import export, processes_from
from train.task import prepare
from train.trainer import build_trainer
file = Path(sys.argv[1])
described = json.loads(file.read_text())
case = Case(EffectiveConfig.model_validate(described["config"]), file.parent, Path(described["dataset"]))
place = processes_from(os.environ)
export(place, os.environ)
task = prepare(case.context(place.rank, place.world_size))
trainer = build_trainer(task, training_arguments(task, file.parent / "checkpoints"), [])
trainer.train()
weights = trainer.model.state_dict().values()
whole = b"".join(weight.full_tensor().numpy().tobytes() for weight in weights)
own = sum(weight.to_local().numel() for weight in weights)
seen = [hashlib.sha256(whole).hexdigest(), own, len(whole) // 4]
(file.parent / f"rank{place.rank}.json").write_text(json.dumps(seen))
trainer.accelerator.end_training()
"""
STEPS = 52
# A learning rate at which float noise does not grow: with the cases' own, two runs part after twenty steps.
LONG: dict[str, Any] = {"num_epochs": 13, "learning_rate": 3e-4, "gradient_checkpointing": True}
QUESTION = [{"role": "user", "content": "Which drug lowers pressure 3?\n\nA. one\nB. two\nC. three\nD. four"}]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> StageOutput:
    return run(make_case(tmp_path_factory.mktemp("single"), **LONG).context())


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, dict[str, Any]]:
    """That the parameters are DTensors is checked by the stage itself, which refuses to train otherwise."""
    case = make_case(tmp_path_factory.mktemp("sharded"), **LONG)
    return case, finish(start(case, processes=2), case)


def test_the_batch_is_the_same_and_so_are_the_losses(single: StageOutput, sharded: tuple[Case, dict[str, Any]]) -> None:
    one, two = single.metrics, sharded[1]
    assert (one["world_size"], two["world_size"]) == (1, 2)
    assert (one["accumulation"], two["accumulation"]) == (4, 2)
    for name in ("global_batch", "steps", "rows", "tokens", "completion_tokens_per_epoch"):
        assert one[name] == two[name]
    assert one["steps"] == STEPS
    assert_same_training(two, single)


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.full)])
def test_packed_rows_train_the_same_on_several_processes(tmp_path: Path, single: StageOutput, processes: int) -> None:
    case = make_case(tmp_path, packing=True, **LONG)
    packed = finish(start(case, processes), case)
    assert packed["world_size"] == processes
    assert_same_training(packed, single)


def assert_same_training(metrics: dict[str, Any], single: StageOutput) -> None:
    """Losses agree within 1e-3, and each weight within 1e-3 of its norm."""
    from safetensors.torch import load_file

    assert losses(metrics) == pytest.approx(losses(single.artifacts), rel=1e-3)
    assert metrics["validation_loss"] == pytest.approx(single.metrics["validation_loss"], rel=1e-3)
    expected = load_file(single.artifacts["model_path"] / "model.safetensors")
    left = load_file(Path(metrics["model_path"]) / "model.safetensors")
    assert left.keys() == expected.keys()
    for name, weight in expected.items():
        assert (left[name] - weight).norm() <= 1e-3 * weight.norm(), name


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.full)])
def test_all_ranks_hold_parts_of_the_same_weights(tmp_path: Path, processes: int) -> None:
    case = make_case(tmp_path, num_epochs=1)
    program = tmp_path / "gather.py"
    program.write_text(GATHER)
    launcher = start(case, processes, program, PYTHONPATH=str(ROOT))
    _, errors = launcher.communicate()
    assert launcher.returncode == 0, errors[-4000:]
    seen = [json.loads((case.run_dir / f"rank{rank}.json").read_text()) for rank in range(processes)]
    hashes, own, sizes = zip(*seen, strict=True)
    assert len(set(hashes)) == 1
    assert sum(own) == sizes[0]
    assert max(own) < sizes[0]


def test_one_consolidated_model_is_left(sharded: tuple[Case, dict[str, Any]]) -> None:
    case = sharded[0]
    kept = {"model", "training_log.parquet", "loss_curve.png", "tensorboard"}
    assert {path.name for path in case.run_dir.iterdir()} == {"case.json", "output.json", *kept}
    assert (case.run_dir / "model" / "model.safetensors").is_file()


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


@pytest.mark.full
def test_stopped_by_one_ranks_signal_then_killed_then_resumed(
    tmp_path: Path, sharded: tuple[Case, dict[str, Any]]
) -> None:
    case = make_case(tmp_path, **LONG)
    launcher = start(case, processes=2)
    wait_for(lambda: has_checkpoint(case, 2), launcher)
    ranks_of(launcher)[1].send_signal(signal.SIGTERM)  # the ranks must agree: each alone would wait for the other
    _, errors = launcher.communicate()
    assert errors.count("StageStopped: tiny: training is saved after step") == 2, errors[-4000:]
    stopped = find_newest(checkpoint_folder(case.run_dir, 2)).newest
    assert stopped is not None

    launcher = start(case, processes=2)
    wait_for(lambda: has_checkpoint(case, 2, after=stopped.step), launcher)
    for rank in ranks_of(launcher):
        rank.kill()
    launcher.communicate()
    assert launcher.returncode != 0

    metrics = finish(start(case, processes=2), case)
    assert 0 < metrics["steps_this_attempt"] < STEPS - stopped.step
    assert losses(metrics) == losses(sharded[1])


def ranks_of(launcher: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes under torchrun that train."""
    children = psutil.Process(launcher.pid).children(recursive=True)
    return [child for child in children if any("training_case.py" in word for word in child.cmdline())]
