"""What is recorded of a training: losses and accuracies, work done and time taken, use of the hardware."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from train.batch import BatchPlan
from train.flops import flops_per_token, peak_flops
from train.hardware import peak_memory_bytes
from train.log import History, steps_of, validations_of
from train.resolved import resolved
from train.task import Task
from train.tokens import cumulative, packing_efficiency, padding_share, predicted_tokens
from train.validation import verdict


def training_metrics(task: Task, trainer: Any) -> dict[str, Any]:
    """The metrics of a completed training on rows. Collective: every rank calls it."""
    taken = metrics_of_any_method(trainer, task.plan)
    return {
        **taken,
        **verdict(task.params, task.steps, trainer.state.log_history, taken["steps"]),
        "rows": task.train.rows,
        "rows_dropped": task.train.rows_dropped,
        "rows_cut": task.train.rows_cut,
        "validation_rows": task.validation.rows if task.validation else 0,
        "tokens_per_epoch": task.train.tokens,
        "completion_tokens_per_epoch": task.train.completion_tokens,
        **_use_of_tokens(task, taken["steps"]),
        "mfu": _mfu(task, trainer, taken),
        "resolved": resolved(task),
    }


def metrics_of_any_method(trainer: Any, plan: BatchPlan) -> dict[str, Any]:
    """What is recorded of every training. Collective: every rank calls it.

    Losses are means over tokens, in nats; accuracies are the share of completion tokens that would be chosen greedily.
    Work and time are those of all attempts (see `train.meter` for what is counted); the speed is that of training,
    saving included, without validations.
    """
    history = trainer.state.log_history
    last, device = history[-1], trainer.args.device
    peak = trainer.accelerator.gather(_tensor(peak_memory_bytes(), device)).max().item()
    training = last["seconds"] - sum(entry["eval_runtime"] for entry in validations_of(history))
    return {
        **losses_and_accuracies(history),
        "validation_losses": [{"step": entry["step"], "loss": entry["eval_loss"]} for entry in validations_of(history)],
        "steps": trainer.state.global_step,
        "global_batch": plan.global_batch,
        "per_device_batch": plan.per_device,
        "accumulation": plan.accumulation,
        "world_size": plan.world_size,
        "tokens": last["tokens"],
        "tokens_per_second": round(last["tokens"] / training, 1),
        "seconds": last["seconds"],
        "gpu_hours": round(last["gpu_seconds"] / 3600, 4),
        "attempts": last["attempt"],
        "steps_this_attempt": sum(entry["attempt"] == last["attempt"] for entry in steps_of(history)),
        "peak_memory_bytes": max(peak, last["memory_bytes"]),
        "device": device.type,
        "device_name": _gpu_name(device),
        "precision": "bf16" if trainer.args.bf16 else "float32",
    }


def losses_and_accuracies(history: History) -> dict[str, float | None]:
    """The last and the best of each; validation's are null without validation rows."""
    found: dict[str, float | None] = {}
    for name, entries, prefix in (
        ("train", steps_of(history), ""),
        ("validation", validations_of(history), "eval_"),
    ):
        for measure, key, best in (("loss", "loss", min), ("token_accuracy", "mean_token_accuracy", max)):
            values = [entry[prefix + key] for entry in entries if prefix + key in entry]
            found[f"{name}_{measure}"] = values[-1] if values else None
            found[f"best_{name}_{measure}"] = best(values) if values else None
    return found


def utilisation(flops: float, tokens_per_second: float, peak: float) -> float:
    """Model FLOPs utilisation (PaLM, 2022): the FLOPs that a GPU's tokens need, as a share of what it could do."""
    return flops * tokens_per_second / peak


def _use_of_tokens(task: Task, steps: int) -> dict[str, Any]:
    lengths, pack = task.train.lengths, task.pack_tokens
    completion = cumulative(task.layout, task.plan.world_size, predicted_tokens(task.train.dataset))
    return {
        "completion_tokens": completion[steps - 1],
        "padding_share": round(padding_share(task.layout, lengths), 4),
        "packing_efficiency": round(packing_efficiency(task.layout, lengths, pack), 4) if pack else None,
    }


def _mfu(task: Task, trainer: Any, taken: Mapping[str, Any]) -> float | None:
    """Null where the GPU's peak or the architecture's FLOPs are unknown, and on a CPU."""
    name = _gpu_name(trainer.args.device)
    peak = peak_flops(name) if name else None
    if peak is None:
        return None
    lengths = task.train.lengths
    span = sum(length**2 for length in lengths) / sum(lengths)  # the row that a token stands in, on average
    flops = flops_per_token(trainer.model.config, span, _trained_weights(trainer) if task.params.lora else None)
    # Attempts may have run on different numbers of GPUs.
    last = trainer.state.log_history[-1]
    speed = taken["tokens_per_second"] * last["seconds"] / last["gpu_seconds"]
    return round(utilisation(flops, speed, peak), 4) if flops else None


def _trained_weights(trainer: Any) -> int:
    """Weights in matrix products that are trained: all that are not an embedding's."""
    from torch.nn import Embedding

    return sum(
        math.prod(weight.shape)
        for module in trainer.model.modules()
        if not isinstance(module, Embedding)
        for weight in module.parameters(recurse=False)
        if weight.requires_grad
    )


def _gpu_name(device: Any) -> str | None:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def _tensor(value: int, device: Any) -> Any:
    import torch

    return torch.tensor([value], device=device)
