"""add_irrelevant on as many rows as the real training set has, at each of the study's rates; reading steps included."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from benchmarks.parts import Report, Say
from curation.rewriting.outcome import Outcome
from curation.rewriting.perturbations import PERTURBATIONS
from curation.rewriting.steps import join_steps, split_steps
from data.rows import Row
from inference.dialogue import Query, Reply
from registry.console import Grid
from registry.errors import StageFailure
from tests.stages import row

ROWS, LIMIT = 25_000, 20.0
RATES = (0.33, 0.66, 1.0)
STEPS, WORDS = (4, 12), 45


def measure_add_irrelevant(full: bool, say: Say) -> Report:
    """Time 25,000 rows (full: twice and four times as many too, to show that the time grows with them)."""
    return report([ROWS, 2 * ROWS, 4 * ROWS] if full else [ROWS], say)


def report(sizes: Sequence[int], say: Say) -> Report:
    """The times for each number of rows; sound when every row got as many steps as the rate says, none of its own."""
    rows = _made_rows(max(sizes))
    data, lines = [], []
    for size in sizes:
        for rate in RATES:
            say(f"add_irrelevant: {size:,} rows at a rate of {rate}")
            began = time.perf_counter()
            outcomes = PERTURBATIONS["add_irrelevant"](rate, 0)(rows[:size], _nobody)
            seconds = time.perf_counter() - began
            right = sum(_is_right(*pair, rate) for pair in zip(rows, outcomes, strict=False))
            data.append({"rows": size, "rate": rate, "right": right, "seconds": seconds})
            verdict = "" if size != ROWS else "met" if seconds <= LIMIT else "MISSED"
            limit = f"{verdict} (at most {LIMIT:.0f} s)" if verdict else ""
            lines.append([f"{size:,}", f"{rate}", f"{right:,}", f"{seconds:.1f}", limit])
    grid = Grid(["rows", "rate", "rows as promised", "s", ""], lines, right=(0, 1, 2, 3))
    return Report({"runs": data}, (grid,), all(each["right"] == each["rows"] for each in data))


def _made_rows(count: int) -> list[Row]:
    """Rows of some 400 tokens in steps; every step begins with its question's number."""
    rng = random.Random(0)
    words = [f"word{number}" for number in range(2_000)]
    return [
        row(
            number,
            reasoning=join_steps(
                [f"Case {number}\n{' '.join(rng.choices(words, k=WORDS))}" for _ in range(rng.randint(*STEPS))]
            ),
        )
        for number in range(count)
    ]


def _is_right(before: Row, outcome: Outcome, rate: float) -> bool:
    if outcome.row is None:
        return False
    title = split_steps(before.reasoning)[0].partition("\n")[0]
    own, after = split_steps(before.reasoning), split_steps(outcome.row.reasoning)
    kept = [step for step in after if step.partition("\n")[0] == title]
    return kept == own and len(after) - len(own) == max(1, round(rate * len(own)))


def _nobody(queries: Sequence[Query[Row]]) -> list[Reply[Row]]:
    raise StageFailure(f"add_irrelevant asked a model {len(queries)} questions")
