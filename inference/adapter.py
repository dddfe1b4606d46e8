"""A model folder that holds LoRA adapters alone: which model they belong to, and what an engine must know of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import MissingError
from registry.weights import ADAPTERS


@dataclass(frozen=True, slots=True)
class Adapter:
    """Adapters in `folder` for the whole model in `base`. `modules_to_save` are layers that they replace."""

    folder: Path
    base: Path
    rank: int
    modules_to_save: tuple[str, ...]


def read_adapter(folder: Path) -> Adapter | None:
    """The adapter in `folder`, or None where there is none; `MissingError` when it or its model is not there."""
    path = folder / ADAPTERS
    if not path.is_file():
        return None
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        base = Path(config["base_model_name_or_path"])
        adapter = Adapter(folder, base, int(config["r"]), tuple(config.get("modules_to_save") or ()))
    except (ValueError, KeyError, TypeError) as error:
        raise MissingError(f"{path} is no config of a LoRA adapter ({error!r}); train the model again") from error
    if not (base / "config.json").is_file():
        raise MissingError(
            f"{folder} holds adapters for the model in {base}, which is not there: bring it back, or train again with "
            "training_params.lora.merge true"
        )
    return adapter


def base_folder(folder: Path) -> Path:
    """The folder with the whole model: `folder` itself, or where its adapter's base lies."""
    adapter = read_adapter(folder)
    return adapter.base if adapter else folder
