"""Forms in which voices take turns: questions with answers, and a talk between experts. See `structures`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from curation.rewriting.structures import from_first
from inference.dialogue import Complaint

# "Q:", "**Q1:**", "Question 2.", "1. Q:", and the same for answers.
_QA: Final = re.compile(
    r"[ \t]*(?:(?:[-*+•]|\d{1,2}[.)])[ \t]+|#{1,6}[ \t]*)?(?:\*\*|__)?(Q|A|Question|Answer)[ \t]*\d{0,3}[ \t]*"
    r"(?:[:.)](?:\*\*|__)?|(?:\*\*|__)[:.)]?)[ \t]*(.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
# A name is a few words, the first with a capital letter; "Dr. Lee (Cardiology)" is one, what opens a remark is not.
_REMARK: Final = r"(?:Note|Summary|Conclusion|Answer|Final (?:answer|diagnosis)|Diagnosis)(?:\*\*|__)?:"
_NAME: Final = rf"(?!{_REMARK})([^\W\d_a-z][\w.'’()/&-]*(?:[ \t][\w.'’()/&-]+){{0,4}})"
_TURN: Final = re.compile(
    rf"[ \t]*(?:[-*+•][ \t]+|#{{1,6}}[ \t]*)?(?:\*\*|__)?{_NAME}(?:\*\*|__)?:(?:\*\*|__)?(?:[ \t]+|\Z)(.*)\Z", re.DOTALL
)
_BULLETED: Final = re.compile(r"[ \t]*[-*+•][ \t]")
LEAST_TURNS: Final = 3


def questions_and_answers(text: str) -> str:
    """At least two pairs of `Q: ...` and `A: ...`, by turns."""
    turns = _blocks(text, lambda line: (found[1][0].upper(), found[2]) if (found := _QA.match(line)) else None)
    for number, (name, said) in enumerate(turns):
        wanted = "QA"[number % 2]
        if name != wanted:
            raise Complaint(
                'Questions and answers do not take turns. Follow each "Q: ..." by exactly one "A: ..."; '
                f"part {number + 1} should begin with {wanted}:"
            )
        if not said:
            raise Complaint(f"A question or an answer is empty. It is part {number + 1}, which begins with {name}:")
    if not turns:
        raise Complaint('There are no questions. Write lines that begin with "Q: " and "A: " by turns.')
    if len(turns) % 2:
        raise Complaint("The last question has no answer.")
    if len(turns) < 4:
        raise Complaint("There is only one question. Divide the reasoning into two or more.")
    pairs = zip(turns[::2], turns[1::2], strict=True)
    return "\n\n".join(f"Q: {question}\nA: {answer}" for (_, question), (_, answer) in pairs)


def talk(text: str) -> str:
    """At least three turns `Name: text` of two or more speakers, one of whom speaks again, and a question in one."""
    # Items of a list that somebody reads out ("- Fever: 39 °C") are no turns, unless the turns are items themselves.
    first = next((line for line in text.splitlines() if _TURN.match(line.replace("：", ": ", 1))), "")
    in_list = _BULLETED.match(first) is not None

    def opened(line: str) -> tuple[str, str] | None:
        found = _TURN.match(line)
        return (found[1], found[2]) if found and (_BULLETED.match(line) is not None) is in_list else None

    turns = _blocks(text, opened)
    if len(turns) < LEAST_TURNS:
        raise Complaint(
            f"There are too few turns. Write {LEAST_TURNS} or more, each with its speaker's name and a colon before it "
            '("Cardiologist: ...").'
        )
    for number, (name, said) in enumerate(turns, start=1):
        if not said:
            raise Complaint(f"A speaker says nothing. It is {name} in turn {number}.")
    names = {name.casefold() for name, _ in turns}
    if len(names) < 2:
        raise Complaint("There is only one speaker. Let two or more experts talk with each other.")
    if len(names) == len(turns):
        raise Complaint("Nobody speaks twice. Let the experts answer each other by turns.")
    if not any(sign in said for _, said in turns for sign in "?？"):
        raise Complaint("Nobody asks a question. In a Socratic dialogue questions lead from thought to thought.")
    return "\n\n".join(f"{name}: {said}" for name, said in turns)


def _blocks(text: str, opened: Callable[[str], tuple[str, str] | None]) -> list[tuple[str, str]]:
    """(name, what is said) of each turn; lines that open none belong to the turn before."""
    blocks: list[tuple[str, list[str]]] = []

    def turn(line: str) -> tuple[str, str] | None:
        return opened(line) or opened(line.replace("：", ": ", 1))

    for line in from_first(text, lambda line: turn(line) is not None):
        found = turn(line)
        if found:
            name, said = found
            # Of a line that is bold from its name to its end, the mark at the end is left.
            blocks.append((name, [said.removesuffix("**") if said.count("**") % 2 else said]))
        elif blocks:
            blocks[-1][1].append(line)
    return [(name, re.sub(r"\n{2,}", "\n", "\n".join(map(str.rstrip, lines))).strip()) for name, lines in blocks]
