"""Which option an answer chose.

Every explicit statement of the final part is read ("the answer is B", "Answer: B", "\\boxed{B}", "I choose B", "B is
correct"), and the last one counts, whatever its form. Without any, the form of the text must leave one reading
(`scoring.unstated`). Where none of this holds the question is unanswered: nothing is guessed, and a statement for two
options names none. `scoring.methods` lists the names under which an answer is found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scoring.choices import Choices, choices_of
from scoring.final_part import marked_part
from scoring.methods import Method
from scoring.reading import UNDECIDED, option_at
from scoring.statements import Statement, last_statement
from scoring.text import clean
from scoring.unstated import lone_last_letter, unstated

_ENDING = 600
_LOOKED_BACK = 300  # no statement is judged by what stands further before it
# A base model that has answered goes on with a question of its own, whose answer is not asked for.
_NEXT_QUESTION = re.compile(r"\n[ \t*#]*(?:question\s*\d{0,4}|q\d{0,4}|human|user)[ \t*]*:", re.IGNORECASE)
_TURN_MARK = re.compile(r"<\|(?:im_end|im_start|endoftext|eot_id|end)\|>", re.IGNORECASE)
# Cyrillic letters that look like Latin ones and are no other option's letter in that alphabet's order.
_LOOKALIKES = re.compile(r"(?<!\w)[АС](?!\w)")


@dataclass(frozen=True)
class Extraction:
    """The letter of the option that an answer chose (null when none) and the method that found it ("none")."""

    letter: str | None
    method: Method


def extract_choice(text: str, options: Sequence[tuple[str, str]]) -> Extraction:
    """Return the option that an output chose; `options` are (letter, text) pairs.

    `text` may be a whole output or the part after its thinking. The letter is one of the options' letters as they are
    given. Never raises.
    """
    part, marked = marked_part(text)
    choices = choices_of(tuple(options))
    found = _in_ending(part, choices)
    if found is None:
        plain = cleaned(part)
        first = first_turn(plain)
        found = _found(first, marked, choices)
        if found is None and first != plain:
            found = _found(plain, marked, choices)
    if found is None or found.letter == UNDECIDED:
        return Extraction(None, "none")
    return Extraction(choices.keys[found.letter], found.method)


def _in_ending(part: str, choices: Choices) -> Statement | None:
    """Return the last statement of a long text from its last lines alone, where most stand and where it can be told.

    Null says nothing: the whole text is to be read. Where a next turn may follow the answer there is no shortcut.
    """
    if len(part) <= 2 * _ENDING or _next_turns(part):
        return None
    found = _stated(cleaned(part[part.find(" ", len(part) - _ENDING) + 1 :]), False, choices)
    return found if found is not None and found.at >= _LOOKED_BACK and not found.weak else None


def cleaned(part: str) -> str:
    """Return the cleaned final part, look-alikes of Latin letters that stand alone replaced."""
    plain = clean(part)
    return plain if plain.isascii() else _LOOKALIKES.sub(lambda match: "A" if match.group() == "А" else "C", plain)


def first_turn(plain: str) -> str:
    """Return what stands before a next question or a next turn, if anything does."""
    for start in _next_turns(plain):
        if start > 0 and not plain[:start].isspace():
            return plain[:start]
    return plain


def _next_turns(text: str) -> list[int]:
    """Return where next questions and turns begin, in order."""
    marks = _TURN_MARK.finditer(text) if "<|" in text else ()
    return sorted([match.start() for match in (*_NEXT_QUESTION.finditer(text), *marks)])


def _found(plain: str, marked: bool, choices: Choices) -> Statement | None:
    statement = _stated(plain, marked, choices)
    if statement is not None:
        return statement
    forms = unstated(plain, choices)
    return next((Statement(letter, method) for method, letter in forms if letter and letter in choices.keys), None)


def _stated(plain: str, marked: bool, choices: Choices) -> Statement | None:
    """Return the last statement; a letter that is the whole last line is one, and so is what begins a marked part."""
    letter = lone_last_letter(plain)
    if letter in choices.letters:
        return Statement(letter, "lone_letter", len(plain))
    statement = last_statement(plain, choices)
    if statement is None and marked:
        begun = option_at(plain, 0, choices)
        return None if begun is None else Statement(begun, "marker")
    return statement
