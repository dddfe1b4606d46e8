"""The trained model as one folder that transformers and vLLM load: weights, config, generation config, tokenizer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from train.checkpoints import flush


def save_final_model(trainer: Any, source: Path, target: Path) -> None:
    """Gather the weights on rank 0 and write them to `target` in the data type of the model in `source`.

    Collective: every rank calls it, and gets a `StageFailure` where the disk is full. The folder appears under its name
    only when it is whole; one that is there from an earlier run is replaced.
    """
    from train.saving import written_by_all

    weights = trainer.accelerator.get_state_dict(trainer.model)  # FSDP: a full copy on rank 0, empty elsewhere
    temporary = target.with_name(f".{target.name}.tmp")
    with written_by_all(temporary, f"{trainer.args.run_name}: the model"):
        if trainer.accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
            _write(trainer, weights, source, temporary)
            flush(temporary)
            _replace_folder(temporary, target)


def _write(trainer: Any, weights: dict[str, Any], source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig

    dtype = AutoConfig.from_pretrained(source).dtype or torch.float32
    model = trainer.accelerator.unwrap_model(trainer.model)
    cast = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    model.save_pretrained(folder, state_dict=cast)
    # save_pretrained writes the live model's data type, float32, into the config; vLLM would load the weights as that.
    config = type(model.config).from_pretrained(folder)
    config.dtype = dtype
    config.save_pretrained(folder)
    trainer.processing_class.save_pretrained(folder)


def _replace_folder(new: Path, target: Path) -> None:
    # A folder with content cannot be replaced in one step; the old one gives way first.
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(new, target)
    shutil.rmtree(old, ignore_errors=True)
