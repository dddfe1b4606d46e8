"""Restoring what a perturbation has damaged: a model mends the steps that it is shown, and nothing else does.

It sees the question and the damaged reasoning, never the text before the damage and never the answer. So the answer is
not held against what it writes: after the perturbation `answer` the row keeps its wrong answer, whatever the restored
steps come to. How many rows contradict their answer is counted (`contradicts_answer`). A row of which no answer passes
is given up. One that the perturbation has left as it was is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from curation.rewriting.checks import Lengths, checked, other_conclusion
from curation.rewriting.examples import EXAMPLES
from curation.rewriting.outcome import AskRows, Outcome, Rewriting, given_up, outcome_of
from curation.rewriting.perturbations_plain import unchanged
from curation.rewriting.prompts import Told
from curation.rewriting.structures import stepwise
from data.rows import Row, normalised
from inference.dialogue import Complaint, Query

NO_REASONING = "there is no reasoning to restore"
TOLD = Told(
    "Below are a medical question and a damaged line of reasoning about it: steps may be missing, out of order, "
    "irrelevant to the question, merged into one or wrong. Write the line of reasoning as it should be.",
    (
        "- Keep everything that is correct and relevant to the question, with its findings, numbers and terms.",
        "- Put the steps in logical order, add what is missing between them, remove what has nothing to do with the "
        "question, split steps that have been merged, and correct what is wrong.",
        "- The last step must reach the answer to the question.",
        "- Do not mention the damage, the given text or your changes: the result must read as if it had been written "
        "that way from the start.",
    ),
    'two or more numbered steps, each headed by a line "## Step N: Title", with N counting up from 1 and the content '
    "of the step on the lines below it.",
    EXAMPLES["step"],
    ("question", "options", "reasoning"),
)


def with_restoration(perturb: Rewriting) -> tuple[Rewriting, Rewriting]:
    """A perturbation, and what then restores the rows that it has changed: nobody is asked about the others."""
    whole: set[str] = set()

    def damage(rows: Sequence[Row], ask: AskRows) -> list[Outcome]:
        outcomes = perturb(rows, ask)
        whole.update(row.id for row, outcome in zip(rows, outcomes, strict=True) if outcome.status == "unchanged")
        return outcomes

    def mend(rows: Sequence[Row], ask: AskRows) -> list[Outcome]:
        outcomes = iter(restore([row for row in rows if row.id not in whole], ask))
        return [unchanged(row) if row.id in whole else next(outcomes) for row in rows]

    return damage, mend


def restore(rows: Sequence[Row], ask: AskRows) -> list[Outcome]:
    """Have damaged reasoning mended; see `curation.rewriting.outcome.Rewriting`."""
    queries = {row.id: _query(row) for row in rows if row.reasoning.strip()}
    replies = ask(list(queries.values())) if queries else []
    outcomes = {row_id: _judged(outcome_of(reply)) for row_id, reply in zip(queries, replies, strict=True)}
    return [outcomes.get(row.id) or given_up(NO_REASONING) for row in rows]


def _judged(outcome: Outcome) -> Outcome:
    """The outcome with whether the restored steps contradict the row's answer, which the model has not seen."""
    row = outcome.row
    return outcome if row is None else replace(outcome, contradicts=other_conclusion(row.reasoning, row) is not None)


def _query(row: Row) -> Query[Row]:
    check = checked(TOLD.instructions, _restored, Lengths())
    blind = replace(row, answer="", answer_idx=None)
    messages = ({"role": "user", "content": TOLD.prompt(blind)},)
    return Query(messages, lambda text: replace(row, reasoning=check(text, blind)))


def _restored(text: str, row: Row) -> str:
    steps = stepwise(text, least=2)
    if normalised(steps) == normalised(row.reasoning):
        raise Complaint("The reasoning is what it was. Correct it.")
    return steps
