"""One decontamination of generated rows in a process of its own, so that its peak of memory is its own.

`python -m benchmarks.curation.decontamination_run ROWS QUESTIONS SIMILARITY` (0: n-grams only) prints JSON.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from curation.decontamination import contamination
from curation.ledger import open_ledger
from data.rows import Row, question_id_of
from registry.filter_schema import DecontaminationConfig

VOCABULARY, TRACE_WORDS, QUESTION_WORDS, PLANTED_EVERY = 30_000, 380, 60, 100
_WORDS = [f"{'abcdefghij'[rank % 10]}{rank:x}ing," for rank in range(1, VOCABULARY)]
_WEIGHTS = list(accumulate(1 / rank for rank in range(1, VOCABULARY)))


def main(rows: int, questions: int, similarity: float) -> dict[str, Any]:
    """Seconds of this process and peak memory; `planted` are the rows that hold a question, `removed` those found."""
    draw = random.Random(0)
    benchmark = [_row(f"b{number}", _text(draw, QUESTION_WORDS), "") for number in range(questions)]
    trained = list(_rows(draw, rows, benchmark))
    config = DecontaminationConfig(similarity=similarity or None)
    ledger = open_ledger(trained, [0] * rows)
    before = _peak_mb()
    started = time.process_time()
    found = contamination(ledger, {"generated": benchmark}, config)
    seconds = time.process_time() - started
    planted = {row.id for row in trained if row.source == "planted"}
    return {
        "seconds": seconds,
        "peak_mb": _peak_mb(),
        "rows_mb": before,
        "planted": len(planted),
        "exact": planted == found.removals.keys(),
        "words": sum(len(row.reasoning.split()) for row in trained) / rows,
    }


def _rows(draw: random.Random, count: int, benchmark: Sequence[Row]) -> Iterator[Row]:
    for number in range(count):
        question, reasoning = _text(draw, QUESTION_WORDS), _text(draw, TRACE_WORDS)
        planted = number % PLANTED_EVERY == 0
        if planted:
            reasoning = f"{reasoning} {draw.choice(benchmark).question.upper()}"
        yield _row(f"r{number}", question, reasoning, "planted" if planted else "generated")


def _text(draw: random.Random, mean: int) -> str:
    """Words of which the frequent ones are much more frequent, as in every language (Zipf)."""
    return " ".join(draw.choices(_WORDS, cum_weights=_WEIGHTS, k=draw.randint(mean // 2, mean * 3 // 2)))


def _row(name: str, question: str, reasoning: str, source: str = "") -> Row:
    return Row(name, question_id_of(question, ()), question, (), "", None, reasoning, reasoning, None, source)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
