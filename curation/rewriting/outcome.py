"""What a rewriting is: a function from rows to what became of each, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from data.rows import Row
from inference.dialogue import Query, Reply

Unit = Literal["steps", "borders", "rows"]
Status = Literal["accepted", "repaired", "unchanged", "given up"]
"""At the first answer, at a later one, nothing to be done, or not at all."""
AskRows = Callable[[Sequence[Query[Row]]], list[Reply[Row]]]
"""How a rewriting asks its model (`curation.calls.Model.ask`): each query's `read` makes the row as it is then."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a perturbation went in one row: of how many steps, borders or rows there were, how many it changed."""

    unit: Unit
    there: int
    changed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row after a rewriting; null where it was given up.

    `reason` says why, and `refused` is the model's last answer, null where it was not asked. `contradicts` tells
    whether the reasoning concludes another option than the row's answer, null where nobody has looked. `extent` is a
    perturbation's, null for all else and where the row was given up.
    """

    row: Row | None
    status: Status
    reason: str | None = None
    refused: str | None = None
    contradicts: bool | None = None
    extent: Extent | None = None


Rewriting = Callable[[Sequence[Row], AskRows], list[Outcome]]
"""Takes all rows at once; one that needs no model asks nothing."""


def outcome_of(reply: Reply[Row]) -> Outcome:
    """The outcome of a reply."""
    if reply.value is None:
        return Outcome(None, "given up", reply.complaint, reply.refused)
    return Outcome(reply.value, "accepted" if reply.tries == 1 else "repaired", reply.complaint)


def given_up(reason: str) -> Outcome:
    """The outcome of a row that cannot be rewritten at all."""
    return Outcome(None, "given up", reason)
