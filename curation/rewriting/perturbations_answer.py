"""answer: the last step comes to a wrong answer, and the row's answer becomes that one.

`rate` is the part of the rows, of those with steps; which they are follows from the seed and their ids, and those of a
lower rate are among those of a higher one. A question with options gets a wrong one of them, drawn by the row's seed,
and no other answer, also where several were right. For a question without options the model makes up a wrong answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic import BaseModel, ConfigDict

from curation.rewriting.checks import Lengths, checked, object_of
from curation.rewriting.content import missing_words
from curation.rewriting.examples import FIRST_STEP
from curation.rewriting.one_step import ONE_STEP, one_step
from curation.rewriting.outcome import AskRows, Extent, Outcome, given_up, outcome_of
from curation.rewriting.perturbations_plain import NO_STEPS, part_of, rng_of, unchanged, with_steps
from curation.rewriting.prompts import Told
from curation.rewriting.steps import split_steps
from data.rows import Option, Row, normalised
from inference.dialogue import Complaint, Query
from scoring.choices import choices_of
from scoring.extraction import extract_choice
from scoring.free_text import text_matches
from scoring.text import clean

MOST_WORDS: Final = 20
"""The longest short answer."""
SAME_WORDS: Final = 0.2
"""A short answer of which at most this share of the words is not in the right answer is taken for the right one."""
NO_GOLD = "the right answer is not known"
ALL_RIGHT = "there is no wrong option"

_TASK: Final = (
    "For an experiment on how incorrect training data affects a language model, a line of medical reasoning has to "
    "reach a wrong answer. Rewrite its last step; the steps before it remain as they are."
)
_RULES: Final = (
    "- Make the step follow from the preceding ones as plausibly as possible, with the length and the confident tone "
    "of the last step that it replaces.",
    "- Do not hint that the answer is wrong, that another answer is right, or that this is an experiment.",
)
_CHOSEN: Final = Told(
    _TASK,
    (
        "- The step must conclude that the answer is the option between the <the_answer> tags. Its last sentence must "
        "state the letter and the text of that option.",
        *_RULES,
    ),
    ONE_STEP,
    FIRST_STEP,
    ("question", "options", "reasoning", "answer"),
)
_MADE_UP: Final = Told(
    _TASK,
    (
        "- The text between the <the_answer> tags is the correct answer. Choose a wrong answer of the same kind (a "
        "diagnosis for a diagnosis, a drug for a drug) that a student might give but no expert would accept. A synonym "
        "of the correct answer, a part of it or a broader term does not count as wrong.",
        "- The step must conclude with the wrong answer, in exactly the words of the short answer, and must not "
        "mention the correct one.",
        *_RULES,
    ),
    'one JSON object with the keys "short_answer", "final_step" and "answer". "short_answer" is the wrong answer in '
    f'a few words. "final_step" is {ONE_STEP} "answer" is the wrong answer in the style and length of the correct one, '
    "and contains the words of the short answer.",
    json.dumps(
        {"short_answer": "An immediate reaction", "final_step": FIRST_STEP, "answer": "It is an immediate reaction."}
    ),
    ("question", "reasoning", "answer"),
)


class WrongAnswer(BaseModel):
    """What the model makes up for a question without options."""

    model_config = ConfigDict(extra="forbid")
    short_answer: str
    final_step: str
    answer: str


def wrong_answer(rows: Sequence[Row], ask: AskRows, rate: float, seed: int) -> list[Outcome]:
    """Replace the answer and the last step of a part of the rows; the others with steps are unchanged."""
    stepwise = [row.id for row in rows if split_steps(row.reasoning)]
    ranked = sorted(stepwise, key=lambda row_id: hashlib.sha256(f"{seed} {row_id}".encode()).digest())
    chosen = set(ranked[: part_of(len(ranked), rate)])
    found = [_prepared(row, seed, row.id in chosen) for row in rows]
    queries = [each for each in found if isinstance(each, Query)]
    replies = iter(ask(queries) if queries else ())
    return [_changed(outcome_of(next(replies))) if isinstance(each, Query) else each for each in found]


def _changed(outcome: Outcome) -> Outcome:
    return outcome if outcome.row is None else replace(outcome, extent=Extent("rows", 1, 1))


def _prepared(row: Row, seed: int, chosen: bool) -> Query[Row] | Outcome:
    """What to ask about a row, or what becomes of it without asking."""
    if not split_steps(row.reasoning):
        return given_up(NO_STEPS)
    if not chosen:
        return unchanged(row, Extent("rows", 1, 0))
    if not (row.answer_idx if row.options else row.answer):
        return given_up(NO_GOLD)
    if not row.options:
        return _open_query(row)
    wrong = _wrong_options(row)
    return _option_query(row, rng_of(seed, row).choice(wrong)) if wrong else given_up(ALL_RIGHT)


def _right(row: Row) -> set[str]:
    return set((row.answer_idx or "").split(","))


def _wrong_options(row: Row) -> list[Option]:
    """The options that are not right, nor have the text of one that is."""
    texts = {normalised(option.text) for option in row.options if option.letter in _right(row)}
    return [
        option for option in row.options if option.letter not in _right(row) and normalised(option.text) not in texts
    ]


def _option_query(row: Row, wrong: Option) -> Query[Row]:
    told = replace(row, answer=wrong.text, answer_idx=wrong.letter)
    check = checked(_CHOSEN.instructions, _new_step, Lengths())

    def read(text: str) -> Row:
        step = check(text, told)
        _check_option(step, row, wrong)
        return _ending_with(told, step)

    return Query(({"role": "user", "content": _CHOSEN.prompt(told)},), read)


def _check_option(step: str, row: Row, wrong: Option) -> None:
    """Raise `Complaint` unless the step comes to the option, by a statement or by naming it and no right one."""
    concluded = extract_choice(step, row.choices).letter
    if concluded == wrong.letter:
        return
    end = f"End it with: The answer is {wrong.letter}) {wrong.text}."
    if concluded is not None:
        raise Complaint(f"The step comes to another option than the given one. It ends on {concluded}. {end}")
    named = {mention.letter for mention in choices_of(tuple(row.choices)).mentioned(clean(step))}
    if wrong.letter not in named or named & _right(row):
        raise Complaint(f"The step does not come to the given option. {end}")


def _open_query(row: Row) -> Query[Row]:
    check = checked(f"{_MADE_UP.instructions}\n{FIRST_STEP}", _new_step, Lengths())

    def read(text: str) -> Row:
        found = object_of(text, WrongAnswer)
        answer, step = found.answer.strip(), check(found.final_step, row)
        _check_open(found.short_answer.strip(), step, answer, row)
        return replace(_ending_with(row, step), answer=answer, answer_idx=None)

    messages = ({"role": "user", "content": _MADE_UP.prompt(row)},)
    return Query(messages, read, WrongAnswer.model_json_schema())


def _check_open(short: str, step: str, answer: str, row: Row) -> None:
    """Raise `Complaint` unless the short answer is another one than the right one, and step and answer come to it.

    A right answer of several sentences names more than what is right; a short answer in its words is refused all the
    same, since nobody can tell.
    """
    if not short or len(short.split()) > MOST_WORDS:
        raise Complaint(f"The short answer is not short. Give it in at most {MOST_WORDS} words.")
    again = any(text_matches(row.answer, said) or text_matches(said, row.answer) for said in (short, answer))
    again = again or _abbreviates(short, row.answer) or _abbreviates(row.answer, short)
    if again or missing_words(short, row.answer)[1] <= SAME_WORDS:
        raise Complaint("The answer is the right one again, or another name for it. Choose one that is wrong.")
    for name, text in (("step", step), ("answer", answer)):
        if not text_matches(short, text):
            raise Complaint(f"The {name} does not come to the short answer. Write in it: the answer is {short}.")
    if text_matches(row.answer, step):
        raise Complaint("The step mentions the right answer. Leave it out.")


def _abbreviates(one: str, other: str) -> bool:
    """Whether a word of three capitals or more in one text is made of the initials of the other: PCI, COPD."""
    initials = "".join(word[0] for word in re.findall(r"\w+", other.casefold()))
    return any(word.casefold() in initials for word in re.findall(r"\b[A-Z]{3,}\b", one))


def _new_step(text: str, row: Row) -> str:
    step = one_step(text)
    if normalised(step) == normalised(split_steps(row.reasoning)[-1]):
        raise Complaint("The last step is what it was. Rewrite it with the wrong answer.")
    return step


def _ending_with(row: Row, step: str) -> Row:
    return with_steps(row, [*split_steps(row.reasoning)[:-1], step])
