"""Whether a model folder can be trained: told from its small files and its weights' headers, before any job starts.

No model and no tokenizer is loaded. `train.preflight` looks once more when the stage starts; `meds1 run` and
`meds1 submit` look before they start anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inference.chat_template import read_json, render, template_of
from inference.checkpoint import max_positions
from registry.errors import MissingError, UsageError
from registry.model_shape import read_config
from registry.weights import read_header, weight_files

_EMBEDDING = "embed_tokens.weight"
_QUESTION, _ANSWER = "Which drug?", "Lisinopril."


def check_trainable(folder: Path, max_length: int) -> None:
    """Look at a model that is to be trained on sequences of up to `max_length` tokens.

    Raises `MissingError` when config, weights or tokenizer are not wholly there; `UsageError` when the chat template is
    absent or writes no whole assistant turn, and when the tokenizer has tokens, or the training positions, that the
    model has not.
    """
    config = read_config(folder)
    rows = _embedding_rows(folder, config)
    _check_vocabulary(folder, rows)
    _check_template(folder)
    positions = max_positions(folder)
    if positions is not None and max_length > positions:
        raise UsageError(
            f"{folder}: training_params.max_length {max_length} is beyond the model's {positions} positions; lower it"
        )


def _embedding_rows(folder: Path, config: Mapping[str, Any]) -> int | None:
    """How many tokens the model knows, by config and weights; null when neither says."""
    known = [config.get("text_config", config).get("vocab_size")]
    for file in weight_files(folder):
        known += [tensor["shape"][0] for name, tensor in read_header(file).items() if name.endswith(_EMBEDDING)]
    found = {int(rows) for rows in known if rows is not None}
    if len(found) > 1:
        raise MissingError(
            f"{folder}: its config.json and its weights disagree on how many tokens it knows "
            f"({', '.join(map(str, sorted(found)))}); fetch the model again"
        )
    return found.pop() if found else None


def _check_vocabulary(folder: Path, rows: int | None) -> None:
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file() and not (folder / "tokenizer.model").is_file():
        raise MissingError(f"{folder}: holds no tokenizer (tokenizer.json); fetch the model again")
    if rows is None or not tokenizer.is_file():
        return
    last = max(_ids(folder), default=0)
    if last >= rows:
        raise UsageError(
            f"{folder}: its tokenizer has tokens up to number {last}, and the model knows only {rows}; use the "
            "tokenizer that belongs to the model, or a model whose embedding was resized for it"
        )


def _ids(folder: Path) -> Iterator[int]:
    described = read_json(folder / "tokenizer.json")
    try:
        vocabulary = described.get("model", {}).get("vocab", {})
        yield from vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        yield from (token["id"] for token in described.get("added_tokens") or ())
        yield from map(int, read_json(folder / "tokenizer_config.json").get("added_tokens_decoder") or ())
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MissingError(f"{folder}: its tokenizer.json is no tokenizer; fetch the model again") from None


def _check_template(folder: Path) -> None:
    template = template_of(folder)
    if template is None:
        raise UsageError(f"{folder}: the tokenizer has no chat template; use an instruction-tuned model")
    messages = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
    _, found, end = render(folder, template, messages).rpartition(_ANSWER)
    if not found or not end.strip():
        lacks = "does not end the assistant's turn" if found else "writes nothing of what the assistant says"
        raise UsageError(
            f"{folder}: the chat template {lacks}, so that the model could not learn to answer; correct the template, "
            "or use an instruction-tuned model"
        )
