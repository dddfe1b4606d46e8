"""Learning rate, weight decay and AdamW's steps against closed forms and an AdamW written out in numpy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training_case import Case, curve, make_case
from train.arguments import training_arguments
from train.examples import IGNORED
from train.stage import run
from train.task import prepare
from train.trainer import build_trainer

PEAK = 2e-3


def closed_form(scheduler: str, step: int, warmup: int, steps: int) -> float:
    """The learning rate of the optimizer step with this number, counted from 0."""
    if step < warmup:
        return PEAK * step / warmup
    passed = (step - warmup) / (steps - warmup)
    return PEAK * {"cosine": (1 + math.cos(math.pi * passed)) / 2, "linear": 1 - passed, "constant": 1.0}[scheduler]


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant"])
@pytest.mark.parametrize(("epochs", "ratio", "warmup"), [(5, 0.1, 2), (2.5, 0.0, 0), (10, 0.33, 13)])
def test_the_learning_rate_is_the_closed_form_at_every_step(
    tmp_path: Path, scheduler: str, epochs: float, ratio: float, warmup: int
) -> None:
    import torch

    case = make_case(tmp_path, num_epochs=epochs, warmup_ratio=ratio, lr_scheduler=scheduler, learning_rate=PEAK)
    task = prepare(case.context())
    steps = math.ceil(epochs * 4)  # 27 rows in batches of 8
    assert (task.steps, task.params.warmup_steps(task.steps)) == (steps, warmup)
    arguments = training_arguments(task, tmp_path / "out")
    made = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=arguments.learning_rate)
    rates = scheduled(arguments, made, steps)
    assert rates == pytest.approx([closed_form(scheduler, step, warmup, steps) for step in range(steps)])


def scheduled(arguments: Any, optimizer: Any, steps: int) -> list[float]:
    """The rates that transformers' schedule of these arguments gives, as its trainer makes it."""
    from transformers import get_scheduler

    schedule = get_scheduler(arguments.lr_scheduler_type, optimizer, arguments.get_warmup_steps(steps), steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_the_rates_of_a_real_training_are_those(tmp_path: Path) -> None:
    output = run(make_case(tmp_path, num_epochs=3, warmup_ratio=0.2, lr_scheduler="linear").context())
    rates = [float(point["learning_rate"]) for point in curve(output.artifacts)]
    assert rates == pytest.approx([closed_form("linear", step, 2, 12) for step in range(12)])


def test_norms_biases_and_what_is_named_are_not_decayed(tmp_path: Path) -> None:
    case = make_case(tmp_path, rows=8, optimizer={"no_decay_params": ["embed_tokens"], "adam_epsilon": 1e-6})
    with_biases(Path(str(case.config.model.file_path)))
    task = prepare(case.context())
    trainer = build_trainer(task, training_arguments(task, tmp_path / "out"), [])
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    groups = {
        group["weight_decay"]: {names[id(parameter)] for parameter in group["params"]}
        for group in trainer.create_optimizer().param_groups
    }
    assert groups[0.0] | groups[0.1] == set(names.values())
    spared = {name for name in names.values() if "norm" in name or name.endswith("bias") or "embed_tokens" in name}
    assert groups[0.0] == spared
    assert any(name.endswith("bias") for name in spared)
    for group in trainer.optimizer.param_groups:
        assert (group["betas"], group["eps"], group["amsgrad"]) == ((0.9, 0.95), 1e-6, False)


def with_biases(folder: Path) -> None:
    """Give the model in `folder` biases in its attention."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    config.attention_bias = True
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


@pytest.mark.parametrize("max_grad_norm", [0.5, 1e6])
def test_three_steps_are_those_of_an_adamw_in_numpy(tmp_path: Path, max_grad_norm: float) -> None:
    """With a large epsilon, so that the gradient's length, and thereby its clipping, shows."""
    from safetensors.numpy import load_file

    adam = {"adam_beta1": 0.8, "adam_beta2": 0.9, "adam_epsilon": 0.05, "no_decay_params": ["lm_head"]}
    case = make_case(
        tmp_path,
        rows=8,
        num_epochs=3,
        learning_rate=0.01,
        lr_scheduler="constant",
        warmup_ratio=0.0,
        max_grad_norm=max_grad_norm,
        optimizer=adam,
    )
    output = run(case.context())
    expected, norms = adamw_by_hand(case, steps=3)
    assert [float(point["grad_norm"]) for point in curve(output.artifacts)] == pytest.approx(norms, rel=1e-4)
    assert (min(norms) > max_grad_norm) == (max_grad_norm == 0.5)
    trained = load_file(output.artifacts["model_path"] / "model.safetensors")
    assert trained.keys() == expected.keys()
    for name, weight in trained.items():
        assert np.linalg.norm(weight - expected[name]) < 1e-5 * np.linalg.norm(expected[name]), name


def adamw_by_hand(case: Case, steps: int) -> tuple[dict[str, Any], list[float]]:
    """The weights after `steps` over all rows at once, and the gradients' norms (Loshchilov & Hutter, 2019)."""
    task = prepare(case.context())
    params, adam = task.params, task.params.optimizer
    model = reference_model(task.model_path)
    weights = {name: weight.detach().numpy().astype(np.float64) for name, weight in model.named_parameters()}
    first = {name: np.zeros_like(weight) for name, weight in weights.items()}
    second = {name: np.zeros_like(weight) for name, weight in weights.items()}
    norms = []
    for step in range(1, steps + 1):
        gradients = gradients_of(model, weights, task.train.dataset)
        norms.append(math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values())))
        scale = min(1.0, params.max_grad_norm / norms[-1])
        for name, gradient in gradients.items():
            first[name] = adam.adam_beta1 * first[name] + (1 - adam.adam_beta1) * scale * gradient
            second[name] = adam.adam_beta2 * second[name] + (1 - adam.adam_beta2) * (scale * gradient) ** 2
            mean = first[name] / (1 - adam.adam_beta1**step)
            spread = np.sqrt(second[name] / (1 - adam.adam_beta2**step))
            decay = 0.0 if "norm" in name or "lm_head" in name else params.weight_decay
            weights[name] = weights[name] * (1 - params.learning_rate * decay)
            weights[name] -= params.learning_rate * mean / (spread + adam.adam_epsilon)
    return weights, norms


def reference_model(path: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path)


def gradients_of(model: Any, weights: dict[str, Any], rows: Any) -> dict[str, Any]:
    """Of the mean loss over all completion tokens of all rows, one row after the other."""
    import torch
    from torch.nn.functional import cross_entropy

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weights[name]))
    model.zero_grad()
    tokens = sum(label != IGNORED for row in rows for label in row["labels"][1:])
    for row in rows:
        logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1]
        loss = cross_entropy(logits, torch.tensor(row["labels"][1:]), ignore_index=IGNORED, reduction="sum")
        (loss / tokens).backward()
    return {name: parameter.grad.numpy().astype(np.float64) for name, parameter in model.named_parameters()}
