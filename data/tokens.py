"""Lengths of texts in tokens of a model's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from registry.errors import MissingError

BATCH = 1024


def count_tokens(texts: Sequence[str], model_path: Path) -> list[int]:
    """Return the number of tokens of each text, special tokens not counted, nothing cut off.

    Raises MissingError when `model_path` holds no tokenizer.
    """
    tokenizer = _tokenizer(model_path)
    counts: list[int] = []
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(
            list(texts[start : start + BATCH]),
            add_special_tokens=False,
            truncation=False,
            return_attention_mask=False,
            verbose=False,
        )
        counts.extend(len(ids) for ids in batch["input_ids"])
    return counts


@lru_cache(maxsize=4)
def _tokenizer(model_path: Path) -> Any:
    from transformers import AutoTokenizer

    if not model_path.is_dir():
        raise MissingError(f"there is no model folder {model_path}; fetch the model or correct its file_path")
    try:
        return AutoTokenizer.from_pretrained(str(model_path), local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MissingError(f"{model_path} holds no tokenizer that transformers can load: {reason}") from error
