"""collapse_consecutive: borders between steps are dissolved, and a model writes one step of those that then touch.

A new step must hold what each of its steps held: every number with its unit, and most of the words. It must not be
longer than all of them, so that nothing is added under the name of merging; the words that join sentences are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from curation.rewriting.checks import Lengths, checked
from curation.rewriting.content import missing_numbers, missing_words
from curation.rewriting.examples import FIRST_STEP
from curation.rewriting.one_step import ONE_STEP, one_step
from curation.rewriting.outcome import AskRows, Extent, Outcome, given_up, outcome_of
from curation.rewriting.perturbations_plain import NO_STEPS, part_of, rng_of, unchanged, with_steps
from curation.rewriting.prompts import Told
from curation.rewriting.steps import join_steps, split_steps
from data.rows import Row
from inference.dialogue import Complaint, Query, Reply

MISSING_WORDS: Final = 0.5
"""Share of a step's distinct words that the step made of it may leave out: a shorter text says it in others."""
LONGER: Final = 1.1
"""So many times the words of the given steps a new one may have: "which" and "because" join what stops parted."""
_NAMED = 12

TOLD = Told(
    "The text between the <the_reasoning> tags below consists of consecutive steps of a line of medical reasoning. "
    "Merge them into a single step that takes their place.",
    (
        "- Everything in the steps must be in it: every finding, every number with its unit, every drug, test and "
        "diagnosis, the arguments for and against each, and every conclusion, in the order of the steps.",
        "- Be concise by combining sentences and avoiding repetition, never by leaving anything out. The new step must "
        "not be longer than the given steps together.",
        "- Do not add any facts of your own, and keep the terms of the given steps. The new step must not show that it "
        "was made from several.",
    ),
    ONE_STEP,
    FIRST_STEP,
    ("reasoning",),
)


def collapse_consecutive(rows: Sequence[Row], ask: AskRows, rate: float, seed: int) -> list[Outcome]:
    """Dissolve borders between steps, at a rate of 1 all of them; a row of which any new step fails is given up."""
    grouped = [_groups(row, rate, seed) for row in rows]
    queries = [_query(row, group) for row, groups in zip(rows, grouped, strict=True) for group in groups if group[1:]]
    replies = iter(ask(queries) if queries else ())
    return [
        _outcome(row, groups, [next(replies) if group[1:] else None for group in groups])
        for row, groups in zip(rows, grouped, strict=True)
    ]


def _groups(row: Row, rate: float, seed: int) -> list[list[str]]:
    """The row's steps, those together between which the border is dissolved."""
    steps = split_steps(row.reasoning)
    if len(steps) < 2:
        return [[step] for step in steps]
    borders = len(steps) - 1
    dissolved = set(rng_of(seed, row).sample(range(borders), part_of(borders, rate)))
    groups = [[steps[0]]]
    for border, step in enumerate(steps[1:]):
        if border in dissolved:
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _query(row: Row, group: Sequence[str]) -> Query[Row]:
    """Asks for one step; what is read of the answer is the row with that step as all its reasoning."""
    part = replace(row, reasoning=join_steps(group))
    check = checked(TOLD.instructions, lambda text, _: _merged(text, group), Lengths())
    messages = ({"role": "user", "content": TOLD.prompt(part)},)
    return Query(messages, lambda text: with_steps(row, [check(text, part)]))


def _merged(text: str, group: Sequence[str]) -> str:
    """The step of an answer; `Complaint` where it lacks something of one of the group or is longer than all of it."""
    step = one_step(text)
    lacks = [lack for number, part in enumerate(group, start=1) if (lack := _lack(number, part, step))]
    if lacks:
        raise Complaint(f"The new step leaves out content. {' '.join(lacks)}")
    words, given = len(step.split()), sum(len(part.split()) for part in group)
    if words > LONGER * given:
        raise Complaint(
            f"The new step is longer than the given ones. It has {words} words, they have {given} together."
        )
    return step


def _lack(number: int, part: str, step: str) -> str:
    """What of one of the given steps is not in the new one; "" when it is all there."""
    numbers = missing_numbers(part, step)
    words, share = missing_words(part, step)
    named = [*numbers, *(words if share > MISSING_WORDS else ())]
    more = ", ..." if len(named) > _NAMED else ""
    return f"Of step {number} it lacks: {', '.join(named[:_NAMED])}{more}." if named else ""


def _outcome(row: Row, groups: Sequence[Sequence[str]], replies: Sequence[Reply[Row] | None]) -> Outcome:
    asked = [reply for reply in replies if reply is not None]
    if not groups:
        return given_up(NO_STEPS)
    there = sum(map(len, groups)) - 1
    extent = Extent("borders", there, there - (len(groups) - 1))
    if not asked:
        return unchanged(row, extent)
    failed = next((reply for reply in asked if reply.value is None), None)
    if failed is not None:
        return outcome_of(failed)
    written = [None if reply is None else reply.value for reply in replies]
    steps = [
        group[0] if new is None else split_steps(new.reasoning)[0] for group, new in zip(groups, written, strict=True)
    ]
    tries = max(reply.tries for reply in asked)
    return replace(outcome_of(Reply(with_steps(row, steps), tries)), extent=extent)
