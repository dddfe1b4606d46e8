"""transformers' trainer, so that it can be stopped anywhere and goes on as if it had not been, in the config's order.

Imports transformers at the top (its class must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from train.callbacks import ValidationInterruptedError
from train.checkpoints import MANIFEST, delete_old, flush, write_manifest
from train.saving import require_finite, written_by_all


class Resumable(Trainer):
    """To be put before the class of TRL's trainer. A checkpoint is saved whole, with a manifest, or not at all.

    Rows are read as `sampler` says, which has `set_epoch`; weights with one of `undecayed` in their names are not
    decayed. `losses` are those of the current optimizer step's forward passes on this rank.
    """

    control: Any  # transformers gives it no type

    def __init__(self, *arguments: Any, sampler: Any, undecayed: Sequence[str], **options: Any) -> None:
        self._sampler, self._undecayed = sampler, tuple(undecayed)
        self.losses: list[torch.Tensor] = []
        self._losses_after = -1
        self._saved_at = self._tokens_seen = 0
        self._random, self._within_epoch = _random_state(), False
        super().__init__(*arguments, **options)

    @property
    def _unsaved(self) -> bool:
        return self.state.global_step not in (self._saved_at, self._initial_global_step)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self._sampler

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """What transformers decays, all but norms and biases, without the weights that the config spares."""
        names = super().get_decay_parameter_names(model)
        return [name for name in names if not any(part in name for part in self._undecayed)]

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None in a folder of checkpoints: rank 0 would write it alone, and fail alone."""

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """Keep the loss of each forward pass, and the random state that the step has begun with."""
        step = self.state.global_step
        if step != self._losses_after:
            self.losses.clear()
            self._losses_after = step
            if self._within_epoch:
                self._random = _random_state()
            self._tokens_seen = self.state.num_input_tokens_seen  # GRPO's trainer adds to it when it generates
            self._within_epoch = True
        loss = super().training_step(*arguments, **options)
        self.losses.append(loss.detach())
        return loss

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """A validation leaves the random state alone, so that it may come again or not at all."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices):
            return super().evaluate(*arguments, **options)

    def _run_epoch(self, **options: Any) -> None:
        """Nothing, when the training has ended: transformers would go on in the middle of an epoch."""
        if self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        # accelerate loses sight of the sampler where it skips batches and shares the rest out to several processes.
        self._sampler.set_epoch(options["epoch"])
        # A step within an epoch is resumed with the state that it began with, the first one with the epoch's.
        self._random, self._within_epoch = _random_state(), False
        super()._run_epoch(**options)

    def _evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """A validation within the training: one that is interrupted gives nothing, and training saves and ends."""
        try:
            return super()._evaluate(*arguments, **options)
        except ValidationInterruptedError:
            self.control.should_evaluate, self.control.should_save = False, self._unsaved
            self.control.should_training_stop = True
            return {}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save, flush, declare complete, then delete an older one; `StageFailure` on all ranks when that fails."""
        step = self.state.global_step
        folder = Path(self.args.output_dir) / f"checkpoint-{step}"
        what = f"{self.args.run_name}: {folder.name}"
        require_finite(self.model, what)
        if not self.accelerator.sync_gradients:  # within a step: its passes are done again
            _set_random_state(self._random)
            self.state.num_input_tokens_seen = self._tokens_seen
        with written_by_all(folder, what):  # before the ranks write: what fails here, fails on one of them
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MANIFEST).unlink(missing_ok=True)
        with written_by_all(folder, what):
            super()._save_checkpoint(model, trial)
            if self.is_local_process_zero():
                flush(folder)
        with written_by_all(folder, what):
            if self.is_world_process_zero():
                write_manifest(folder, step)
        self._saved_at = step
        if self.is_world_process_zero():
            delete_old(folder.parent)


def _random_state() -> list[torch.Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def _set_random_state(state: list[torch.Tensor]) -> None:
    torch.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state(state[1])
