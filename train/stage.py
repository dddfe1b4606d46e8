"""The training stage: curated rows in, a fine-tuned model out, on one process or many.

Called on every rank. It resumes from the newest complete checkpoint in its run directory, and leaves a saved
checkpoint and `StageStopped` when a stop signal arrives. Only rank 0 writes what is not a shard of a checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import Any

from registry.stage import StageContext, StageOutput
from registry.stopping import listening, stopped
from train.arguments import training_arguments
from train.checkpoints import Checkpoint, checkpoint_folder, find_newest
from train.distributed import export, processes_from
from train.export import save_final_model
from train.measures import Timing, loss_curve, training_metrics, validation_curve, write_curve
from train.task import Task, prepare, resolved
from train.trainer import build_trainer


def run(context: StageContext) -> StageOutput:
    """Train the experiment's model and return its folder as `model_path`.

    Raises `UsageError` for a batch that the processes cannot share, `StageFailure` for rows or losses that cannot be
    trained on, `StageStopped` after a signal.
    """
    _join_processes(context)
    task = prepare(context)
    _say(context, f"{task.experiment}: {json.dumps(resolved(task), ensure_ascii=False)}")
    with listening(context.stop):
        trainer, timing = _train(task, context)
    _final_validation(task, trainer)
    model = context.run_dir / "model"
    save_final_model(trainer, task.model_path, model)
    metrics = training_metrics(task, trainer, timing)
    curve = context.run_dir / "loss_curve.csv"
    if context.rank == 0:
        write_curve(loss_curve(trainer.state.log_history), curve)
        shutil.rmtree(context.run_dir / "checkpoints", ignore_errors=True)
    trainer.accelerator.end_training()
    return StageOutput(metrics=metrics, artifacts={"model_path": model, "loss_curve_path": curve}, link=model)


def _join_processes(context: StageContext) -> None:
    export(processes_from(os.environ), os.environ)
    if context.rank:
        _silence_progress_bars()


def _train(task: Task, context: StageContext) -> tuple[Any, Timing]:
    from train.callbacks import CheckRun, StopOnSignal, WriteManifest, agreed
    from train.progress import Progress

    folder = checkpoint_folder(context.run_dir, context.world_size)
    arguments = training_arguments(task, folder)
    start = _resume_point(context)
    stop = StopOnSignal(context.stop)
    trainer = build_trainer(task, arguments, [stop, WriteManifest(), CheckRun(task.plan, task.steps), Progress()])
    if level := agreed(context.stop, arguments.device):  # loading took its time
        trainer.accelerator.end_training()
        raise stopped(level, f"{task.experiment}: training had not begun")
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=str(start.path) if start else None)
    seconds = time.monotonic() - began
    if stop.stopped_by:
        trainer.accelerator.end_training()
        done = f"step {trainer.state.global_step} of {task.steps}"
        raise stopped(stop.stopped_by, f"{task.experiment}: training is saved after {done} in {folder}")
    return trainer, Timing(seconds, task.steps - (start.step if start else 0))


def _resume_point(context: StageContext) -> Checkpoint | None:
    """Rank 0 looks, and clears away what is incomplete; the others take its word."""
    from accelerate.utils import broadcast_object_list

    answer: list[Checkpoint | None] = [None]
    if context.rank == 0:
        found = find_newest(checkpoint_folder(context.run_dir, context.world_size))
        for path, defect in found.incomplete:
            _say(context, f"removing the incomplete checkpoint {path}: {defect}")
            shutil.rmtree(path)
        if found.newest:
            _say(context, f"resuming from {found.newest.path}")
        answer = [found.newest]
    broadcast_object_list(answer)
    return answer[0]


def _final_validation(task: Task, trainer: Any) -> None:
    taken_after = {point["step"] for point in validation_curve(trainer.state.log_history)}
    if task.validation is not None and task.steps not in taken_after:
        trainer.evaluate()


def _silence_progress_bars() -> None:
    from datasets import disable_progress_bars
    from transformers.utils import logging

    disable_progress_bars()
    logging.disable_progress_bar()


def _say(context: StageContext, line: str) -> None:
    if context.rank == 0:
        print(f"training: {line}", file=sys.stderr)
