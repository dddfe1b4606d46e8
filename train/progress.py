"""The progress bar of a training.

Imports transformers at the top (its callback class must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

import sys
from typing import Any

from transformers import TrainerCallback


class Progress(TrainerCallback):
    """A progress bar on rank 0's stderr (transformers' own prints every log to stdout)."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start at the step that is resumed from."""
        from tqdm import tqdm  # type: ignore[import-untyped]

        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc="training",
            unit="step",
            file=sys.stderr,
            disable=not state.is_world_process_zero,
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Show the newest losses."""
        shown = {name: f"{logs[name]:.4f}" for name in ("loss", "eval_loss") if name in logs}
        if self.bar is not None and shown:
            self.bar.set_postfix(shown, refresh=False)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance by one."""
        self.bar.update(1)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the line."""
        self.bar.close()
