"""TRL's trainer, fed with the layout of `train.order`, and with weight decay as the config has it.

Imports transformers and TRL at the top (their classes must be subclassed), so import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datasets import Dataset
from torch.utils.data import Sampler
from trl import SFTTrainer

from train.examples import IGNORED
from train.order import Element, Layout

Columns = dict[str, list[list[int]]]


def feed(rows: Dataset, layout: Layout, pad_token: int) -> Dataset:
    """The elements of all epochs as a data set: `input_ids`, `labels`, `seq_lengths` (the rows' lengths in tokens).

    They are put together when they are read; `rows` has `input_ids` and `labels`. An empty element becomes two tokens
    without loss: the loss predicts from each token the next.
    """

    def join(batch: Mapping[str, Sequence[Element]]) -> Columns:
        joined: Columns = {"input_ids": [], "labels": [], "seq_lengths": []}
        for element in batch["rows"]:
            parts = rows[list(element)] if element else {"input_ids": [[pad_token] * 2], "labels": [[IGNORED] * 2]}
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


class Trainer(SFTTrainer):
    """`SFTTrainer` that reads the layout's elements in their order and spares the weights in `undecayed`."""

    def __init__(self, *, sampler: EpochSampler, undecayed: Sequence[str], **arguments: Any) -> None:
        self._sampler, self._undecayed = sampler, tuple(undecayed)
        super().__init__(**arguments)

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        return self._sampler

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """What transformers decays, all but norms and biases, without the weights that the config spares."""
        names = super().get_decay_parameter_names(model)
        return [name for name in names if not any(part in name for part in self._undecayed)]
