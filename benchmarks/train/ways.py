"""The two ways to train that are compared: our stage, and TRL's `SFTTrainer` with the same settings and nothing around.

Both run in this process on the same tokenized rows. Timed are the optimizer steps from the second on: neither loading,
tokenizing and saving a model nor a first step's warming up are in them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.stage import StageContext, Upstream
from tests.stages import make_context

Conversation = Mapping[str, Any]
PARAMS: dict[str, Any] = {
    "learning_rate": 1e-5,
    "num_epochs": 1,
    "weight_decay": 0.1,
    "warmup_ratio": 0.05,
    "gradient_checkpointing": False,
    "checkpoints_per_epoch": 0,
}


@dataclass(frozen=True)
class Timed:
    """Optimizer steps, and the wall and processor seconds that they took."""

    steps: int
    seconds: float
    cpu_seconds: float


@dataclass
class Clock:
    """The wall and processor time at the end of each optimizer step of a training."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def tick(self) -> None:
        """A step has ended."""
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def after(self, step: int) -> Timed:
        """From the end of this step, counted from 1, to that of the last."""
        began = step - 1
        return Timed(len(self.wall) - step, self.wall[-1] - self.wall[began], self.cpu[-1] - self.cpu[began])


def training_context(
    folder: Path, model: Path, rows: Sequence[Conversation], *, max_length: int, **params: Any
) -> StageContext:
    """A training of `model` on `rows` (`id`, `prompt`, `completion`) in `folder`, on one process."""
    from datasets import Dataset, DatasetDict, disable_progress_bars

    disable_progress_bars()
    DatasetDict({"train": Dataset.from_list([dict(row) for row in rows])}).save_to_disk(str(folder / "formatted"))
    context = make_context(
        folder / "run", model, curation={"method": "all"}, training={**PARAMS, **params}, max_length=max_length
    )
    curated = Upstream("curation", context.config.experiment, "0" * 64, {"dataset_path": str(folder / "formatted")})
    return dataclasses.replace(context, upstream={"curation": curated})


def time_stage(context: StageContext) -> Timed:
    """Train with the stage."""
    from train.stage import run

    return _on_one_thread(lambda: run(context))


def time_bare(context: StageContext) -> Timed:
    """Train with TRL's trainer and the stage's settings: order of rows, logging and callbacks are TRL's."""
    from trl import SFTConfig, SFTTrainer

    from train.task import prepare
    from train.trainer import load_model

    task = prepare(context)
    params = task.params
    arguments = SFTConfig(
        output_dir=str(context.run_dir / "bare"),
        seed=params.seed,
        num_train_epochs=params.num_epochs,
        per_device_train_batch_size=task.plan.per_device,
        gradient_accumulation_steps=task.plan.accumulation,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        learning_rate=params.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=params.warmup_steps(task.steps),
        optim="adamw_torch",
        adam_beta1=params.optimizer.adam_beta1,
        adam_beta2=params.optimizer.adam_beta2,
        adam_epsilon=params.optimizer.adam_epsilon,
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        gradient_checkpointing=params.gradient_checkpointing,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=False,
        use_cpu=True,
    )
    model = load_model(task.model_path, task.attention)
    trainer = SFTTrainer(model, arguments, train_dataset=task.train.dataset, processing_class=task.tokenizer)
    return _on_one_thread(trainer.train)


def _on_one_thread(train: Callable[[], object]) -> Timed:
    """On a machine that has other work too, several threads wait for each other most of the time."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return clocked(train).after(1)
    finally:
        torch.set_num_threads(threads)


def clocked(train: Callable[[], object]) -> Clock:
    """Train, with a clock that hangs on torch's optimizers: the same place in both ways, and neither knows of it."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    clock = Clock()

    def tick(*_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        clock.tick()

    hook = register_optimizer_step_post_hook(tick)
    try:
        train()
    finally:
        hook.remove()
    return clock
