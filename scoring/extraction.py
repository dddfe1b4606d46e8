"""Which option an answer chose.

Every explicit statement of the text is read ("the answer is B", "Answer: B", "\\boxed{B}", "I choose B", "B is
correct"), and the last one counts, whatever its form. Without any, the answer must be, in this order: a letter on the
last or the first line alone, a letter that opens the text with its reason ("B because"), an option's text, one
labelled line ("B. ..."), the only option named by letter, or the only one named by text with no negation anywhere.
Where none of this holds the question is unanswered: nothing is guessed, and a statement for two options names none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scoring.choices import Choices, choices_of
from scoring.statements import UNDECIDED, last_statement
from scoring.text import clean

_LONE = re.compile(r"(?i)^\W*(?:option|choice|answer)?[\s:]{0,3}[(\[{]?\s*([A-Z])\s*[)\]}]?\W*$")
_LEADING = re.compile(r"^\W*([A-Z])(?:,?\s+(?:because|since|as|due)\b(?!-))")
_LABELLED = re.compile(r"(?i)^\W*(?:(?:option|choice)\s+)?(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z])[).:])\s+(?=\S)")
_NAMED = re.compile(
    r"\b(?i:option|choice)\s+\(?([A-Z](?![\w'-])|[a-z](?=\)|[.,;:!]|\s*$))|(?<!\w)\(([A-Z])\)", re.MULTILINE
)
_REJECTED_BEFORE = re.compile(
    r"(?:\bnot|n't|\bexcludes?|\beliminates?|\bexcept|\bunlike|\bthan|\brules? out|\bneither|\bnor)\s+$"
)
_REJECTED_AFTER = re.compile(
    r"\)?\s*[^.\n]{0,60}?(?:\bnot\b|n't\b|\bincorrect|\bwrong|\bunlikely|\bless likely|\binappropriate|\bruled out)"
)
_NEGATION = re.compile(
    r"\b(?:not|no|never|neither|nor|without|except|incorrect|wrong|unlikely|contraindicated|avoid)\b|n't\b"
)


@dataclass(frozen=True)
class Extraction:
    """The letter of the option that an answer chose (null when none) and the method that found it ("none")."""

    letter: str | None
    method: str


def extract_choice(text: str, options: Sequence[tuple[str, str]]) -> Extraction:
    """Return the option that an answer chose; `text` is the part after the thinking, `options` (letter, text) pairs.

    The letter is one of the options' letters as they are given. Never raises.
    """
    choices = choices_of(options)
    plain = clean(text)
    last = last_statement(plain, choices)
    if last is not None:
        if last.letter == UNDECIDED:
            return Extraction(None, "none")
        return Extraction(choices.letters[last.letter], last.method)
    for method, letter in _unstated(plain, choices):
        if letter in choices.letters:
            return Extraction(choices.letters[letter], method)
    return Extraction(None, "none")


def _unstated(text: str, choices: Choices) -> Iterator[tuple[str, str | None]]:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return
    alone = (match[1].upper() for line in (lines[-1], lines[0]) if (match := _LONE.match(line)))
    yield "lone_letter", next(alone, None)
    leading = _LEADING.match(lines[0])
    yield "leading_letter", leading[1] if leading else None
    as_line = {letter for line in lines if (letter := choices.equal_to(line))}
    yield "option_text", choices.equal_to(text) or _only(as_line)
    yield "labelled_line", _only(_labels(lines, choices))
    yield "only_letter", _only(_named(text))
    if not _NEGATION.search(text.casefold()):
        yield "only_text", _only(choices.mentioned(text))


def _only(letters: set[str]) -> str | None:
    return next(iter(letters)) if len(letters) == 1 else None


def _labels(lines: Sequence[str], choices: Choices) -> set[str]:
    """Return the letters that lines begin with as labels; "E. coli" and "a) first" label nothing."""
    labels = set()
    for line in lines:
        match = _LABELLED.match(line)
        if not match:
            continue
        letter = match[1] or match[2] or match[3]
        rest = line[match.end() :]
        if choices.shares_word(letter.upper(), rest) or (letter.isupper() and not rest[0].islower()):
            labels.add(letter.upper())
    return labels & choices.letters.keys()


def _named(text: str) -> set[str]:
    """Return the letters of "option C" and "(C)", but for those that the text rejects."""
    return {
        (match[1] or match[2]).upper()
        for match in _NAMED.finditer(text)
        if not _REJECTED_BEFORE.search(text[max(0, match.start() - 20) : match.start()])
        and not _REJECTED_AFTER.match(text, match.end())
    }
