"""The progress of a training on rank 0's stderr: steps done, losses, tokens per second, time left.

Imports transformers at the top (its callback class must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from registry.progress import Progress

SHOWN = {"loss": "loss", "eval_loss": "validation loss", "reward": "reward"}


class ShowProgress(TrainerCallback):
    """Shows every step, and a summary at the end (transformers' own prints every log to stdout).

    Comes after `train.meter.Meter`, which counts the tokens.
    """

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.newest: dict[str, float] = {}
        self.first_token = self.tokens = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start at the step that is resumed from."""
        self.first_token = self.tokens = state.log_history[-1]["tokens"] if state.log_history else 0
        if state.is_world_process_zero:
            self.progress = Progress(state.max_steps, "training", "step", first=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Show the newest losses."""
        self.newest.update({text: logs[name] for name, text in SHOWN.items() if name in logs})
        self.tokens = state.log_history[-1]["tokens"]
        if self.progress is not None:
            self.progress.tell(self._shown(self.progress))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance by one."""
        if self.progress is not None:
            self.progress.advance()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the line; say how far it came."""
        if self.progress is not None:
            self.progress.close()
            self.progress.say(self._shown(self.progress))

    def _shown(self, progress: Progress) -> str:
        speed = (self.tokens - self.first_token) / progress.seconds
        return ", ".join([*(f"{text} {value:.4f}" for text, value in self.newest.items()), f"{speed:,.0f} tokens/s"])
