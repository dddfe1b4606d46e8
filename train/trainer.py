"""The trainer of a task: one process plainly, several with FSDP2.

Everything heavy is imported inside functions. What transformers or accelerate could quietly decide otherwise (batch
size, number of processes, sharding) is checked against the plan, on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from registry.errors import StageFailure
from train.batch import BatchPlan
from train.grpo_task import GrpoTask
from train.lora import adapter_config, train_in_float32
from train.order import rows_of_pass
from train.task import Task
from train.tokens import by_forward_pass, predicted_tokens


def load_model(path: Path, attention: str, *, frozen_in_bf16: bool = False) -> Any:
    """The model with float32 weights, which the optimizer updates; bf16 is the precision of the arithmetic only.

    Weights that are not trained can be in bf16. Under FSDP only one process of each node reads the weights; the trainer
    hands them out.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if frozen_in_bf16 else torch.float32
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=attention)


def base_model(task: Task | GrpoTask, arguments: Any) -> Any:
    """The model that a task begins with, with the random state that its adapters are drawn from."""
    from transformers import set_seed

    set_seed(task.params.seed)  # the trainer sets it too, but after it has drawn the adapters' weights
    frozen_in_bf16 = task.params.lora is not None and arguments.bf16
    return load_model(task.model_path, task.attention, frozen_in_bf16=frozen_in_bf16)


def build_trainer(task: Task, arguments: Any, callbacks: list[Any]) -> Any:
    """The trainer, checked against the plan; `StageFailure` when it would train in another way."""
    from train.callbacks import GatherHead
    from train.cpu_fsdp import allow_fsdp_on_cpu
    from train.feed import EpochSampler, Trainer, feed

    if task.plan.world_size > 1:
        allow_fsdp_on_cpu()
    lora = task.params.lora
    trainer = Trainer(
        sampler=EpochSampler(task.layout),
        predicted=by_forward_pass(task.layout, task.plan.world_size, predicted_tokens(task.train.dataset)),
        undecayed=task.params.optimizer.no_decay_params,
        model=base_model(task, arguments),
        args=arguments,
        train_dataset=feed(task.train.dataset, task.layout, task.tokenizer.pad_token_id),
        eval_dataset=task.validation.dataset if task.validation else None,
        processing_class=task.tokenizer,
        peft_config=adapter_config(lora) if lora else None,
        callbacks=[*callbacks, GatherHead()],
    )
    finish(trainer, task.plan, partial(_ids_of_pass, task, trainer.args.process_index))
    _check(trainer, task)
    return trainer


def finish(trainer: Any, plan: BatchPlan, rows: Callable[[int, int], Sequence[str]]) -> None:
    """What every method's trainer needs once it is made; `rows` as `train.callbacks.CheckLoss` has it.

    `StageFailure` when accelerate would not shard over the plan's processes.
    """
    from accelerate.utils import AutocastKwargs
    from transformers import PrinterCallback

    from train.callbacks import CheckLoss

    train_in_float32(trainer.model)
    trainer.add_callback(CheckLoss(trainer.losses, rows))
    trainer.remove_callback(PrinterCallback)  # it prints every log to stdout
    # Autocast would keep a bf16 copy of all weights (16 GB for 8B) until a forward pass ends, which uses each once.
    trainer.accelerator.autocast_handler = AutocastKwargs(cache_enabled=False)
    _check_processes(trainer.accelerator, plan)


def _ids_of_pass(task: Task, rank: int, step: int, number: int) -> list[str]:
    return [task.train.ids[row] for row in rows_of_pass(task.layout, task.plan.world_size, rank, step, number)]


def _check_processes(accelerator: Any, plan: BatchPlan) -> None:
    from accelerate.utils import DistributedType

    wanted = DistributedType.FSDP if plan.world_size > 1 else DistributedType.NO
    if accelerator.distributed_type != wanted or accelerator.num_processes != plan.world_size:
        raise StageFailure(
            f"accelerate would train with {accelerator.distributed_type} on {accelerator.num_processes} processes "
            f"where {wanted} on {plan.world_size} was asked for; look at the launcher's environment variables"
        )


def _check(trainer: Any, task: Task) -> None:
    plan = task.plan
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
