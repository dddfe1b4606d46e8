"""TRL's trainer, fed with the layout of `train.order`, and with weight decay as the config has it.

Imports transformers and TRL at the top (their classes must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from datasets import Dataset
from torch.utils.data import Sampler
from trl import SFTTrainer

from train.examples import IGNORED
from train.order import Element, Layout
from train.resumable import Resumable
from train.tokens import FILLER, predicted_tokens

Columns = dict[str, list[list[int]]]


def feed(rows: Dataset, layout: Layout, pad_token: int) -> Dataset:
    """The elements of all epochs as a data set: `input_ids`, `labels`, `seq_lengths` (the rows' lengths in tokens).

    They are put together when they are read; `rows` has `input_ids` and `labels`. An empty element becomes two tokens
    without loss: a shorter sequence has none that is predicted.
    """

    filler = {"input_ids": [[pad_token] * FILLER], "labels": [[IGNORED] * FILLER]}

    def join(batch: Mapping[str, Sequence[Element]]) -> Columns:
        joined: Columns = {"input_ids": [], "labels": [], "seq_lengths": []}
        for element in batch["rows"]:
            parts = rows[list(element)] if element else filler
            for name in ("input_ids", "labels"):
                joined[name].append([token for part in parts[name] for token in part])
            joined["seq_lengths"].append([len(part) for part in parts["input_ids"]])
        return joined

    elements = Dataset.from_dict({"rows": [list(element) for epoch in layout.elements for element in epoch]})
    elements.set_transform(join)
    return elements


class EpochSampler(Sampler[int]):
    """The places of an epoch's elements in the data set of all epochs; accelerate sets the epoch, also on a resume."""

    def __init__(self, layout: Layout) -> None:
        self.length = len(layout.elements[0])
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Go on with the elements of this epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch * self.length, (self.epoch + 1) * self.length))


class Trainer(Resumable, SFTTrainer):
    """`SFTTrainer` that can be resumed, with the order and the weight decay of the config.

    `predicted` are the tokens in the loss of each step's forward passes, over all processes.
    """

    def __init__(self, *, predicted: Sequence[Sequence[int]], **arguments: Any) -> None:
        self._predicted = predicted
        super().__init__(**arguments)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log means over tokens: TRL's are means over forward passes, one with fillers alone counting as 0."""
        if "loss" in logs:
            self._weigh("train", self._predicted[self.state.global_step - 1])
        elif "eval_loss" in logs:
            tokens, size = self._validated, self.accelerator.num_processes  # a row of each process at a time
            self._weigh("eval", [sum(tokens[at : at + size]) for at in range(0, len(tokens), size)])
        super().log(logs, start_time)

    def prediction_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """The loss of a validation row, weighted so that the mean over rows becomes one over tokens."""
        tokens = int((inputs["labels"][:, 1:] != IGNORED).sum())
        loss, logits, labels = super().prediction_step(model, inputs, *arguments, **options)
        return loss * (tokens * len(self._validated) / sum(self._validated)), logits, labels

    def _weigh(self, mode: str, tokens: Sequence[int]) -> None:
        for name in ("entropy", "mean_token_accuracy"):
            means = zip(self._metrics[mode][name], tokens, strict=True)
            self._metrics[mode][name] = [sum(mean * count for mean, count in means) / sum(tokens)]

    @cached_property
    def _validated(self) -> list[int]:
        return predicted_tokens(self.eval_dataset)
