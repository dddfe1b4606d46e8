"""The progress of a training on rank 0's stderr: steps done, losses, tokens per second, time left.

On a terminal it is a bar; anywhere else it is a line now and then, since a bar leaves nothing readable in a log.
Imports transformers at the top (its callback class must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

from transformers import TrainerCallback

LOG_SECONDS = 30.0
SHOWN = {"loss": "loss", "eval_loss": "validation loss", "reward": "reward"}


class Progress(TrainerCallback):
    """Shows every step, and a summary at the end (transformers' own prints every log to stdout).

    Comes after `train.meter.Meter`, which counts the tokens.
    """

    def __init__(self) -> None:
        self.bar: Any = None
        self.newest: dict[str, float] = {}
        self.first_step = self.first_token = self.tokens = 0
        self.began = self.said = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start at the step that is resumed from."""
        from tqdm import tqdm  # type: ignore[import-untyped]

        self.first_step = state.global_step
        self.first_token = self.tokens = state.log_history[-1]["tokens"] if state.log_history else 0
        self.began = self.said = time.monotonic()
        if state.is_world_process_zero and sys.stderr.isatty():
            self.bar = tqdm(
                total=state.max_steps, initial=self.first_step, desc="training", unit="step", file=sys.stderr
            )

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Show the newest losses."""
        self.newest.update({text: logs[name] for name, text in SHOWN.items() if name in logs})
        self.tokens = state.log_history[-1]["tokens"]
        if self.bar is not None:
            self.bar.set_postfix_str(self._shown(), refresh=False)
        elif state.is_world_process_zero and time.monotonic() - self.said >= LOG_SECONDS:
            self._say(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance by one."""
        if self.bar is not None:
            self.bar.update(1)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the line; say how far it came."""
        if self.bar is not None:
            self.bar.close()
        if state.is_world_process_zero:
            self._say(state)

    def _say(self, state: Any) -> None:
        self.said = time.monotonic()
        passed, done, to_do = self.said - self.began, state.global_step - self.first_step, state.max_steps
        left = (
            f", {_clock(passed / done * (to_do - state.global_step))} left"
            if 0 < done < to_do - self.first_step
            else ""
        )
        print(
            f"training: step {state.global_step:,} of {to_do:,} in {_clock(passed)}, {self._shown()}{left}",
            file=sys.stderr,
            flush=True,
        )

    def _shown(self) -> str:
        speed = (self.tokens - self.first_token) / max(time.monotonic() - self.began, 1e-3)
        return ", ".join([*(f"{text} {value:.4f}" for text, value in self.newest.items()), f"{speed:,.0f} tokens/s"])


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
