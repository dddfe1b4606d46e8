"""A task as the arguments of TRL's trainer: every value that transformers or TRL would otherwise choose by itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from registry.errors import UsageError
from registry.training_schema import TrainingParams
from train.grpo_task import GrpoTask
from train.hardware import optimizer_name, precision
from train.task import Task

SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def training_arguments(task: Task, folder: Path) -> Any:
    """TRL's `SFTConfig` with checkpoints in `folder`. Starts the process group, so every rank calls it."""
    from trl import SFTConfig

    arguments = SFTConfig(
        per_device_train_batch_size=task.layout.per_device,
        gradient_accumulation_steps=task.layout.accumulation,
        # One row at a time: train.feed weighs each by its tokens, however many processes share them.
        per_device_eval_batch_size=1,
        max_length=None,  # train.examples has cut and counted
        dataset_kwargs={"skip_prepare_dataset": True},
        padding_free=task.pack_tokens is not None,
        **shared_arguments(task, folder),
    )
    complete(arguments, task.params)
    return arguments


def shared_arguments(task: Task | GrpoTask, folder: Path) -> dict[str, Any]:
    """What TRL's trainers are told alike, whatever they train on."""
    return {
        "output_dir": str(folder),
        "run_name": task.experiment,
        "seed": task.params.seed,
        "data_seed": task.params.seed,
        "num_train_epochs": task.params.num_epochs,
        "remove_unused_columns": False,  # train.feed's are made when they are read, and rewards read all
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number must be seen
        # Where a rank hangs the others give up after this: rank 0 writes a large model alone in less.
        "ddp_timeout": 1800,
        "gradient_checkpointing": False,  # `complete` sets it
        "disable_tqdm": True,  # train.progress is the bar
        "report_to": "none",  # train.trackers has them
        **_optimization(task),
        **_schedule_of_saving(task),
        **_device(),
        **_sharding(task),
    }


def complete(arguments: Any, params: TrainingParams) -> None:
    """Set what cannot be given; `UsageError` when this process would train on several GPUs by itself."""
    # With FSDP its construction warns against it, because of the first version, which gathers the weights twice for it.
    arguments.gradient_checkpointing = params.gradient_checkpointing
    if arguments.n_gpu > 1:
        raise UsageError(
            f"{arguments.run_name}: one process sees {arguments.n_gpu} GPUs; start one for each (srun, or torchrun "
            f"--nproc-per-node={arguments.n_gpu}), or set CUDA_VISIBLE_DEVICES to one of them"
        )


def _optimization(task: Task | GrpoTask) -> dict[str, Any]:
    params = task.params
    return {
        "learning_rate": params.learning_rate,
        "lr_scheduler_type": SCHEDULERS[params.lr_scheduler],
        "warmup_steps": params.warmup_steps(task.steps),
        "optim": optimizer_name(),
        "adam_beta1": params.optimizer.adam_beta1,
        "adam_beta2": params.optimizer.adam_beta2,
        "adam_epsilon": params.optimizer.adam_epsilon,
        "weight_decay": params.weight_decay,  # transformers spares norms and biases
        "max_grad_norm": params.max_grad_norm,
    }


def save_steps(task: Task | GrpoTask) -> int | None:
    """Optimizer steps between two checkpoints; None where none is asked for."""
    saves = task.params.num_epochs * task.params.checkpoints_per_epoch
    return max(1, round(task.steps / saves)) if saves else None


def _schedule_of_saving(task: Task | GrpoTask) -> dict[str, Any]:
    every = save_steps(task)
    return {
        # train.validating.Validate asks for each validation; transformers wants a number.
        "eval_strategy": "no" if task.validation is None else "steps",
        "eval_steps": task.steps,
        "save_strategy": "steps" if every or task.params.keeps_best else "no",
        "save_steps": every or task.steps,
    }


def _device() -> dict[str, Any]:
    import torch

    return {"bf16": precision() == "bf16", "use_cpu": not torch.cuda.is_available()}


def _sharding(task: Task | GrpoTask) -> dict[str, Any]:
    if task.plan.world_size == 1:
        return {}
    # transformers looks at this variable when it loads the weights, before accelerate has set it.
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "reshard_after_forward": True,
            "state_dict_type": "SHARDED_STATE_DICT",
            "cpu_ram_efficient_loading": True,
            # accelerate's own wraps the layers, after which adapters are left out of a checkpoint without a word (peft
            # does not know them by their new names), and draws other dropout masks in the backward pass.
            "activation_checkpointing": False,
        },
    }
