"""Solved questions that are put before every question: the same ones for all, and none that is asked."""

from __future__ import annotations

import random
from collections.abc import Collection

from data.load import load
from data.rows import Row
from inference.prompts import Messages, user_message
from registry.catalog import DatasetEntry
from registry.errors import UsageError
from registry.schema import FewShotConfig, PromptStyle


def solved_questions(
    settings: FewShotConfig, entry: DatasetEntry, asked: Collection[str], style: PromptStyle, seed: int
) -> Messages:
    """Return `settings.n` user and assistant turns, drawn with `seed`; `asked` are question ids that are left out.

    Raises `UsageError` when the data set has too few questions with a gold answer that are not asked.
    """
    usable = {
        reading.row.question_id: (reading.row, part.task)
        for key, part in entry.parts(settings.dataset)
        for reading in load(key, part).readings
        if reading.fault is None and _solution(reading.row)
    }
    for question_id in asked:
        usable.pop(question_id, None)
    if len(usable) < settings.n:
        raise UsageError(
            f"eval.few_shot: data set {settings.dataset} has {len(usable)} questions with a gold answer that no "
            f"benchmark asks, n is {settings.n}; lower n or name another data set"
        )
    drawn = random.Random(f"few-shot {seed}").sample(sorted(usable), settings.n)
    turns: list[dict[str, str]] = []
    for row, task in (usable[question_id] for question_id in drawn):
        user = user_message(row.question, row.choices, style, task)
        turns.append({"role": "user", "content": user})
        turns.append({"role": "assistant", "content": _solution(row)})
    return tuple(turns)


def _solution(row: Row) -> str:
    """What the instructions of every style ask for at the end; "" without a gold answer."""
    letters = (row.answer_idx or "").split(",")
    gold = [f"{letter}. {text}" for letter, text in row.choices if letter in letters]
    if len(gold) > 1:
        return f"The answers are {', '.join(letters)}"
    answer = gold[0] if gold else "" if row.options else row.answer
    return f"The answer is {answer}" if answer else ""
