"""What packing brings on the real MedMCQA explanations: padding, forward passes, tokens per second.

Padding and passes are counted from the layout of an epoch. Speed is measured here, on a CPU without flash attention:
there a packed sequence pays for attention between rows that do not see each other, which is why packing is off by
default. Tokens are the tiny tokenizer's, shorter than a real one's; shares depend on the ratios of lengths alone.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.parts import Report, Say
from benchmarks.real_data import real_data_folder, real_files
from benchmarks.train.ways import Conversation, time_bare, time_stage, training_context
from registry.console import Grid
from registry.errors import MissingError
from tests.tiny import make_tiny_model
from train.batch import plan_batch
from train.order import Layout, lay_out

MAX_LENGTH = 1_024
GLOBAL_BATCH = 16
PER_DEVICE = (1, 4, 8)
BARE, SINGLE, PACKED = "bare SFTTrainer", "stage, a row each", "stage, packed"


@dataclass(frozen=True)
class Reading:
    """How an epoch is read: the share of padding among the positions, and forward passes per optimizer step."""

    padding: float
    passes: float


def measure_packing(full: bool, say: Say) -> Report:
    """Count over all explanations; train on 64 of them (full: 512)."""
    try:
        folder = real_data_folder()
    except MissingError as missing:
        return Report(data={"not_run": str(missing)}, lines=(f"not run: {missing}",))
    return report(explanations(folder), 512 if full else 64, say)


def explanations(folder: Path) -> list[Conversation]:
    """The questions of MedMCQA's development set that have an explanation, as curation would format them."""
    from curation.formatting import training_example
    from data.load import load_rows
    from inference.formats import FORMATS

    rows = load_rows("medmcqa", real_files(folder)["medmcqa"])
    return [training_example(row, FORMATS["huatuo"], None) for row in rows if row.reasoning]


def report(rows: Sequence[Conversation], trained_on: int, say: Say) -> Report:
    """The table for `rows`, with the speeds on some of them."""
    from train.task import prepare

    with tempfile.TemporaryDirectory(prefix="meds1-packing-") as scratch:
        folder = Path(scratch)
        model = make_tiny_model(folder / "model", max_length=MAX_LENGTH)
        everything = prepare(training_context(folder / "all", model, rows, max_length=MAX_LENGTH)).train
        lengths = everything.lengths
        some = random.Random(0).sample(list(rows), min(trained_on, len(rows)))
        found = {}
        for size in PER_DEVICE:
            say(f"packing: {size} rows per device")
            found[size] = readings(lengths, size), _seconds(folder / str(size), model, some, size)
    lines = [
        [
            str(size),
            name,
            f"{100 * reading.padding:.1f}",
            f"{reading.passes:.1f}",
            f"{seconds[BARE] / seconds[name]:.2f}",
        ]
        for size, (each, seconds) in found.items()
        for name, reading in each.items()
    ]
    header = ("rows per device", "", "padding %", "passes per step", "tokens/s over bare")
    title = (
        f"{len(lengths):,} explanations of {sum(lengths) / len(lengths):.0f} tokens (of more than {MAX_LENGTH:,}: "
        f"{everything.rows_dropped}, left out), "
        f"{GLOBAL_BATCH} in an optimizer step; speeds on {len(some)} of them"
    )
    return Report(
        data={
            str(size): {name: {**asdict(each[name]), "seconds": seconds[name]} for name in each}
            for size, (each, seconds) in found.items()
        },
        lines=(Grid(header, lines, title=title, right=(0, 2, 3, 4)),),
    )


def readings(lengths: Sequence[int], size: int) -> dict[str, Reading]:
    """How rows of these lengths are read at `size` rows per device: in TRL's random order, laid out, and packed."""
    plan = plan_batch(GLOBAL_BATCH, size, 1)
    steps = plan.steps_per_epoch(len(lengths))
    single, packed = (lay_out(lengths, plan, 1, 0, capacity) for capacity in (None, size * MAX_LENGTH))
    return {
        BARE: _reading(random.Random(0).sample(lengths, len(lengths)), size, steps),
        SINGLE: _reading(_element_lengths(single, lengths), size, steps),
        PACKED: _reading(_element_lengths(packed, lengths), 1, steps),
    }


def _element_lengths(layout: Layout, lengths: Sequence[int]) -> list[int]:
    return [sum(lengths[row] for row in element) for element in layout.elements[0]]


def _reading(sequences: Sequence[int], size: int, steps: int) -> Reading:
    """Each pass reads `size` sequences and is as wide as the longest; one that holds no row is not counted."""
    passes = [sequences[at : at + size] for at in range(0, len(sequences), size)]
    filled = [each for each in passes if any(each)]
    return Reading(
        padding=1 - sum(sequences) / sum(len(each) * max(each) for each in filled), passes=len(filled) / steps
    )


def _seconds(folder: Path, model: Path, rows: Sequence[Conversation], size: int) -> dict[str, float]:
    """Seconds of the same optimizer steps in each way."""
    ways = {BARE: (time_bare, False), SINGLE: (time_stage, False), PACKED: (time_stage, True)}
    settings: dict[str, Any] = {
        "max_length": MAX_LENGTH,
        "total_batch_size": GLOBAL_BATCH,
        "batch_size": size,
    }
    found = {}
    for number, (name, (timed, packing)) in enumerate(ways.items()):
        context = training_context(folder / str(number), model, rows, **settings, packing=packing)
        found[name] = timed(context).seconds
    return found
