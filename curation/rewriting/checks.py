"""What holds for the answer to any rewriting: no refusal, no echo of what was asked, of a sane length."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from curation.quality import CONCLUSION_CHARACTERS, is_refusal
from data.rows import Row, normalised
from inference.dialogue import Complaint
from scoring import statements
from scoring.extraction import extract_choice
from scoring.structured import M, validated

Part = Literal["question", "options", "answer", "reasoning"]
Check = Callable[[str, Row], str]
"""Returns the answer in its one stored form, or raises `Complaint`."""

SLACK: Final = 400
"""Characters by which an answer may be longer than its bound: headings weigh more in a short text."""
LINE_WORDS: Final = 8
"""From so many words on a line of the instructions that stands in an answer was copied."""

_TAG: Final = re.compile(r"<(?=\s*/?\s*the_(?:question|options|answer|reasoning)\b)", re.IGNORECASE)
_WRAPPED: Final = re.compile(r"\A<(the_\w+)>(.*)</\1>\Z", re.DOTALL)
# What models say around what they were asked for. A fence around all of an answer is taken off before.
_FENCED: Final = re.compile(
    r"\A(?:[^\n`]*:[*_ \t]*\n\s*)?```[\w-]*\n((?:(?!```).)*)\n[ \t]*```(?:\s*\S[^\n`]*)?\Z", re.DOTALL
)
_INTRODUCTION: Final = re.compile(
    r"\A(?:(?:sure|certainly|of course|absolutely)\b[,.!]*\s*)?(?:here(?:['’]s| is| are)|below is|the following is)\b"
    r"[^\n]*\b(?:re-?writ\w+|reasoning|versions?|texts?|steps|sentence|summary|form|format)\b[^\n]*:[*_ \t]*\n\s*",
    re.IGNORECASE,
)
_FAREWELL: Final = re.compile(
    r"\n[ \t]*\n(?:(?:please )?let me know|feel free to|I hope (?:this|that) (?:helps|is|meets)|would you like me)\b"
    r"[^\n]*\Z",
    re.IGNORECASE,
)
_RULE: Final = re.compile(r"(?:\A|(?<=\n\n))[ \t]*(?:-{3,}|\*{3,}|_{3,}|(?:\* ){2,}\*)[ \t]*(?:\n+|\Z)")
_REFUSAL: Final = re.compile(
    r"\A(?:(?:I['’]m|I am) (?:very |so )?sorry|Sorry|I apologi[sz]e)\b"
    r"|\AI(?: can(?:['’]|no)t| won['’]t| will not|(?:['’]m| am) (?:unable|not able) to)"
    r" (?:rewrite|transform|convert|create|write|produce|generate|fulfil|process|continue|do)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long an answer may be, as parts of the row's reasoning, in characters; null is no bound."""

    least: float | None = None
    most: float | None = None


def section(part: Part, text: str) -> str:
    """Return material between tags which the text, whoever wrote it, can neither open nor close."""
    tag = f"the_{part}"
    return f"<{tag}>\n{_TAG.sub('&lt;', text).strip()}\n</{tag}>"


def checked(instructions: str, check: Check, lengths: Lengths) -> Check:
    """Return `check` with what holds for every answer; `instructions` is what the prompt says beside the material."""
    told = [line for line in map(normalised, instructions.splitlines()) if len(line.split()) >= LINE_WORDS]

    def whole(text: str, row: Row) -> str:
        text = _unwrapped(text)
        _check_echo(text, told)
        try:
            found = check(text, row)
        except Complaint as complaint:
            if normalised(text) == normalised(row.reasoning):
                raise Complaint(f"The answer is the given reasoning, unchanged. {complaint}") from None
            raise
        _check_length(found, row, lengths)
        _check_conclusion(found, row)
        return found

    return whole


def object_of(text: str, model: type[M]) -> M:
    """The JSON object of an answer as a `model`; `Complaint` says what is wrong with it."""
    try:
        return validated(text, model)
    except ValueError as error:
        raise Complaint(f"The answer is not the JSON object that was asked for. What is wrong: {error}.") from None


def _unwrapped(text: str) -> str:
    wrapped = _WRAPPED.match(text.strip())
    text = _without_frame((wrapped[2] if wrapped else text).replace("\r\n", "\n").strip())
    if not text:
        raise Complaint("The answer is empty.")
    if _TAG.search(text):
        raise Complaint("The answer holds tags of the question. Leave out all <the_...> and </the_...>.")
    if _REFUSAL.search(text) or is_refusal(text):
        raise Complaint("The answer is a refusal. The text is for training a medical model and about no real patient.")
    return text


def _without_frame(text: str) -> str:
    """The text without words to the one who asked, a fence below them, and lines that are drawn between its parts."""
    fenced = _FENCED.match(text)
    text = fenced[1] if fenced else _FAREWELL.sub("", _INTRODUCTION.sub("", text))
    return _RULE.sub("", text).strip()


def _check_echo(text: str, told: list[str]) -> None:
    plain = normalised(text)
    copied = next((line for line in told if line in plain), None)
    if copied is not None:
        raise Complaint(f'The answer repeats the instructions or their example. It holds: "{copied}"')


def _check_length(text: str, row: Row, lengths: Lengths) -> None:
    size, given = len(text), len(row.reasoning.strip())
    if lengths.least is not None and size < lengths.least * given:
        raise Complaint(
            f"The answer is too short to hold all of the reasoning. It has {size} characters, the reasoning {given}; "
            "keep every finding, number and conclusion."
        )
    if lengths.most is not None and size > lengths.most * given + SLACK:
        raise Complaint(
            f"The answer is too long. It has {size} characters, the reasoning {given}; add nothing and repeat nothing."
        )


def other_conclusion(text: str, row: Row) -> str | None:
    """The option that a text ends on where that is not the row's answer; null where it names none as its answer."""
    if row.answer_idx is None:
        return None
    letter = _concluded(text, row)
    return None if letter in row.answer_idx.split(",") else letter


def _check_conclusion(text: str, row: Row) -> None:
    """An answer must not end on another option than the right one, unless the reasoning that was given did."""
    letter = other_conclusion(text, row)
    if letter is not None and letter != _concluded(row.reasoning, row):
        raise Complaint(f"The answer concludes another option than the right one. It ends on {letter}.")


def _concluded(text: str, row: Row) -> str | None:
    extraction = extract_choice(text[-CONCLUSION_CHARACTERS:], row.choices)
    return extraction.letter if extraction.method in statements.METHODS else None
