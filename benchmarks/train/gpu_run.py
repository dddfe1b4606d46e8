"""`python -m benchmarks.train.gpu_run SETTING MODEL LENGTH`: one setting in this process; prints a JSON object.

Our way is the stage's own: its task, its arguments, its trainer.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.train.gpu_models import full_rows, mixed_rows
from benchmarks.train.gpu_settings import SETTINGS, Setting, missing_package
from benchmarks.train.ways import Clock, clocked, training_context
from train.task import Task

STEPS, WARM_UP = 8, 2


def main() -> None:
    """Print the figures of the setting, or why there are none (`not_run`)."""
    setting, model, length = SETTINGS[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(measure(setting, model, length)))


def measure(setting: Setting, model: Path, length: int) -> dict[str, Any]:
    """Train `STEPS` optimizer steps; the first `WARM_UP` are not timed."""
    import torch

    package = missing_package(setting)
    if package is not None:
        return {"not_run": f"{package} is not installed here"}
    with tempfile.TemporaryDirectory(prefix="meds1-train-gpu-") as scratch:
        try:
            train = _bare if setting.way == "trl" else _stage
            clock, steps, attention = train(setting, model, length, Path(scratch))
        except torch.cuda.OutOfMemoryError:
            return {"not_run": "out of memory"}
    timed = clock.after(WARM_UP)
    rows = [row for step in steps[WARM_UP:] for row in step]
    return {
        **_rates(model, rows, timed.seconds),
        "seconds_per_step": timed.seconds / timed.steps,
        "attention": attention,
        "peak_bytes": _peak_bytes(),
    }


Lengths = Sequence[Sequence[int]]
"""The rows of each optimizer step, in tokens."""


def _stage(setting: Setting, model: Path, length: int, folder: Path) -> tuple[Clock, Lengths, str]:
    from accelerate.utils import AutocastKwargs

    from train.arguments import training_arguments
    from train.task import prepare
    from train.trainer import build_trainer

    make_rows = mixed_rows if setting.mixed else full_rows
    params: dict[str, Any] = {"batch_size": 1, "gradient_checkpointing": True, "truncation": "cut", **setting.params}
    if setting.attention in ("sdpa", "eager"):
        params["packing"] = False  # as the stage decides where it has no other
    rows = make_rows(STEPS * params.get("gradient_accumulation_steps", 1), length)
    task = prepare(training_context(folder, model, rows, max_length=length, **params))
    if setting.attention is not None:
        task = dataclasses.replace(task, attention=setting.attention)
    arguments = training_arguments(task, folder / "checkpoints")
    for name, value in setting.arguments.items():
        setattr(arguments, name, value)
    trainer = build_trainer(task, arguments, [])
    if setting.weights == "bfloat16":
        trainer.model.bfloat16()
    if setting.cache is not None:
        trainer.accelerator.autocast_handler = AutocastKwargs(cache_enabled=setting.cache)
    return clocked(trainer.train), _rows_of_steps(task), task.attention


def _rows_of_steps(task: Task) -> Lengths:
    elements, lengths = task.layout.elements[0], task.train.lengths
    size = len(elements) // task.steps
    return [
        [lengths[row] for element in elements[at : at + size] for row in element]
        for at in range(0, len(elements), size)
    ]


def _bare(setting: Setting, model: Path, length: int, folder: Path) -> tuple[Clock, Lengths, str]:
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        output_dir=str(folder),
        max_length=length,
        max_steps=STEPS,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        **setting.arguments,
    )
    rows = arguments.per_device_train_batch_size
    dataset = Dataset.from_list([dict(row) for row in full_rows(STEPS * rows, length)])
    trainer = SFTTrainer(str(model), arguments, train_dataset=dataset.remove_columns("id"))
    return clocked(trainer.train), [[length] * rows] * STEPS, trainer.model.config._attn_implementation


def _rates(model: Path, rows: Sequence[int], seconds: float) -> dict[str, Any]:
    """Tokens per second and MFU; a token attends to the row that it is in, so rows count by their tokens."""
    import torch
    from transformers import AutoConfig

    from train.flops import flops_per_token, peak_flops

    rate = sum(rows) / seconds
    peak = peak_flops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    flops = flops_per_token(AutoConfig.from_pretrained(model), sum(row * row for row in rows) / sum(rows))
    return {"tokens_per_second": rate, "mfu": rate * flops / peak if flops and peak else None}


def _peak_bytes() -> int:
    """The most that torch took from the GPU, what it held in reserve included; without one what the process held."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


if __name__ == "__main__":
    main()
