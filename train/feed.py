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
from train.tokens import predicted_tokens

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


class Trainer(Resumable, SFTTrainer):
    """`SFTTrainer` that reads the layout's elements in their order and spares the weights in `undecayed`.

    `predicted` are the tokens in the loss of each step's forward passes, over all processes.
    """

    def __init__(
        self, *, sampler: EpochSampler, predicted: Sequence[Sequence[int]], undecayed: Sequence[str], **arguments: Any
    ) -> None:
        self._sampler, self._predicted, self._undecayed = sampler, predicted, tuple(undecayed)
        super().__init__(**arguments)

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        return self._sampler

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """What transformers decays, all but norms and biases, without the weights that the config spares."""
        names = super().get_decay_parameter_names(model)
        return [name for name in names if not any(part in name for part in self._undecayed)]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log means over tokens: TRL's are means over forward passes, one with fillers alone counting as 0."""
        if "loss" in logs:
            self._weigh("train", self._predicted[self.state.global_step - 1])
        elif "eval_loss" in logs:
            tokens, size = self._validated, self.accelerator.num_processes  # a row of each process at a time
            self._weigh("eval", [sum(tokens[at : at + size]) for at in range(0, len(tokens), size)])
        super().log(logs, start_time)

    def _weigh(self, mode: str, tokens: Sequence[int]) -> None:
        for name in ("entropy", "mean_token_accuracy"):
            means = zip(self._metrics[mode][name], tokens, strict=True)
            self._metrics[mode][name] = [sum(mean * count for mean, count in means) / sum(tokens)]

    @cached_property
    def _validated(self) -> list[int]:
        return predicted_tokens(self.eval_dataset)

    def _run_epoch(self, **arguments: Any) -> None:
        # accelerate loses sight of the sampler where it skips batches and shares the rest out to several processes.
        self._sampler.set_epoch(arguments["epoch"])
        super()._run_epoch(**arguments)
