"""TRL's `SFTTrainer`, set up for a task: one process plainly, several with FSDP2.

Everything heavy is imported inside functions. What transformers or accelerate could quietly decide otherwise (batch
size, number of processes, sharding) is checked against the plan, on any device.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from registry.errors import StageFailure, UsageError
from train.checkpoints import KEEP
from train.task import Task

SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
MAX_EPOCH_EVALUATIONS = 10  # with more epochs the validation loss is taken at the end only


def training_arguments(task: Task, folder: Path) -> Any:
    """TRL's `SFTConfig` with checkpoints in `folder`. Starts the process group, so every rank calls it."""
    from trl import SFTConfig

    arguments = SFTConfig(
        output_dir=str(folder),
        run_name=task.experiment,
        seed=task.params.seed,
        data_seed=task.params.seed,
        num_train_epochs=task.params.num_epochs,
        per_device_train_batch_size=task.layout.per_device,
        gradient_accumulation_steps=task.layout.accumulation,
        # One row at a time: the validation loss is then the mean over rows, however many processes share them.
        per_device_eval_batch_size=1,
        max_length=None,  # train.examples has cut and counted
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,  # train.feed's are made when they are read
        padding_free=task.pack_tokens is not None,
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is no number must be seen
        disable_tqdm=True,  # train.callbacks.Progress is the bar
        report_to="wandb" if os.environ.get("WANDB_PROJECT") else "none",
        **_optimization(task),
        **_schedule_of_saving(task),
        **_device(),
        **_sharding(task),
    )
    if arguments.n_gpu > 1:
        raise UsageError(
            f"{task.experiment}: one process sees {arguments.n_gpu} GPUs; start one for each (srun, or torchrun "
            f"--nproc-per-node={arguments.n_gpu}), or set CUDA_VISIBLE_DEVICES to one of them"
        )
    return arguments


def load_model(path: Path, attention: str) -> Any:
    """The model with float32 weights, which the optimizer updates; bf16 is the precision of the arithmetic only.

    Under FSDP only one process of each node reads the weights; the trainer hands them out.
    """
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation=attention)


def build_trainer(task: Task, arguments: Any, callbacks: list[Any]) -> Any:
    """The trainer, checked against the plan; `StageFailure` when it would train in another way."""
    from transformers import PrinterCallback

    from train.cpu_fsdp import allow_fsdp_on_cpu
    from train.feed import EpochSampler, Trainer, feed

    if task.plan.world_size > 1:
        allow_fsdp_on_cpu()
    trainer = Trainer(
        sampler=EpochSampler(task.layout),
        undecayed=task.params.optimizer.no_decay_params,
        model=load_model(task.model_path, task.attention),
        args=arguments,
        train_dataset=feed(task.train.dataset, task.layout, task.tokenizer.pad_token_id),
        eval_dataset=task.validation.dataset if task.validation else None,
        processing_class=task.tokenizer,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it prints every log to stdout
    _check(trainer, task)
    return trainer


def _optimization(task: Task) -> dict[str, Any]:
    import torch

    params = task.params
    return {
        "learning_rate": params.learning_rate,
        "lr_scheduler_type": SCHEDULERS[params.lr_scheduler],
        "warmup_steps": task.warmup_steps,
        "optim": "adamw_torch_fused" if torch.cuda.is_available() else "adamw_torch",
        "adam_beta1": params.optimizer.adam_beta1,
        "adam_beta2": params.optimizer.adam_beta2,
        "adam_epsilon": params.optimizer.adam_epsilon,
        "weight_decay": params.weight_decay,  # transformers spares norms and biases
        "max_grad_norm": params.max_grad_norm,
    }


def _schedule_of_saving(task: Task) -> dict[str, Any]:
    params = task.params
    each_epoch = task.validation is not None and params.num_epochs <= MAX_EPOCH_EVALUATIONS
    saves = params.num_epochs * params.checkpoints_per_epoch
    return {
        "eval_strategy": "epoch" if each_epoch else "no",
        "save_strategy": "steps" if saves else "no",
        "save_steps": max(1, round(task.steps / saves)) if saves else task.steps,
        "save_total_limit": KEEP,
    }


def _device() -> dict[str, Any]:
    import torch

    on_gpu = torch.cuda.is_available()
    return {"bf16": on_gpu, "use_cpu": not on_gpu}


def _sharding(task: Task) -> dict[str, Any]:
    if task.plan.world_size == 1:
        return {"gradient_checkpointing": task.params.gradient_checkpointing}
    # transformers looks at this variable when it loads the weights, before accelerate has set it.
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    return {
        "gradient_checkpointing": False,
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "reshard_after_forward": True,
            "state_dict_type": "SHARDED_STATE_DICT",
            "cpu_ram_efficient_loading": True,
            "activation_checkpointing": task.params.gradient_checkpointing,
        },
    }


def _check(trainer: Any, task: Task) -> None:
    from accelerate.utils import DistributedType

    accelerator, plan = trainer.accelerator, task.plan
    wanted = DistributedType.FSDP if plan.world_size > 1 else DistributedType.NO
    if accelerator.distributed_type != wanted or accelerator.num_processes != plan.world_size:
        raise StageFailure(
            f"accelerate would train with {accelerator.distributed_type} on {accelerator.num_processes} processes "
            f"where {wanted} on {plan.world_size} was asked for; look at the launcher's environment variables"
        )
    # A step reads so many elements of the layout, and each row of the data is in one of an epoch's.
    read = trainer.get_total_train_batch_size(trainer.args)
    epoch = task.layout.elements[0]
    steps = plan.steps_per_epoch(task.train.rows)
    if read * steps != len(epoch) or sum(map(len, epoch)) != task.train.rows:
        raise StageFailure(
            f"the trainer reads {read} sequences in a step and {read * steps} in an epoch, where {len(epoch)} hold the "
            f"epoch's {task.train.rows} rows; this is a bug"
        )
    most = max(sum(map(len, epoch[start : start + read])) for start in range(0, len(epoch), read))
    if most > plan.global_batch:
        raise StageFailure(f"the trainer's global batch is {most} rows, the experiment's is {plan.global_batch}")
