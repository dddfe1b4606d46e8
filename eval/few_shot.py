"""Solved questions that are put before every question: the same ones for all, and none that is asked."""

from __future__ import annotations

import random
from collections.abc import Collection

from data.load import load_rows
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
    usable = {row.question_id: row for row in load_rows(settings.dataset, entry) if _solution(row)}
    for question_id in asked:
        usable.pop(question_id, None)
    if len(usable) < settings.n:
        raise UsageError(
            f"eval.few_shot: data set {settings.dataset} has {len(usable)} questions with a gold answer that no "
            f"benchmark asks, n is {settings.n}; lower n or name another data set"
        )
    drawn = random.Random(f"few-shot {seed}").sample(sorted(usable), settings.n)
    turns: list[dict[str, str]] = []
    for row in (usable[question_id] for question_id in drawn):
        options = [(option.letter, option.text) for option in row.options]
        turns.append({"role": "user", "content": user_message(row.question, options, style)})
        turns.append({"role": "assistant", "content": _solution(row)})
    return tuple(turns)


def _solution(row: Row) -> str:
    if not row.options:
        return row.answer
    gold = next((option for option in row.options if option.letter == row.answer_idx), None)
    return f"The answer is {gold.letter}. {gold.text}" if gold else ""
