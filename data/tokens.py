"""Lengths of texts in tokens of a model's own tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.array_store import computed_once
from registry.contents import is_of_tokenizer
from registry.errors import MissingError
from registry.versions import TOKENS_VERSION

if TYPE_CHECKING:
    import numpy as np

BATCH = 256


def count_tokens(texts: Sequence[str], model_path: Path, shared: Path | None = None) -> list[int]:
    """Return the number of tokens of each text, special tokens not counted, nothing cut off.

    In `shared` the counts are kept by content, for every model with this tokenizer; what is there already does not
    even load it. Raises MissingError when `model_path` holds no tokenizer.
    """
    count = partial(_counted, model_path=model_path)
    found = count(texts) if shared is None else computed_once(texts, shared / "tokens" / _digest(model_path), count)
    return [int(number) for number in found]


def _counted(texts: Sequence[str], model_path: Path) -> np.ndarray:
    import numpy as np

    tokenizer = _tokenizer(model_path)
    counts: list[int] = []
    for start in range(0, len(texts), BATCH):  # of 1,024 texts at once it takes 120 MB more and no less time
        batch = tokenizer(
            list(texts[start : start + BATCH]),
            add_special_tokens=False,
            truncation=False,
            return_attention_mask=False,
            verbose=False,
        )
        counts.extend(len(ids) for ids in batch["input_ids"])
    return np.array(counts, dtype=np.int32)


def _digest(model_path: Path) -> str:
    """SHA-256 of the tokenizer's files, by name, and of the version of the code that counts."""
    _require_folder(model_path)
    digest = hashlib.sha256(f"{TOKENS_VERSION}\n".encode())
    # The model's kind in its config.json decides which class reads the tokenizer's files.
    named = (file for file in model_path.iterdir() if is_of_tokenizer(file.name) or file.name == "config.json")
    for file in sorted(file for file in named if file.is_file()):
        digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _require_folder(model_path: Path) -> None:
    if not model_path.is_dir():
        raise MissingError(f"there is no model folder {model_path}; fetch the model or correct its file_path")


@lru_cache(maxsize=4)
def _tokenizer(model_path: Path) -> Any:
    from transformers import AutoTokenizer

    _require_folder(model_path)
    try:
        return AutoTokenizer.from_pretrained(str(model_path), local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MissingError(f"{model_path} holds no tokenizer that transformers can load: {reason}") from error
