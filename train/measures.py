"""What is recorded of a training: losses, throughput, memory; and the loss curve, a file of its own."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.task import Task, resolved

CURVE_FIELDS = ("step", "loss", "learning_rate", "grad_norm")


@dataclass(frozen=True, slots=True)
class Timing:
    """This attempt's share of the training: seconds spent in `steps` optimizer steps, evaluations included."""

    seconds: float
    steps: int


def training_metrics(task: Task, trainer: Any, timing: Timing) -> dict[str, Any]:
    """The metrics of a completed training. Losses are means over tokens (training) or rows (validation), in nats."""
    history = trainer.state.log_history
    curve, validation = loss_curve(history), validation_curve(history)
    tokens = round(task.train.tokens * task.params.num_epochs)
    return {
        "train_loss": curve[-1]["loss"],
        "validation_loss": validation[-1]["loss"] if validation else None,
        "validation_losses": validation,
        "steps": task.steps,
        "global_batch": task.plan.global_batch,
        "per_device_batch": task.plan.per_device,
        "accumulation": task.plan.accumulation,
        "world_size": task.plan.world_size,
        "rows": task.train.rows,
        "rows_dropped": task.train.rows_dropped,
        "rows_cut": task.train.rows_cut,
        "prompts_altered": task.train.prompts_altered,
        "validation_rows": task.validation.rows if task.validation else 0,
        "tokens_per_epoch": task.train.tokens,
        "completion_tokens_per_epoch": task.train.completion_tokens,
        "tokens": tokens,
        "steps_this_attempt": timing.steps,
        "seconds_this_attempt": round(timing.seconds, 3),
        "tokens_per_second": round(tokens * timing.steps / task.steps / timing.seconds, 1),
        "peak_memory_bytes": peak_memory_bytes(),
        "device": trainer.args.device.type,
        "precision": "bf16" if trainer.args.bf16 else "float32",
        "resolved": resolved(task),
    }


def loss_curve(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """One point per optimizer step from the trainer's log history: step, loss, learning rate, gradient norm."""
    return [{field: entry[field] for field in CURVE_FIELDS if field in entry} for entry in history if "loss" in entry]


def validation_curve(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The validation losses with the step that each was taken after."""
    return [{"step": entry["step"], "loss": entry["eval_loss"]} for entry in history if "eval_loss" in entry]


def write_curve(points: Sequence[dict[str, float]], path: Path) -> None:
    """The whole curve as CSV, written under a temporary name first."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=CURVE_FIELDS)
        writer.writeheader()
        writer.writerows(points)
    os.replace(temporary, path)


def peak_memory_bytes() -> int:
    """The most memory that this process held: on the GPU where there is one, else resident."""
    import resource
    import sys

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
