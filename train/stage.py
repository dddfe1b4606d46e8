"""The training stage: curated rows in, a fine-tuned model out, on one process or many.

Called on every rank. It resumes from the newest complete checkpoint in its run directory, and leaves a saved
checkpoint and `StageStopped` when a stop signal arrives. Only rank 0 writes what is not a shard of a checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from registry.fields import seconds_of
from registry.stage import StageContext, StageOutput
from registry.stopping import listening, stopped
from train import method
from train.checkpoints import Checkpoint, checkpoint_folder, find_newest
from train.curve import draw_curve
from train.distributed import export, processes_from
from train.export import save_final_model
from train.log import write_log
from train.memory import memory_warning
from train.method import AnyTask
from train.pace import Deadline
from train.preflight import check
from train.resolved import resolved
from train.trackers import tracking
from train.validation import put_off


def run(context: StageContext) -> StageOutput:
    """Train the experiment's model and return its folder as `model_path`.

    Raises `MissingError` or `UsageError` for a model or data set that it cannot train with (`train.preflight`),
    `UsageError` for a batch that the processes cannot share, `StageFailure` for rows or losses that cannot be trained
    on, `StageStopped` after a signal.
    """
    from train.saving import require_finite, written_by_all

    deadline = _deadline(context)
    check(context)
    _join_processes(context)
    task = method.prepare(context)
    _say(context, f"{task.experiment}: {json.dumps(resolved(task), ensure_ascii=False)}")
    if warning := memory_warning(task):
        _say(context, f"{task.experiment}: warning: {warning}")
    model, log, curve = (context.run_dir / name for name in ("model", "training_log.parquet", "loss_curve.png"))
    with ExitStack() as trackers:
        with listening(context.stop):
            trainer = _train(task, context, deadline, trackers)
            require_finite(trainer.model, f"{task.experiment}: the model")
            # A signal is heard no more: what is left is to end.
            lora = task.params.lora
            save_final_model(trainer, task.model_path, model, merge=lora is None or lora.merge)
        metrics = method.metrics(task, trainer)
        with written_by_all(log, f"{task.experiment}: the log"):
            if context.rank == 0:
                write_log(trainer.state.log_history, log)
                draw_curve(trainer.state.log_history, task.experiment, curve)
    if context.rank == 0:
        shutil.rmtree(context.run_dir / "checkpoints", ignore_errors=True)
    _leave_processes(trainer)
    artifacts = {"model_path": model, "log_path": log, "loss_curve_path": curve}
    return StageOutput(metrics=metrics, artifacts=artifacts, link=model)


def _join_processes(context: StageContext) -> None:
    export(processes_from(os.environ), os.environ)
    if context.rank:
        _silence_progress_bars()


def _leave_processes(trainer: Any) -> None:
    engine = getattr(trainer, "vllm_generation", None)
    if engine is not None:
        # Inside this process it uses the process group, and has named a single process as torchrun would.
        engine.llm.llm_engine.engine_core.shutdown()
        export(processes_from(os.environ), os.environ)
    trainer.accelerator.end_training()


def _deadline(context: StageContext) -> Deadline:
    params = context.config.training
    budget = params.time_budget if params else None
    return Deadline(None if budget is None else seconds_of(budget))


def _train(task: AnyTask, context: StageContext, deadline: Deadline, trackers: ExitStack) -> Any:
    from train.callbacks import CheckRun, StopOnSignal, agreed
    from train.meter import Meter
    from train.progress import ShowProgress
    from train.validating import Validate, load_best

    folder = checkpoint_folder(context.run_dir, context.world_size)
    arguments = method.arguments(task, folder)
    start = _resume_point(context)
    arguments.eval_on_start = put_off(start, task.evaluation_steps)
    stop = StopOnSignal(context.stop, deadline)
    gpus = task.plan.world_size if arguments.device.type == "cuda" else 0
    shown = trackers.enter_context(tracking(context, resolved(task), start.step if start else 0))
    meter = Meter(method.learned_tokens(task), gpus)
    validate = Validate(task.params, task.evaluation_steps)
    callbacks = [validate, stop, CheckRun(task.plan, task.steps), meter, *shown, ShowProgress()]
    trainer = method.build(task, arguments, callbacks)
    if level := agreed(context.stop, arguments.device):  # loading took its time
        _leave_processes(trainer)
        raise stopped(level, f"{task.experiment}: training had not begun")
    trainer.train(resume_from_checkpoint=str(start.path) if start else None)
    if stop.stopping:
        _leave_processes(trainer)
        raise stop.reason(f"{task.experiment}: {_kept(trainer.state.global_step, task, folder)}")
    if task.params.keeps_best:
        load_best(trainer)
    return trainer


def _resume_point(context: StageContext) -> Checkpoint | None:
    """Rank 0 looks, and clears away what is incomplete; the others take its word."""
    from accelerate.utils import broadcast_object_list

    answer: list[Checkpoint | None] = [None]
    if context.rank == 0:
        found = find_newest(checkpoint_folder(context.run_dir, context.world_size))
        for path, defect in found.incomplete:
            _say(context, f"removing the incomplete checkpoint {path}: {defect}")
            shutil.rmtree(path)
        others = find_newest(checkpoint_folder(context.run_dir, 1 if context.world_size > 1 else 2)).newest
        if others and (found.newest is None or others.step > found.newest.step):
            other = "one process" if context.world_size > 1 else "several processes"
            _say(context, f"{others.path} was saved by {other}, and {context.world_size} cannot resume from it")
        if found.newest:
            _say(context, f"resuming from {found.newest.path}")
        answer = [found.newest]
    broadcast_object_list(answer)
    return answer[0]


def _kept(step: int, task: AnyTask, folder: Path) -> str:
    return f"training is saved after step {step} of {task.steps} in {folder}" if step else "training had not begun"


def _silence_progress_bars() -> None:
    from datasets import disable_progress_bars
    from transformers.utils import logging

    disable_progress_bars()
    logging.disable_progress_bar()


def _say(context: StageContext, line: str) -> None:
    if context.rank == 0:
        print(f"training: {line}", file=sys.stderr)
