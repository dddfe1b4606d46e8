"""Where people watch a training: Weights & Biases where `WANDB_PROJECT` is set, else TensorBoard.

Both continue after a stop: W&B under the same run id, TensorBoard in the same folder with what was logged after the
checkpoint hidden. The callbacks are transformers' own, with the variables that they read (`WANDB_LOG_MODEL`, ...).
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry.durable import write_durably
from registry.errors import EXIT_FAILED, EXIT_STOPPED, MissingError, StageStopped
from registry.stage import StageContext


@contextmanager
def tracking(context: StageContext, resolved: Mapping[str, Any], step: int) -> Iterator[list[Any]]:
    """The callbacks that send the log on, for rank 0; none for the others.

    `resolved` is every value that the training runs with, `step` the one that it resumes from (0: from the start).
    `MissingError` when W&B is wanted and cannot be used.
    """
    if context.rank:
        yield []
    elif os.environ.get("WANDB_PROJECT"):
        with _wandb_run(context, resolved):
            from transformers.integrations import WandbCallback

            yield [WandbCallback()]
    else:
        yield [_tensorboard(context.run_dir / "tensorboard", step)]


@contextmanager
def _wandb_run(context: StageContext, resolved: Mapping[str, Any]) -> Iterator[None]:
    import wandb

    config = context.config
    try:
        run = wandb.init(
            id=_run_id(context.run_dir),
            resume="allow",
            name=config.experiment,
            group=config.model_key,
            job_type="training",
            tags=[str(resolved["method"]), *([config.curation.method] if config.curation else [])],
            config={"experiment": config.experiment, "model": config.model_key, "training": dict(resolved)},
            dir=str(context.run_dir),
        )
    except wandb.errors.Error as error:
        raise MissingError(
            f"{config.experiment}: WANDB_PROJECT is set, but Weights & Biases cannot be used "
            f"({str(error).splitlines()[0]}); run `wandb login`, set WANDB_MODE=offline or unset WANDB_PROJECT"
        ) from None
    ended = EXIT_FAILED
    try:
        yield
        ended = 0
    except StageStopped:
        ended = EXIT_STOPPED
        run.mark_preempting()
        raise
    finally:
        run.finish(exit_code=ended)


def _run_id(run_dir: Path) -> str:
    """One id for all attempts at this training: it lies beside their checkpoints, and goes with them in the end."""
    path = run_dir / "checkpoints" / "wandb-run-id"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        write_durably(path, uuid.uuid4().hex[:12].encode())
    return path.read_text(encoding="ascii")


def _tensorboard(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    if step == 0:
        shutil.rmtree(folder, ignore_errors=True)
    callback = TensorBoardCallback(SummaryWriter(str(folder), purge_step=step + 1 if step else None))
    callback.logging_dir = str(folder)  # for the writer of the final validation, which comes after the loop's end
    return callback
