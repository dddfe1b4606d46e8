"""The safetensors files of a model folder, by their headers: standard library only, nothing is loaded.

The format: 8 bytes with the header's length (little endian), the header as JSON, the tensors' bytes
(https://huggingface.co/docs/safetensors/en/index#format).
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.errors import MissingError

ADAPTERS = "adapter_config.json"
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_LONGEST_HEADER = 100_000_000  # bytes; safetensors itself refuses longer ones
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads a model's weights from; `MissingError` when there are none, or one is not."""
    index = folder / _INDEX
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise MissingError(f"{index}: is no index of weights; fetch the model again") from None
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise MissingError(
                f"{folder}: {len(missing)} of its {len(names)} weight files are not here ({missing[0]}); "
                "fetch the model again"
            )
        return [folder / name for name in names]
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if (folder / ADAPTERS).is_file():
        raise MissingError(
            f"{folder}: holds adapters, and no model to tune; merge them into their base model, or name that model"
        )
    raise MissingError(f"{folder}: holds no weights ({_SINGLE}, or {_INDEX}); check the model's entry in the catalog")


def read_header(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """The tensors of a file: `dtype`, `shape`, `data_offsets` of each; `MissingError` where the file is not whole."""
    size = os.stat(file).st_size
    try:
        with open(file, "rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, _LONGEST_HEADER)))
        tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
        end = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    except (struct.error, ValueError, KeyError, IndexError, AttributeError, TypeError):
        raise MissingError(f"{file}: is cut off, or no safetensors file; fetch the model again") from None
    if size != end:
        raise MissingError(f"{file}: has {size} bytes where its header names {end}; fetch the model again")
    return tensors


def count_parameters(folder: Path) -> int | None:
    """Parameters by the headers of all weight files; null for quantised weights, whose shapes do not tell.

    Raises `MissingError` as `weight_files` and `read_header` do.
    """
    tensors: dict[str, Mapping[str, Any]] = {}
    for file in weight_files(folder):
        tensors.update(read_header(file))
    if any(tensor["dtype"] not in _FLOATS for tensor in tensors.values()):
        return None
    return sum(math.prod(tensor["shape"]) for tensor in tensors.values())
