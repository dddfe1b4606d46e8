"""A model folder, checked before an engine spends minutes on it; its tokenizer and its end-of-turn tokens.

A folder with adapters alone has its own tokenizer, and config and weights in the folder of its base.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.adapter import base_folder
from registry.errors import MissingError, StageFailure, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WEIGHTS = ("*.safetensors", "*.bin")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model folder that can be opened: its tokenizer and the ids that end a turn."""

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    stop_ids: frozenset[int]

    def decode(self, token_ids: list[int]) -> str:
        """Return the text of a generated turn, without its end-of-turn token and other special tokens."""
        kept = token_ids[:-1] if token_ids and token_ids[-1] in self.stop_ids else token_ids
        return str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def load_checkpoint(folder: Path, max_length: int) -> Checkpoint:
    """Check the folder and load its tokenizer.

    Raises `MissingError` when config, weights or tokenizer are not there, `UsageError` when the model has no chat
    template or fewer positions than `max_length`.
    """
    base = base_folder(folder)
    config = _read_config(base)
    _check_max_length(folder, config, max_length)
    tokenizer = _load_tokenizer(folder)
    return Checkpoint(folder, tokenizer, _stop_ids(base, config, tokenizer))


@contextmanager
def opening(folder: Path, library: str) -> Iterator[None]:
    """Turn what a library says about weights that it cannot load into a `StageFailure` of one line."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise StageFailure(f"{library} cannot open {folder}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def _read_config(folder: Path) -> dict[str, Any]:
    advice = "train the model again, or `meds1 fetch` it"
    if not (folder / "config.json").is_file():
        raise MissingError(f"{folder} is no model folder: it holds no config.json; {advice}")
    if not any(True for pattern in _WEIGHTS for _ in folder.glob(pattern)):
        raise MissingError(f"{folder} holds no model weights ({' or '.join(_WEIGHTS)}); {advice}")
    config: dict[str, Any] = _read_json(folder / "config.json")
    return config


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MissingError(f"{path} is not readable JSON ({error}); the model folder is damaged") from error
    if not isinstance(value, dict):
        raise MissingError(f"{path} holds no JSON object; the model folder is damaged")
    return value


def max_positions(folder: Path) -> int | None:
    """Return the longest sequence that the model in `folder` knows; null when its config says nothing of it."""
    return _positions(_read_config(base_folder(folder)))


def _positions(config: dict[str, Any]) -> int | None:
    """The model's positions, which YaRN scaling extends by its factor."""
    text = config.get("text_config", config)
    positions: int | None = text.get("max_position_embeddings")
    if positions is None:
        return None
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type")) == "yarn" and "original_max_position_embeddings" in rope:
        return max(positions, int(rope["original_max_position_embeddings"] * rope.get("factor", 1)))
    return positions


def _check_max_length(folder: Path, config: dict[str, Any], max_length: int) -> None:
    positions = _positions(config)
    if positions is not None and max_length > positions:
        raise UsageError(
            f"{folder}: max_length {max_length} is beyond the model's {positions} positions; "
            "lower max_length (in the catalog's model entry, or as an option)"
        )


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise MissingError(f"{folder} holds no usable tokenizer: {_one_line(error)}") from error
    if not tokenizer.chat_template:
        raise UsageError(f"{folder}: the tokenizer has no chat template; use an instruction-tuned model")
    return tokenizer


def _stop_ids(folder: Path, config: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokenizer's end of sequence and what the generation config (or the model config) adds to it."""
    generation = folder / "generation_config.json"
    listed = _read_json(generation).get("eos_token_id") if generation.is_file() else None
    if listed is None:
        listed = config.get("eos_token_id")
    ids = listed if isinstance(listed, list) else [listed]
    return frozenset(int(i) for i in (*ids, tokenizer.eos_token_id) if i is not None)
