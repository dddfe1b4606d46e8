"""From selected rows to training examples: chat messages in the format of a model family, and the validation split."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from data.rows import Row
from inference.formats import ChatFormat
from inference.prompts import messages


def final_answer(row: Row) -> str:
    """What the model is to say after its thinking: letter and text of the gold option, or the answer's text."""
    return f"The answer is {row.gold.letter}. {row.gold.text}" if row.gold else row.answer


def training_example(row: Row, chat_format: ChatFormat, system: str | None) -> dict[str, Any]:
    """One example of a conversational prompt-completion data set: `id`, `prompt` and `completion` as message lists.

    What rewards compare a generated completion with stands beside it: `answer`, `answer_idx` and `options`, as the row
    has them. A row without reasoning is answered at once, without marks around a thinking that is not there.
    """
    answer = final_answer(row)
    completion = chat_format.completion(row.reasoning, answer) if row.reasoning.strip() else answer.strip()
    return {
        "id": row.id,
        "prompt": list(messages(row.question, row.choices, "plain", system)),
        "completion": [{"role": "assistant", "content": completion}],
        "answer": row.answer,
        "answer_idx": row.answer_idx,
        "options": [{"letter": option.letter, "text": option.text} for option in row.options],
    }


def split_validation(rows: Sequence[Row], fraction: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Split into train and validation, both in input order; repeats of a question stay on one side.

    Validation gets questions drawn at random until it holds `fraction` of the rows, at least one when `fraction` is
    above 0; training always keeps at least one question.
    """
    by_question: dict[str, int] = defaultdict(int)
    for row in rows:
        by_question[row.question_id] += 1
    questions = sorted(by_question)
    random.Random(f"validation {seed}").shuffle(questions)
    wanted = max(1, round(fraction * len(rows))) if fraction > 0 else 0
    held_out: set[str] = set()
    count = 0
    for question in questions[:-1]:
        if count >= wanted:
            break
        held_out.add(question)
        count += by_question[question]
    train = [row for row in rows if row.question_id not in held_out]
    return train, [row for row in rows if row.question_id in held_out]
