"""The validations of a training: taken when planned, the best one saved, and an end when they get no better.

All that is decided here follows from the log history, which a checkpoint holds, so that a resumed training decides as
an undisturbed one. Imports transformers at the top (its callback class must be subclassed), so import this module
inside functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from registry.errors import StageFailure
from registry.training_schema import TrainingParams
from train.checkpoints import defect
from train.validation import best, out_of_patience, validated


class Validate(TrainerCallback):
    """Validate after each of `steps`. Keep it before the callback that stops on a signal, which may put one off."""

    def __init__(self, params: TrainingParams, steps: frozenset[int]) -> None:
        self.params = params
        self.steps = steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A training that was killed after it had ended early does not go on."""
        self._end_early(state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The evaluation follows, and then the saving."""
        if state.global_step in self.steps:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Have the best weights so far saved, in a checkpoint that `train.checkpoints.delete_old` spares."""
        if not self.params.keeps_best:
            return
        highest = best(validated(state.log_history, self.params.metric), self.params.metric)
        if highest is not None and highest.step == state.global_step:
            state.best_metric, state.best_global_step = highest.value, highest.step
            control.should_save = True
        self._end_early(state, control)

    def _end_early(self, state: Any, control: Any) -> None:
        early = self.params.early_stopping
        taken = validated(state.log_history, self.params.metric)
        if early is not None and out_of_patience(taken, self.params.metric, early):
            control.should_training_stop = True


def load_best(trainer: Any) -> None:
    """Give the trainer's model the weights of the best validation. Collective: every rank calls it."""
    state = trainer.state
    if state.best_global_step is None:
        raise StageFailure("no validation gave a number, so none was the best; look at the validation rows")
    folder = Path(trainer.args.output_dir) / f"checkpoint-{state.best_global_step}"
    trainer.accelerator.wait_for_everyone()  # the last one saved may be the best
    if found := defect(folder):
        raise StageFailure(
            f"the best weights, {folder}, cannot be loaded: {found}; run the training again with --force"
        )
    state.best_model_checkpoint = str(folder)  # transformers itself sets it on some ranks only
    trainer._load_best_model()
