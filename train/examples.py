"""Curated rows become token ids and labels: the loss is on the completion only, nothing is cut or lost uncounted.

Every row is measured and checked before a model is loaded. TRL takes a data set with `labels` as it is; where a chat
template renders a conversation as its prompt and then its answer, the labels are those that TRL itself would make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from registry.errors import StageFailure
from train.turns import turn

IGNORED = -100  # the label that torch's cross entropy leaves out
BATCH = 1000  # rows that the tokenizer's threads share


@dataclass(frozen=True, slots=True)
class Limit:
    """The longest sequence in tokens, and what becomes of a longer row."""

    max_length: int
    truncation: Literal["drop", "cut"]


@dataclass(frozen=True, slots=True)
class Tokenized:
    """`dataset` has the columns `input_ids` and `labels`; `ids`, `lengths` and the tokens are those of its rows."""

    dataset: Any
    ids: tuple[str, ...]
    lengths: tuple[int, ...]
    rows_dropped: int
    rows_cut: int
    completion_tokens: int

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return len(self.ids)

    @property
    def tokens(self) -> int:
        """Tokens of an epoch."""
        return sum(self.lengths)


@dataclass(frozen=True, slots=True)
class _Example:
    """A row's tokens; those from `start` on are learned."""

    id: str
    tokens: Any
    start: int


def tokenize(rows: Any, tokenizer: Any, limit: Limit, opening: str = "") -> Tokenized:
    """Tokenize a split of the formatted data set (`prompt`, `completion`: message lists; `id`).

    `opening` is the mark that begins a thinking in the experiment's format. Raises `StageFailure` with the row's id
    when a row has no token to learn from, `UsageError` when the chat template cannot render one.
    """
    kept: list[_Example] = []
    dropped = cut = 0
    for example in _examples(rows, tokenizer, opening):
        if len(example.tokens) > limit.max_length:
            if limit.truncation == "drop":
                dropped += 1
                continue
            cut += 1
            example = _Example(example.id, example.tokens[: limit.max_length], example.start)
        # The first position predicts nothing, so its label never counts.
        if len(example.tokens) <= max(example.start, 1):
            raise StageFailure(
                f"row {example.id} has no completion token within max_length {limit.max_length}: nothing to learn; "
                "remove it in curation, raise training_params.max_length or set truncation to 'drop'"
            )
        kept.append(example)
    return Tokenized(
        dataset=_dataset(kept),
        ids=tuple(example.id for example in kept),
        lengths=tuple(len(example.tokens) for example in kept),
        rows_dropped=dropped,
        rows_cut=cut,
        completion_tokens=sum(len(example.tokens) - example.start for example in kept),
    )


def _examples(rows: Any, tokenizer: Any, opening: str) -> Iterator[_Example]:
    import numpy as np
    from datasets.utils import tqdm  # silent on all ranks but the first

    def ids_of(texts: list[str]) -> list[list[int]]:
        return list(tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"])

    with tqdm(total=len(rows), desc="tokenizing", unit="row") as bar:
        for batch in _batches(rows):
            turns = [turn(row, tokenizer, opening) for row in batch]
            given = ids_of([each.given for each in turns])
            whole = ids_of([each.given + each.written for each in turns])
            for row, each, context, tokens in zip(batch, turns, given, whole, strict=True):
                if tokens[: len(context)] != context:
                    # A token would reach across the border; a model that is asked has the context's own tokens.
                    tokens = context + ids_of([each.written])[0]
                yield _Example(row["id"], np.array(tokens, dtype=np.int64), len(context))
            bar.update(len(batch))


def _batches(rows: Any) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _dataset(examples: list[_Example]) -> Any:
    import numpy as np
    from datasets import Dataset, Features, List, Value

    labels = [np.where(np.arange(len(each.tokens)) < each.start, IGNORED, each.tokens) for each in examples]
    features = Features({"input_ids": List(Value("int64")), "labels": List(Value("int64"))})
    return Dataset.from_dict({"input_ids": [each.tokens for each in examples], "labels": labels}, features=features)
