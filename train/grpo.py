"""The trainer of a GRPO task: TRL's, fed with the questions in the experiment's order.

Imports TRL at the top (its trainer must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import Sampler
from trl import GRPOConfig, GRPOTrainer

from registry.errors import StageFailure
from registry.training_memory import VLLM_SHARE
from train.arguments import complete, shared_arguments
from train.callbacks import GatherHead
from train.cpu_fsdp import allow_fsdp_on_cpu
from train.grpo_task import LOSS, SCALE, GrpoTask, question_order
from train.lora import adapter_config
from train.resumable import Resumable
from train.rewards import trl_function
from train.trainer import base_model, finish


class QuestionSampler(Sampler[int]):
    """The questions of an epoch as TRL's trainer reads them; accelerate sets the epoch, also on a resume.

    The trainer reads the completions of an optimizer step as one batch, and a batch again for each accumulation step:
    it generates for the first of them and looks at no other.
    """

    def __init__(self, task: GrpoTask) -> None:
        self.task = task
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Go on with the order of this epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        plan, grpo = self.task.plan, self.task.grpo
        steps = plan.steps_per_epoch(self.task.questions.rows * grpo.num_generations)
        return steps * plan.accumulation * plan.global_batch

    def __iter__(self) -> Iterator[int]:
        task = self.task
        per_step = task.plan.global_batch // task.grpo.num_generations
        for step in question_order(task.questions.rows, per_step, task.params.seed, self.epoch):
            for _ in range(task.plan.accumulation):
                for question in step:
                    yield from [question] * task.grpo.num_generations


class Trainer(Resumable, GRPOTrainer):
    """`GRPOTrainer` that can be resumed, with the order and the weight decay of the config."""


def grpo_arguments(task: GrpoTask, folder: Path) -> Any:
    """TRL's `GRPOConfig` with checkpoints in `folder`. Starts the process group, so every rank calls it."""
    grpo, shared = task.grpo, shared_arguments(task, folder)
    if grpo.beta and task.params.lora is None and "fsdp_config" in shared:  # with adapters it is the base itself
        # TRL shards the model that the divergence is measured from as it was loaded, so every rank must read all of it.
        shared["fsdp_config"]["cpu_ram_efficient_loading"] = False
    arguments = GRPOConfig(
        per_device_train_batch_size=task.plan.per_device,
        gradient_accumulation_steps=task.plan.accumulation,
        num_generations=grpo.num_generations,
        max_completion_length=grpo.max_tokens,
        temperature=grpo.temperature,
        top_p=grpo.top_p,
        beta=grpo.beta,
        epsilon=grpo.epsilon,
        loss_type=LOSS,
        scale_rewards=SCALE,
        reward_weights=[grpo.rewards[name] for name in task.rewards],
        use_vllm=task.generation == "vllm",
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=VLLM_SHARE,
        vllm_max_model_length=task.questions.longest + grpo.max_tokens,
        **shared,
    )
    complete(arguments, task.params)
    return arguments


def build_grpo_trainer(task: GrpoTask, arguments: Any, callbacks: list[Any]) -> Any:
    """The trainer, checked against the plan; `StageFailure` when it would train in another way."""
    several = task.plan.world_size > 1
    if several:
        allow_fsdp_on_cpu()
    lora = task.params.lora
    model = base_model(task, arguments)
    # The ranks' completions end at different tokens, and each forward pass needs them all: transformers' `generate`
    # keeps them together for its own FSDP2 only, which it knows by this name.
    model._is_fsdp_managed_module = several
    trainer = Trainer(
        sampler=QuestionSampler(task),
        undecayed=task.params.optimizer.no_decay_params,
        model=model,
        reward_funcs=[trl_function(name, reward) for name, reward in task.rewards.items()],
        args=arguments,
        train_dataset=task.questions.dataset,
        processing_class=task.tokenizer,
        peft_config=adapter_config(lora) if lora else None,
        callbacks=[*callbacks, GatherHead()],
    )
    finish(trainer, task.plan, partial(ids_of_step, task))
    _check(trainer, task)
    return trainer


def ids_of_step(task: GrpoTask, step: int, _: int) -> list[str]:
    """TRL shuffles a step's completions over its passes, so that all of the step's questions come in question."""
    per_step = task.plan.global_batch // task.grpo.num_generations
    epoch, place = divmod(step - 1, task.plan.steps_per_epoch(task.questions.rows * task.grpo.num_generations))
    questions = question_order(task.questions.rows, per_step, task.params.seed, epoch)[place]
    return [task.questions.ids[question] for question in questions]


def _check(trainer: Any, task: GrpoTask) -> None:
    read, plan = trainer.args.generation_batch_size, task.plan
    if read != plan.global_batch or trainer.get_total_train_batch_size(trainer.args) != plan.global_batch:
        raise StageFailure(
            f"the trainer generates {read} completions for a step, the experiment's batch is {plan.global_batch}; "
            "this is a bug"
        )
