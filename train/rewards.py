"""The rewards of `training_params.grpo.rewards`, as TRL's trainer calls them: each compares a completion with its row.

A row has the columns `answer`, `answer_idx` and `options` of the formatted data set, and `begun`: what of the
completion's layout the prompt holds already, as some chat templates open the thinking there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inference.formats import ChatFormat
from registry.errors import UsageError
from registry.training_schema import RewardName
from scoring.extraction import extract_choice
from scoring.rewards import Marks, accuracy_reward, choice_reward, format_reward, token_f1_reward

COLUMNS = ("answer", "answer_idx", "options", "begun")
Row = Mapping[str, Any]
Reward = Callable[[str, Row], float]
"""From a completion, put together with what the prompt holds of it, and its row to a number in [0, 1]."""


def rewards_of(names: Sequence[RewardName], chat_format: ChatFormat) -> dict[RewardName, Reward]:
    """The rewards by name; `UsageError` for the reward of a format that has no marks."""
    marks = Marks((chat_format.opening.strip(), chat_format.closing.strip()))
    if "format" in names and not chat_format.opening:
        raise UsageError(
            f'the format "{chat_format.name}" has no marks that the reward "format" could look for; take it out of '
            "training_params.grpo.rewards, or choose another curation.format"
        )
    known: dict[RewardName, Reward] = {
        "accuracy": _accuracy,
        "format": lambda text, _: format_reward(text, marks),
        "letter": lambda text, row: choice_reward(text, row["answer_idx"], _choices(row)),
        "token_f1": lambda text, row: token_f1_reward(text, row["answer"]),
    }
    return {name: known[name] for name in names}


def lacks(row: Row, name: RewardName) -> bool:
    """Whether the row has nothing that this reward could compare a completion with."""
    if name == "format":
        return False
    if name == "letter":
        return not _has_gold_letter(row)
    return not row["answer"].strip()


def trl_function(name: RewardName, reward: Reward) -> Callable[..., list[float]]:
    """The reward in TRL 1.16's form: a list for each column of the data set in; logged as `rewards/<name>`."""

    def call(completions: Sequence[Sequence[Mapping[str, str]]], **columns: Any) -> list[float]:
        given = zip(*(columns[column] for column in COLUMNS), strict=True)
        rows = [dict(zip(COLUMNS, values, strict=True)) for values in given]
        return [reward(row["begun"] + said[-1]["content"], row) for said, row in zip(completions, rows, strict=True)]

    call.__name__ = name
    return call


def _accuracy(text: str, row: Row) -> float:
    """The chosen option decides where one was chosen; else the answer counts, as an expression or as a text."""
    if _has_gold_letter(row):
        chosen = extract_choice(text, _choices(row)).letter
        if chosen is not None:
            return float(chosen == row["answer_idx"])
    return accuracy_reward(text, row["answer"])


def _has_gold_letter(row: Row) -> bool:
    return any(option["letter"] == row["answer_idx"] for option in row["options"])


def _choices(row: Row) -> list[tuple[str, str]]:
    return [(option["letter"], option["text"]) for option in row["options"]]
