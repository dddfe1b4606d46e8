"""What the report says of a run's answers without their texts: which are right, and what was read from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plotting.report.answers import Answers
from plotting.report.questions import Questions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Marks:
    """Right and wrong of the answers that a benchmark's accuracy is of, ordered by item: what paired tests need.

    `correct` has 0 or 1 per answer, `question` the number of each answer's question. Two runs are of the same items
    where `items` are equal, and were asked in the same words where `prompts` are too.
    """

    correct: NDArray[np.int8]
    question: NDArray[np.int64]
    items: bytes
    prompts: bytes


def run_data(found: Mapping[str, Answers], tables: Mapping[str, Questions]) -> dict[str, Any]:
    """The content of `data/runs/NAME.js`."""
    data = {}
    for source, answers in found.items():
        rows = tables[source].rows_of(answers)
        data[source] = {
            "row": rows,
            "repetition": answers.repetitions if any(answers.repetitions) else None,
            "budget": answers.budgets if any(budget is not None for budget in answers.budgets) else None,
            "correct": "".join(map(str, answers.correct)),
            "extracted": answers.extracted,
            "failure": answers.failures,
            "tokens": answers.tokens,
            "reasoning_tokens": None if all(n is None for n in answers.reasoning_tokens) else answers.reasoning_tokens,
            "gold": tables[source].other_golds(answers, rows),
        }
    return data


def marks_of(answers: Answers) -> Marks:
    """The marks of a run's answers to one benchmark; of several budgets of thinking the largest counts."""
    import numpy as np

    chosen = sorted(answers.headline(), key=lambda index: (answers.ids[index], answers.repetitions[index]))
    items, prompts = hashlib.sha256(), hashlib.sha256()
    for index in chosen:
        items.update(f"{answers.ids[index]}/{answers.repetitions[index]}/{answers.question_ids[index]}\n".encode())
        prompts.update(answers.prompts[index])
    numbers: dict[str, int] = {}
    question = [numbers.setdefault(answers.question_ids[index], len(numbers)) for index in chosen]
    correct = np.frombuffer(bytes(answers.correct), dtype=np.int8)[chosen]
    return Marks(correct, np.array(question, dtype=np.int64), items.digest(), prompts.digest())
