"""Where supervised fine-tuning and GRPO part: what is prepared, what trainer that gives, what is recorded of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry.errors import naming
from registry.stage import StageContext
from train import grpo_task, task
from train.arguments import training_arguments
from train.grpo_measures import grpo_metrics
from train.grpo_task import GrpoTask
from train.measures import training_metrics
from train.task import Task
from train.tokens import cumulative
from train.trainer import build_trainer

AnyTask = Task | GrpoTask


def prepare(context: StageContext) -> AnyTask:
    """What the experiment's method trains, before a model is loaded; each failure names the experiment."""
    params = context.config.training
    with naming(context.config.experiment):
        if params is not None and params.method == "grpo":
            return grpo_task.prepare(context)
        return task.prepare(context)


def arguments(prepared: AnyTask, folder: Path) -> Any:
    """The arguments of TRL's trainer, with checkpoints in `folder`. Collective: every rank calls it."""
    if not isinstance(prepared, GrpoTask):
        return training_arguments(prepared, folder)
    from train.grpo import grpo_arguments

    return grpo_arguments(prepared, folder)


def build(prepared: AnyTask, given: Any, callbacks: list[Any]) -> Any:
    """The trainer, checked against the plan; `StageFailure` when it would train in another way."""
    if not isinstance(prepared, GrpoTask):
        return build_trainer(prepared, given, callbacks)
    from train.grpo import build_grpo_trainer

    return build_grpo_trainer(prepared, given, callbacks)


def learned_tokens(prepared: AnyTask) -> list[int] | None:
    """Tokens of the rows of the first 1, 2, ... optimizer steps; None where they are not there before training."""
    if isinstance(prepared, GrpoTask):
        return None
    return cumulative(prepared.layout, prepared.plan.world_size, prepared.train.lengths)


def metrics(prepared: AnyTask, trainer: Any) -> dict[str, Any]:
    """What is recorded of a completed training. Collective: every rank calls it."""
    if isinstance(prepared, GrpoTask):
        return grpo_metrics(prepared, trainer)
    return training_metrics(prepared, trainer)
