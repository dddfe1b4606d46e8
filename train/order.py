"""Which rows each optimizer step learns from, and how they lie in its forward passes. Pure functions of integers.

The rows of a step belong to the experiment: seed, epoch and global batch decide them. How a step's rows are laid into
elements (a row each, or several packed into one sequence), processes and accumulation steps belongs to the machine;
the loss of a step is the mean over all of its labelled tokens, so that no layout changes it.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from train.batch import BatchPlan

Element = tuple[int, ...]
"""Rows that make up one sequence; an empty one carries no loss and fills up a batch."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The elements of all epochs, in the order in which they are read.

    `elements[epoch]` has `steps_per_epoch` x `accumulation` x world size x `per_device` of them: the first
    `per_device` x world size go to the processes in turn, `per_device` to each.
    """

    per_device: int
    accumulation: int
    elements: tuple[tuple[Element, ...], ...]


def epoch_order(rows: int, seed: int, epoch: int) -> list[int]:
    """The row numbers 0 .. `rows` - 1 in the order of an epoch: the same on every machine."""
    order = list(range(rows))
    random.Random(f"training {seed} {epoch}").shuffle(order)
    return order


def lay_out(lengths: Sequence[int], plan: BatchPlan, epochs: int, seed: int, capacity: int | None = None) -> Layout:
    """Lay out rows of the given `lengths` (tokens) for `epochs` passes.

    `capacity` is the longest sequence that rows are packed into, in tokens; without one every element is a row. Rows of
    a step are sorted by length, the longest first: what is read side by side is then about as long, which spares
    padding and waiting. A last step that lacks rows is filled with empty elements.
    """
    steps = [
        sorted(order[start : start + plan.global_batch], key=lambda row: -lengths[row])
        for epoch in range(epochs)
        for order in [epoch_order(len(lengths), seed, epoch)]
        for start in range(0, len(order), plan.global_batch)
    ]
    per_device, accumulation = plan.per_device, plan.accumulation
    laid: list[list[Element]] = [[(row,) for row in step] for step in steps]
    if capacity is not None:
        laid = [pack(step, lengths, capacity) for step in steps]
        per_device, accumulation = 1, max(math.ceil(len(step) / plan.world_size) for step in laid)
    size = per_device * accumulation * plan.world_size
    filled = [[*step, *[()] * (size - len(step))] for step in laid]
    each = plan.steps_per_epoch(len(lengths))
    flat = [tuple(element for step in filled[at : at + each] for element in step) for at in range(0, len(steps), each)]
    return Layout(per_device, accumulation, tuple(flat))


def rows_of_pass(layout: Layout, processes: int, rank: int, step: int, number: int) -> list[int]:
    """The rows that `rank` reads in forward pass `number` (from 0) of optimizer step `step` (from 1, all epochs)."""
    elements = [element for epoch in layout.elements for element in epoch]
    first = (((step - 1) * layout.accumulation + number) * processes + rank) * layout.per_device
    return [row for element in elements[first : first + layout.per_device] for row in element]


def pack(rows: Sequence[int], lengths: Sequence[int], capacity: int) -> list[Element]:
    """Lay `rows`, sorted from long to short, into sequences of at most `capacity` tokens, the fullest that it fits in.

    Best-fit decreasing: never more than 11/9 of the fewest sequences possible, plus one (Johnson, 1974). The sequences
    come with the most tokens first.
    """
    sequences: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (free tokens, index into sequences), sorted
    for row in rows:
        at = bisect.bisect_left(rooms, (lengths[row], -1))
        if at == len(rooms):
            sequences.append([])
            free, index = capacity, len(sequences) - 1
        else:
            free, index = rooms.pop(at)
        sequences[index].append(row)
        bisect.insort(rooms, (free - lengths[row], index))
    return [tuple(sequences[index]) for _, index in rooms]
