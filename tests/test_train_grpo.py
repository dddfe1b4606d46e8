"""GRPO on a tiny model that guesses: checkable rewards rise, on one process and on two, stopped and resumed."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from inference.formats import FORMATS
from registry.errors import EXIT_STOPPED
from registry.stage import StageOutput
from tests.grpo_case import make_grpo_case, question
from tests.test_train_fsdp import ranks_of
from tests.tiny import NEEDS_VLLM, make_tiny_model
from tests.training_case import ROOT, Case, finish, has_checkpoint, losses, read_metrics, start, wait_for
from train import grpo_task
from train.grpo_task import question_order
from train.stage import run

COLOCATED = ROOT / "tests" / "colocated_vllm.py"


@pytest.fixture(scope="module")
def guesser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that answers in the format huatuo, with each of four letters about as often."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_tiny_model(tmp_path_factory.mktemp("guesser"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoModelForCausalLM.from_pretrained(folder).config
    config.initializer_range = 0.02
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    asked = [question(number)["prompt"] for number in range(0, 22, 3)]
    said = [FORMATS["huatuo"].completion("so", f"The answer is {letter}") for letter in "ABCD"]
    turns = [(prompt, [*prompt, {"role": "assistant", "content": text}]) for prompt in asked for text in said]
    texts = [tokenizer.apply_chat_template(turn, tokenize=False).rstrip("\n") for _, turn in turns]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    for row, (prompt, _) in enumerate(turns):
        begin = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        labels[row, : len(begin)] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


def guessing_case(folder: Path, guesser: Path, **params: Any) -> Case:
    """`make_grpo_case` with the model that guesses."""
    case = make_grpo_case(folder, **params)
    shutil.copytree(guesser, str(case.config.model.file_path), dirs_exist_ok=True)
    return case


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, guesser: Path) -> tuple[Case, StageOutput]:
    case = guessing_case(tmp_path_factory.mktemp("trained"), guesser)
    return case, run(case.context())


def test_the_rewards_rise(trained: tuple[Case, StageOutput]) -> None:
    metrics = trained[1].metrics
    accuracy, layout = metrics["rewards"]["accuracy"], metrics["rewards"]["format"]
    assert accuracy["last"] > accuracy["first"] + 0.3
    assert metrics["reward"]["last"] == pytest.approx(accuracy["last"] + 0.5 * layout["last"])
    assert metrics["reward"]["highest"] >= metrics["reward"]["last"] > metrics["reward"]["first"]


def test_the_metrics_say_what_was_done(trained: tuple[Case, StageOutput]) -> None:
    metrics = trained[1].metrics
    expected = {"rows": 22, "rows_dropped": 0, "steps": 18, "global_batch": 32, "completions": 18 * 32, "kl": None}
    assert {name: metrics[name] for name in expected} == expected
    assert 0 < metrics["completion_tokens_mean"]["last"] <= 24
    assert 0 <= metrics["completions_clipped"]["last"] <= 1
    assert metrics["tokens"] > metrics["completions"] * metrics["completion_tokens_mean"]["last"]
    assert metrics["resolved"]["questions_per_step"] == 4
    assert metrics["resolved"]["generation"] == "transformers"


def test_a_loss_that_is_no_number_would_name_the_questions_of_its_step(trained: tuple[Case, StageOutput]) -> None:
    from train.grpo import ids_of_step

    task = grpo_task.prepare(trained[0].context())
    per_epoch = task.plan.steps_per_epoch(task.questions.rows * task.grpo.num_generations)
    for epoch in range(2):
        steps = range(epoch * per_epoch + 1, (epoch + 1) * per_epoch + 1)
        read = [ids_of_step(task, step, 0) for step in steps]
        assert {row for rows in read for row in rows} == set(task.questions.ids)
        wanted = question_order(task.questions.rows, len(read[0]), task.params.seed, epoch)
        assert read == [[task.questions.ids[question] for question in step] for step in wanted]


def test_a_stopped_training_ends_as_one_that_nobody_disturbed(
    tmp_path: Path, guesser: Path, trained: tuple[Case, StageOutput]
) -> None:
    case = guessing_case(tmp_path, guesser)
    process = start(case)
    wait_for(lambda: has_checkpoint(case, 1), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == EXIT_STOPPED, errors[-4000:]
    assert not (case.run_dir / "model").exists()
    output = run(case.context())
    assert 0 < output.metrics["steps_this_attempt"] < 18
    assert losses(output.artifacts) == losses(trained[1].artifacts)
    assert output.metrics["rewards"] == trained[1].metrics["rewards"]
    assert output.metrics["tokens"] == trained[1].metrics["tokens"]


@pytest.mark.full
def test_two_processes_hold_shards_and_measure_the_divergence_from_the_whole_base_model(
    tmp_path: Path, guesser: Path
) -> None:
    from safetensors.torch import load_file

    case = guessing_case(tmp_path, guesser, grpo={"beta": 0.05}, num_epochs=2.3)
    metrics = finish(start(case, processes=2), case)
    assert (metrics["world_size"], metrics["accumulation"], metrics["steps"]) == (2, 1, 14)
    assert metrics["rewards"]["accuracy"]["last"] > metrics["rewards"]["accuracy"]["first"] + 0.2
    # A tenth of 14 steps is one, before which the model is the base model.
    assert abs(metrics["kl"]["first"]) < 1e-6 < 1e-3 < metrics["kl"]["last"]
    saved = load_file(case.run_dir / "model" / "model.safetensors")
    assert saved.keys() == load_file(guesser / "model.safetensors").keys()


@pytest.mark.full
def test_two_processes_are_stopped_by_one_ranks_signal_and_resumed(tmp_path: Path, guesser: Path) -> None:
    whole = guessing_case(tmp_path / "whole", guesser)
    undisturbed = losses(finish(start(whole, processes=2), whole))
    case = guessing_case(tmp_path / "stopped", guesser)
    launcher = start(case, processes=2)
    wait_for(lambda: has_checkpoint(case, 2), launcher)
    ranks_of(launcher)[1].send_signal(signal.SIGTERM)
    _, errors = launcher.communicate()
    assert errors.count("StageStopped: tiny: training is saved after step") == 2, errors[-4000:]
    metrics = finish(start(case, processes=2), case)
    assert 0 < metrics["steps_this_attempt"] < 18
    assert losses(metrics) == undisturbed


@NEEDS_VLLM
@pytest.mark.full
@pytest.mark.parametrize("processes", [1, 2])
def test_vllm_completes_with_the_weights_of_each_step(tmp_path: Path, guesser: Path, processes: int) -> None:
    case = guessing_case(tmp_path, guesser)
    engine = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
    process = start(case, processes, program=COLOCATED, **engine)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-4000:]
    assert "Exception ignored" not in errors
    metrics = read_metrics(case)
    assert metrics["resolved"]["generation"] == "vllm"
    assert metrics["rewards"]["accuracy"]["last"] > metrics["rewards"]["accuracy"]["first"] + 0.3
    assert metrics["sampling_difference"]["last"] < 0.05


@pytest.mark.full
def test_adapters_are_trained_on_two_processes_and_merged(tmp_path: Path, guesser: Path) -> None:
    from safetensors.torch import load_file

    case = guessing_case(tmp_path, guesser, lora={"rank": 4}, learning_rate=1e-2, num_epochs=1)
    metrics = finish(start(case, processes=2), case)
    resolved = metrics["resolved"]
    assert 0 < resolved["parameters_trained"] < resolved["parameters"] / 4
    before, after = load_file(guesser / "model.safetensors"), load_file(case.run_dir / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    assert {name for name in before if not before[name].equal(after[name])} == {n for n in before if "_proj" in n}


def test_a_training_in_which_no_reward_differs_says_so(tmp_path: Path) -> None:
    output = run(make_grpo_case(tmp_path, num_epochs=1).context())  # a model with random weights is never right
    assert output.metrics["reward"]["highest"] == 0.0
    assert "nothing was learned" in output.metrics["warnings"][0]
