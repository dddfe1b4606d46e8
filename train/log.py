"""The log of a training: the trainer's history, which its checkpoints keep, as points and as a table.

An entry of the history is what was logged after a step: its training loss, or a validation, or how the loop ended.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry.durable import write_durably

History = Sequence[Mapping[str, Any]]

FIRST = (
    *("step", "epoch", "loss", "learning_rate", "grad_norm", "mean_token_accuracy", "entropy"),
    *("eval_loss", "eval_mean_token_accuracy", "tokens", "seconds", "gpu_seconds", "attempt", "memory_bytes"),
)
WHOLE = ("step", "tokens", "attempt", "memory_bytes")
# TRL's own count of tokens starts anew when a training is resumed; the speeds follow from the rest.
LEFT_OUT = ("num_tokens", "eval_num_tokens", "eval_samples_per_second", "eval_steps_per_second")


def steps_of(history: History) -> list[Mapping[str, Any]]:
    """One entry per optimizer step, the training's."""
    return [entry for entry in history if "loss" in entry]


def validations_of(history: History) -> list[Mapping[str, Any]]:
    """The entries that are validations."""
    return [entry for entry in history if "eval_loss" in entry]


def log_table(history: History) -> Any:
    """The log as an arrow table with a row per step: what `FIRST` has, then whatever else was logged, by name.

    A validation stands in the row of the step that it was taken after; elsewhere its columns are null.
    """
    import pyarrow as pa

    rows: dict[int, dict[str, Any]] = {}
    for entry in [*steps_of(history), *validations_of(history)]:
        row = rows.setdefault(entry["step"], {})
        row.update({name: value for name, value in entry.items() if name not in row and name not in LEFT_OUT})
    ordered = [rows[step] for step in sorted(rows)]
    names = [*FIRST, *sorted({name for row in ordered for name in row} - set(FIRST))]
    types = {name: pa.int64() if name in WHOLE else pa.float64() for name in names}
    return pa.table({name: pa.array([row.get(name) for row in ordered], types[name]) for name in names})


def write_log(history: History, path: Path) -> None:
    """The table as parquet, in one step."""
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(log_table(history), content)
    write_durably(path, content.getvalue())
