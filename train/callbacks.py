"""What happens between the steps of a training beside transformers' own: stopping, checks.

Imports transformers at the top (its callback class must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback

from registry.errors import StageFailure, StageStopped, listed
from registry.stopping import StopFlag, stopped
from train.batch import BatchPlan
from train.pace import Deadline, Pace


class ValidationInterruptedError(Exception):
    """Leaves a validation, on all ranks at the same row, because the training is to stop."""


def greatest(values: Sequence[float], device: torch.device) -> list[float]:
    """The greatest of each value over all ranks. Collective: every rank calls it."""
    all_values = torch.tensor(values, dtype=torch.float32, device=device)
    if distributed.is_initialized():
        distributed.all_reduce(all_values, op=distributed.ReduceOp.MAX)
    return [float(value) for value in all_values.tolist()]


def agreed(flag: StopFlag, device: torch.device) -> int:
    """The highest level of the stop signals that any rank has seen. Collective: every rank calls it."""
    return int(greatest([flag.level], device)[0])


def gathered(rows: Sequence[str]) -> list[str]:
    """The texts of all ranks, in their order. Collective: every rank calls it."""
    if not distributed.is_initialized():
        return list(rows)
    parts: list[list[str]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(parts, list(rows))
    return [row for part in parts for row in part]


class StopOnSignal(TrainerCallback):
    """Save and stop once any rank has seen a stop signal, or once the time budget leaves just enough time to save.

    The ranks look after each optimizer step, and every few seconds within a step and within a validation. What is saved
    is the state after the last whole optimizer step. The budget is heard after the first step of the attempt only, so
    that every attempt comes further.
    """

    def __init__(self, flag: StopFlag, deadline: Deadline) -> None:
        self.flag, self.deadline = flag, deadline
        self.level = 0
        self.out_of_time = False
        self.began_at = self.saved_at = 0  # steps
        self._steps, self._validations = Pace(), Pace()
        self._looked = self._event = time.monotonic()

    @property
    def stopping(self) -> bool:
        """Whether the ranks have agreed to stop."""
        return self.level > 0 or self.out_of_time

    def reason(self, what: str) -> StageStopped:
        """The error to leave with; `what` says what is kept."""
        return stopped(self.level, what) if self.level else StageStopped(f"{what} (its time budget is used up)")

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A training that is resumed has its first checkpoint already."""
        self.began_at = self.saved_at = state.global_step
        self.deadline.begin()
        self._looked = time.monotonic()

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After a forward and backward pass that is not the last one of its step."""
        if self._steps.due() and self._look(self._steps, args, state):
            self._stop(state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After the last step too: the final validation and the model's saving may outlast the grace period."""
        if self._look(self._steps, args, state):
            self._stop(state, control)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After a row of a validation."""
        if self._validations.due() and self._look(self._validations, args, state):
            raise ValidationInterruptedError

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last event before a saving, unless there is a validation."""
        self._event = time.monotonic()

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last event before a saving."""
        self._event = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Learn how long a saving takes."""
        self.saved_at = state.global_step
        self._looked = time.monotonic()
        self.deadline.took(saving=self._looked - self._event)

    def _look(self, pace: Pace, args: Any, state: Any) -> bool:
        now = time.monotonic()
        near = self.deadline.near() and state.global_step > self.began_at
        level, out_of_time, seconds = greatest([self.flag.level, near, now - self._looked], args.device)
        self.level, self.out_of_time = int(level), bool(out_of_time)
        pace.looked(seconds)
        self.deadline.took(stretch=seconds)
        self._looked = self._event = now
        return self.stopping

    def _stop(self, state: Any, control: Any) -> None:
        control.should_save = state.global_step != self.saved_at
        control.should_evaluate = False
        control.should_training_stop = True


class CheckRun(TrainerCallback):
    """Stop when the trainer is not doing what was planned: steps, sharding."""

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


def _once(rows: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(rows))


class CheckLoss(TrainerCallback):
    """Stop, before anything is saved, at a loss or a gradient that is no number, with the rows that it comes from.

    `losses` are those of this rank's forward passes in the step, and `rows(step, number)` are the ids that such a pass
    has read; steps count from 1, passes from 0.
    """

    def __init__(self, losses: Sequence[torch.Tensor], rows: Callable[[int, int], Sequence[str]]) -> None:
        self.losses, self.rows = losses, rows

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """What is logged is the same on all ranks, so that all of them stop together."""
        wrong = [name for name in ("loss", "grad_norm") if not math.isfinite(logs.get(name, 0.0))]
        if not wrong:
            return
        read = [list(self.rows(state.global_step, number)) for number in range(len(self.losses))]
        finite = [bool(torch.isfinite(loss).all()) for loss in self.losses]
        everything = _once(gathered([row for rows in read for row in rows]))
        offending = _once(gathered([row for rows, good in zip(read, finite, strict=True) if not good for row in rows]))
        what = f"the training loss is {logs['loss']}"
        if wrong == ["grad_norm"]:
            what, offending = f"the norm of the gradient is {logs['grad_norm']}", everything
        offending = offending or everything  # finite losses, but not their sum
        # Rows with a fault of their own are some; once the weights are no numbers, no row has a loss.
        where = "in all of its rows" if len(offending) == len(everything) else "in these of its rows"
        raise StageFailure(
            f"{args.run_name}: {what} at step {state.global_step}, {where}: {listed(offending, 8)}; look at them, or "
            "lower training_params.learning_rate; no checkpoint of this step was saved"
        )


class GatherHead(TrainerCallback):
    """Under FSDP, gather the output head before a forward pass.

    TRL's loss multiplies with the head's weights without calling it, so that FSDP does not notice; where it happens to
    share a group with the last norm, as in a plain Llama but not under peft, it is gathered. Sharded weights TRL
    gathers itself, in a way that gives each rank the gradient of its own rows alone.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The model is wrapped by now."""
        from torch.distributed.fsdp import FSDPModule

        head = kwargs["model"].get_output_embeddings()
        if isinstance(head, FSDPModule):
            kwargs["model"].register_forward_pre_hook(lambda *_: head.unshard())
