"""Curated rows become token ids and labels: the loss is on the completion only, nothing is cut or lost uncounted.

The rule is TRL's own for prompt/completion rows (`SFTTrainer._prepare_dataset`, TRL 1.16); it is applied here so that
every row is measured and checked before a model is loaded. TRL takes a data set with `labels` as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from registry.errors import StageFailure

IGNORED = -100  # the label that torch's cross entropy leaves out


@dataclass(frozen=True, slots=True)
class Limit:
    """The longest sequence in tokens, and what becomes of a longer row."""

    max_length: int
    truncation: Literal["drop", "cut"]


@dataclass(frozen=True, slots=True)
class Tokenized:
    """`dataset` has the columns `input_ids` and `labels`; tokens are counted in the rows that it holds.

    `prompts_altered` counts the rows whose prompt the chat template renders otherwise when a completion follows: the
    model is trained on a context that differs from the one it is asked with.
    """

    dataset: Any
    rows: int
    rows_dropped: int
    rows_cut: int
    prompts_altered: int
    tokens: int
    completion_tokens: int

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(ids) for ids in self.dataset["input_ids"]]


def tokenize(rows: Any, tokenizer: Any, limit: Limit) -> Tokenized:
    """Tokenize a split of the formatted data set (`prompt`, `completion`: message lists; `id`).

    Raises `StageFailure` with the row's id when a row has no token to learn from, or when the chat template leaves out
    a part of its completion.
    """
    from datasets import Dataset, Features, List, Value

    kept: list[dict[str, list[int]]] = []
    dropped = cut = altered = 0
    for row in rows:
        example, whole_prompt = _example(row, tokenizer)
        altered += not whole_prompt
        if len(example["input_ids"]) > limit.max_length:
            if limit.truncation == "drop":
                dropped += 1
                continue
            cut += 1
            example = {name: values[: limit.max_length] for name, values in example.items()}
        if not _learns(example):
            raise StageFailure(
                f"row {row['id']} has no completion token within max_length {limit.max_length}: nothing to learn; "
                "remove it in curation, raise training_params.max_length or set truncation to 'drop'"
            )
        kept.append(example)
    features = Features({"input_ids": List(Value("int64")), "labels": List(Value("int64"))})
    return Tokenized(
        dataset=Dataset.from_dict({name: [example[name] for example in kept] for name in features}, features=features),
        rows=len(kept),
        rows_dropped=dropped,
        rows_cut=cut,
        prompts_altered=altered,
        tokens=sum(len(example["input_ids"]) for example in kept),
        completion_tokens=sum(label != IGNORED for example in kept for label in example["labels"]),
    )


def _example(row: dict[str, Any], tokenizer: Any) -> tuple[dict[str, list[int]], bool]:
    """The row's ids and labels, and whether they begin with the prompt as it is rendered alone."""
    from trl.data_utils import common_prefix_length

    conversation = row["prompt"] + row["completion"]
    _check_template(row, tokenizer.apply_chat_template(conversation, tokenize=False))
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(conversation, return_dict=True)["input_ids"]
    start = common_prefix_length(prompt, whole)
    return {"input_ids": list(whole), "labels": [IGNORED] * start + list(whole[start:])}, start == len(prompt)


def _check_template(row: dict[str, Any], rendered: str) -> None:
    # Templates of some reasoning models cut the thinking out of every assistant message, meant for chat histories.
    if any(message["content"].strip() not in rendered for message in row["completion"]):
        raise StageFailure(
            f"row {row['id']}: the model's chat template leaves out or changes a part of the completion (its thinking, "
            "usually); choose another curation.format or another model"
        )


def _learns(example: dict[str, list[int]]) -> bool:
    # The first position predicts nothing, so its label never counts.
    return any(label != IGNORED for label in example["labels"][1:])
