"""Tokens per second of the training stage on a CPU, beside TRL's bare trainer with the same settings, in turns.

Rows of one length show what our stage costs by itself; rows of many lengths also what reading rows of about one length
side by side brings, which spares padding.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.parts import Report, Say
from benchmarks.train.ways import Conversation, Timed, time_bare, time_stage, training_context
from registry.console import Grid
from registry.stage import StageContext
from tests.tiny import make_tiny_model

LEAST = 0.95
MAX_LENGTH = 512
_WORDS = ("patient", "pressure", "drug", "lowers", "inhibitor", "because", "the", "dose", "renal", "answer")
LENGTHS: dict[str, Callable[[random.Random], int]] = {
    "rows of one length": lambda draw: 40,
    "rows of many lengths": lambda draw: draw.randint(5, 80),
}


@dataclass(frozen=True)
class Round:
    """Both ways on the same rows, one after the other, so that they meet about the same load."""

    ours: Timed
    bare: Timed


def measure_throughput(full: bool, say: Say) -> Report:
    """Compare on 4 rows per device and 2 accumulation steps: 5 rounds of 40 optimizer steps (full: 15 of 100)."""
    rounds, steps = (15, 100) if full else (5, 40)
    return report({name: list(compare(name, rounds, steps, say)) for name in LENGTHS}, steps)


def compare(name: str, rounds: int, steps: int, say: Say) -> Iterator[Round]:
    """Train both ways in turns on rows whose lengths are those of `LENGTHS[name]`."""
    with tempfile.TemporaryDirectory(prefix="meds1-train-") as scratch:
        model = make_tiny_model(Path(scratch) / "model", hidden=128, layers=4, max_length=MAX_LENGTH)
        for number in range(rounds):
            say(f"throughput: {name}, round {number + 1} of {rounds}")
            context = _context(Path(scratch) / str(number), model, name, steps)
            if number % 2:
                yield Round(ours=time_stage(context), bare=time_bare(context))
            else:
                yield Round(bare=time_bare(context), ours=time_stage(context))


def report(found: dict[str, list[Round]], steps: int) -> Report:
    """Both ways train the same tokens, so that a ratio of speeds is one of seconds: the median of the rounds'."""
    walls = {name: _median(rounds, lambda timed: timed.seconds) for name, rounds in found.items()}
    cpus = {name: _median(rounds, lambda timed: timed.cpu_seconds) for name, rounds in found.items()}
    rows = [
        [name, f"{walls[name]:.3f}", "met" if walls[name] >= LEAST else "MISSED", f"{cpus[name]:.3f}"] for name in found
    ]
    header = ("stage over bare SFTTrainer", "tokens/s", f">= {LEAST:g}", "tokens per second of the processor")
    return Report(
        data={
            name: {"ratio": walls[name], "cpu_ratio": cpus[name], "rounds": [asdict(each) for each in rounds]}
            for name, rounds in found.items()
        },
        lines=(Grid(header, rows, title=f"medians over rounds of {steps} optimizer steps", right=(1, 3)),),
    )


def _median(rounds: list[Round], seconds: Callable[[Timed], float]) -> float:
    return statistics.median(seconds(each.bare) / seconds(each.ours) for each in rounds)


def _context(folder: Path, model: Path, name: str, steps: int) -> StageContext:
    draw = random.Random(0)
    rows = [_row(number, LENGTHS[name](draw), draw) for number in range(8 * steps)]
    return training_context(
        folder, model, rows, max_length=MAX_LENGTH, batch_size=4, gradient_accumulation_steps=2, packing=False
    )


def _row(number: int, words: int, draw: random.Random) -> Conversation:
    # The same words in another order: rows of as many words have about as many tokens.
    chosen = [_WORDS[place % len(_WORDS)] for place in range(words)]
    draw.shuffle(chosen)
    return {
        "id": f"row {number}",
        "prompt": [{"role": "user", "content": "Which drug?"}],
        "completion": [{"role": "assistant", "content": " ".join(chosen)}],
    }
