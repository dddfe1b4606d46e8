"""What a training has taken so far, added to every entry of its log.

Imports transformers at the top (its callback class must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from train.hardware import peak_memory_bytes


class Meter(TrainerCallback):
    """Counts over all attempts: a checkpoint keeps the log, and the next attempt counts on from its last entry.

    Must come before the callbacks that show or send the log. What an attempt did after its last checkpoint and did not
    save counts in none of them.

    - `tokens`: of the rows learned from; without `tokens` (of the first 1, 2, ... steps) as the trainer counts them
    - `seconds`: in the loop, validation and saving of checkpoints included; `gpu_seconds`: times the GPUs at work
    - `attempt`: counted from 1
    - `memory_bytes`: the most that rank 0 has held
    """

    def __init__(self, tokens: Sequence[int] | None, gpus: int) -> None:
        self.tokens = tokens
        self.gpus = gpus
        self.before = {"seconds": 0.0, "gpu_seconds": 0.0, "attempt": 0, "memory_bytes": 0}
        self.began = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin an attempt."""
        if state.log_history:
            self.before = {name: state.log_history[-1][name] for name in self.before}
        self.began = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """Stamp the entry in the history, and what is shown of a step: the callbacks get a copy of the entry."""
        passed = time.monotonic() - self.began
        step, tokens = state.global_step, self.tokens
        stamp = {
            "tokens": state.num_input_tokens_seen if tokens is None else tokens[step - 1] if step else 0,
            "seconds": round(self.before["seconds"] + passed, 3),
            "gpu_seconds": round(self.before["gpu_seconds"] + passed * self.gpus, 3),
            "attempt": self.before["attempt"] + 1,
            "memory_bytes": max(self.before["memory_bytes"], peak_memory_bytes()),
        }
        state.log_history[-1].update(stamp)
        if "loss" in logs:
            logs.update(stamp)
