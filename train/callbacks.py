"""What happens at the end of an optimizer step beside transformers' own: stopping, manifests, checks.

Imports transformers at the top (its callback class must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback

from registry.errors import StageFailure
from registry.stopping import StopFlag
from train.batch import BatchPlan
from train.checkpoints import delete_old, write_manifest


def agreed(flag: StopFlag, device: torch.device) -> int:
    """The highest level of the stop signals that any rank has seen. Collective: every rank calls it."""
    seen = torch.tensor([flag.level], device=device)
    if distributed.is_initialized():
        distributed.all_reduce(seen, op=distributed.ReduceOp.MAX)
    return int(seen.item())


class StopOnSignal(TrainerCallback):
    """Save and stop at the first step at which any rank has seen a stop signal; `stopped_by` is its level."""

    def __init__(self, flag: StopFlag) -> None:
        self.flag = flag
        self.stopped_by = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After the last step too: the final validation and the model's saving may outlast the grace period."""
        self.stopped_by = agreed(self.flag, args.device)
        if self.stopped_by:
            control.should_save = True
            control.should_training_stop = True
            control.should_evaluate = False  # it would use up the grace period; the next attempt makes up for it


class WriteManifest(TrainerCallback):
    """Declare a checkpoint complete once every rank has saved its part; only then may older ones go."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called on every rank after `Trainer._save_checkpoint`."""
        if distributed.is_initialized():
            distributed.barrier()
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_manifest(folder, state.global_step)
            delete_old(folder.parent)


class CheckRun(TrainerCallback):
    """Stop when the trainer is not doing what was planned: steps, sharding, a loss that is a number."""

    def __init__(self, plan: BatchPlan, steps: int) -> None:
        self.plan = plan
        self.steps = steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The model is wrapped by now, so its parameters can be looked at."""
        from torch.distributed.tensor import DTensor

        if state.max_steps != self.steps:
            raise StageFailure(f"the trainer plans {state.max_steps} optimizer steps where {self.steps} were computed")
        whole = [name for name, parameter in kwargs["model"].named_parameters() if not isinstance(parameter, DTensor)]
        if self.plan.world_size > 1 and whole:
            raise StageFailure(f"FSDP left {len(whole)} parameters unsharded, {whole[0]} for one; this is a bug")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """The logged loss is the mean over all ranks, so that all of them stop together."""
        if not math.isfinite(logs.get("loss", 0.0)):
            raise StageFailure(
                f"the training loss is {logs['loss']} at step {state.global_step}; lower training_params.learning_rate"
            )
