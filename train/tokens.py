"""How many tokens the steps of a training learn from, and how full its sequences are. Pure functions of the layout."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from train.examples import IGNORED
from train.order import Layout

FILLER = 2  # tokens of an empty element


def predicted_tokens(dataset: Any) -> list[int]:
    """Tokens of each row that count in the loss; `dataset` has `labels`. The first position predicts nothing."""
    batches = dataset.with_format("numpy").iter(1000)
    return [int((labels[1:] != IGNORED).sum()) for batch in batches for labels in batch["labels"]]


def by_forward_pass(layout: Layout, world_size: int, counts: Sequence[int]) -> list[list[int]]:
    """The sums of `counts`, one for each row, over what all processes read at once: of each step, of each pass."""
    side_by_side = layout.per_device * world_size
    passes = [
        sum(counts[row] for element in epoch[start : start + side_by_side] for row in element)
        for epoch in layout.elements
        for start in range(0, len(epoch), side_by_side)
    ]
    return [passes[start : start + layout.accumulation] for start in range(0, len(passes), layout.accumulation)]


def cumulative(layout: Layout, world_size: int, counts: Sequence[int]) -> list[int]:
    """The sum of `counts` over what the first 1, 2, ... optimizer steps learn from."""
    return list(itertools.accumulate(map(sum, by_forward_pass(layout, world_size, counts))))


def padding_share(layout: Layout, lengths: Sequence[int]) -> float:
    """The share of the positions that the model computes which hold no row's token: padding and fillers."""
    computed = held = 0
    for epoch in layout.elements:
        for start in range(0, len(epoch), layout.per_device):
            sequences = [sum(lengths[row] for row in element) for element in epoch[start : start + layout.per_device]]
            held += sum(sequences)
            computed += len(sequences) * max(length or FILLER for length in sequences)
    return 1.0 - held / computed


def packing_efficiency(layout: Layout, lengths: Sequence[int], capacity: int) -> float:
    """How full the packed sequences are: tokens of rows, divided by `capacity` tokens for each sequence."""
    packed = [sum(lengths[row] for row in element) for epoch in layout.elements for element in epoch if element]
    return sum(packed) / (len(packed) * capacity)
