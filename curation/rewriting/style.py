"""A style: how reasoning is to read. What the model is told, what it gets to see, and what its answer must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curation.rewriting.outcome import AskRows, Outcome, given_up, outcome_of
from data.rows import Row
from inference.dialogue import Query
from registry.rewriting_schema import StyleName

Read = Callable[[str, Row], Row]
"""Makes the rewritten row of an answer, or raises `inference.dialogue.Complaint`."""


@dataclass(frozen=True, slots=True)
class Style:
    """One style. `prompt` is what the model is told about a row; `read` holds its answer to what was asked.

    `expansion` is how long an answer is expected to be, in tokens per token of the row's reasoning, for estimates.
    A row without reasoning is given up unasked where the style needs it. `schema` is a JSON Schema of the answer.
    """

    name: StyleName
    prompt: Callable[[Row], str]
    read: Read
    expansion: float = 1.0
    needs_reasoning: bool = True
    schema: Mapping[str, Any] | None = None

    def query(self, row: Row) -> Query[Row]:
        """The question about one row."""
        messages = ({"role": "user", "content": self.prompt(row)},)
        return Query(messages, lambda text: self.read(text, row), self.schema)

    def __call__(self, rows: Sequence[Row], ask: AskRows) -> list[Outcome]:
        """Rewrite rows; see `curation.rewriting.outcome.Rewriting`."""
        able = [not self.needs_reasoning or bool(row.reasoning.strip()) for row in rows]
        replies = iter(ask([self.query(row) for row, can in zip(rows, able, strict=True) if can]))
        return [outcome_of(next(replies)) if can else given_up("there is no reasoning to rewrite") for can in able]


def as_reasoning(check: Callable[[str, Row], str]) -> Read:
    """A reading that puts the checked text in the place of the row's reasoning."""
    return lambda text, row: replace(row, reasoning=check(text, row))
