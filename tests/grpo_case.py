"""A small GRPO training for tests: questions whose gold letter is always B, and an experiment that trains on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.training_case import Case, conversation, make_case

GOLD = "B"
PARAMS: dict[str, Any] = {
    "method": "grpo",
    "learning_rate": 1e-3,
    "total_batch_size": 32,
    "batch_size": 16,
    "num_epochs": 3,
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
}
GRPO: dict[str, Any] = {"num_generations": 8, "max_tokens": 24, "rewards": {"accuracy": 1.0, "format": 0.5}}


def question(number: int, **changes: Any) -> dict[str, Any]:
    """A row of the formatted data set."""
    return {**conversation(number), "answer_idx": GOLD, "answer": "two", **changes}


def make_grpo_case(folder: Path, grpo: dict[str, Any] | None = None, **params: Any) -> Case:
    """22 questions, read in steps of 4 with 8 completions each."""
    case = make_case(folder, **{**PARAMS, "grpo": {**GRPO, **(grpo or {})}, **params})
    save_questions(case, [question(number) for number in range(22)])
    return case


def save_questions(case: Case, rows: list[dict[str, Any]]) -> None:
    """Put `rows` in the place of the case's training rows."""
    from datasets import Dataset, DatasetDict

    DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(str(case.dataset))
