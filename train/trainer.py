"""The trainer of a task: one process plainly, several with FSDP2.

Everything heavy is imported inside functions. What transformers or accelerate could quietly decide otherwise (batch
size, number of processes, sharding) is checked against the plan, on any device.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from registry.errors import StageFailure
from train.batch import BatchPlan
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


def build_trainer(task: Task, arguments: Any, callbacks: list[Any]) -> Any:
    """The trainer, checked against the plan; `StageFailure` when it would train in another way."""
    from accelerate.utils import AutocastKwargs
    from transformers import PrinterCallback, set_seed

    from train.callbacks import CheckLoss, GatherHead
    from train.cpu_fsdp import allow_fsdp_on_cpu
    from train.feed import EpochSampler, Trainer, feed

    if task.plan.world_size > 1:
        allow_fsdp_on_cpu()
    lora = task.params.lora
    set_seed(task.params.seed)  # the trainer sets it too, but after it has drawn the adapters' weights
    trainer = Trainer(
        sampler=EpochSampler(task.layout),
        predicted=by_forward_pass(task.layout, task.plan.world_size, predicted_tokens(task.train.dataset)),
        undecayed=task.params.optimizer.no_decay_params,
        model=load_model(task.model_path, task.attention, frozen_in_bf16=lora is not None and arguments.bf16),
        args=arguments,
        train_dataset=feed(task.train.dataset, task.layout, task.tokenizer.pad_token_id),
        eval_dataset=task.validation.dataset if task.validation else None,
        processing_class=task.tokenizer,
        peft_config=adapter_config(lora) if lora else None,
        callbacks=[*callbacks, GatherHead()],
    )
    train_in_float32(trainer.model)
    rank = trainer.args.process_index
    trainer.add_callback(CheckLoss(trainer.losses, partial(_ids_of_pass, task, rank)))
    trainer.remove_callback(PrinterCallback)  # it prints every log to stdout
    # Autocast would keep a bf16 copy of all weights (16 GB for 8B) until a forward pass ends, which uses each once.
    trainer.accelerator.autocast_handler = AutocastKwargs(cache_enabled=False)
    _check(trainer, task)
    return trainer


def _ids_of_pass(task: Task, rank: int, step: int, number: int) -> list[str]:
    return [task.train.ids[row] for row in rows_of_pass(task.layout, task.plan.world_size, rank, step, number)]


def check_processes(accelerator: Any, plan: BatchPlan) -> None:
    """`StageFailure` when accelerate would not shard over the plan's processes."""
    from accelerate.utils import DistributedType

    wanted = DistributedType.FSDP if plan.world_size > 1 else DistributedType.NO
    if accelerator.distributed_type != wanted or accelerator.num_processes != plan.world_size:
        raise StageFailure(
            f"accelerate would train with {accelerator.distributed_type} on {accelerator.num_processes} processes "
            f"where {wanted} on {plan.world_size} was asked for; look at the launcher's environment variables"
        )


def _check(trainer: Any, task: Task) -> None:
    plan = task.plan
    check_processes(trainer.accelerator, plan)
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
