"""Forms of a text that hold without its meaning: each function returns the text in the form's one spelling.

What models vary without harm (heading levels, bullets, bold marks, a line of introduction) is made the same; whatever
else is not the form raises `Complaint`, its first sentence without anything of the text, so that it can be counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from curation.rewriting.steps import join_steps, numbers_of, preface_of, split_steps, with_headings
from inference.dialogue import Complaint

TITLE_CHARACTERS: Final = 160
PREFACE_LINES: Final = 3
"""So many lines before the first step are an introduction of the answer, and left out; more may hold content."""
PREFACE_CHARACTERS: Final = 300
"""The same for how long they are together: a paragraph is one line, and no introduction."""
_BULLET: Final = re.compile(r"[ \t]*(?:[-*+•–]|\d{1,3}[.)])(?:[ \t]+|\Z)")
_HEADING: Final = re.compile(r"[ \t]{0,3}(#{1,6})[ \t]*([^#\s].*?)[ \t#]*\Z")
_OTHER_HEADING: Final = re.compile(r"^##?[ \t]+(?!Step \d).+", re.MULTILINE)
_BOLD_LINE: Final = re.compile(r"[ \t]*\*\*([^*]+?):?\*\*:?[ \t]*\Z")
_FENCE: Final = re.compile(r"[ \t]{0,3}(?:```|~~~)")
# With a colon, or as a heading of its own; "Evidence suggests" is neither.
_EVIDENCE: Final = re.compile(
    r"^[ \t]*(?:[-*+•][ \t]+)?(?:#{1,6}[ \t]*)?(?:[*_]{0,2}Evidence[*_]{0,2}[ \t]*:[*_]{0,2}"
    r"|(?<=[#*_ ])[*_]{0,2}Evidence[*_]{0,2}[ \t]*$)[ \t]*",
    re.MULTILINE | re.IGNORECASE,
)
# On the line of a sentence before it; behind the number or the dash of an item it begins the line.
_INLINE_EVIDENCE: Final = re.compile(r"(?<=[^\s\d][.!?])[ \t]+(?=\*\*Evidence(?::\*\*|\*\*:))", re.IGNORECASE)


def stepwise(text: str, least: int = 1) -> str:
    """At least so many steps, numbered from 1 without a gap, each with a title and content below it."""
    before = preface_of(text)
    text = with_headings(text)
    steps, numbers = split_steps(text), numbers_of(text)
    if not steps:
        raise Complaint('There are no steps. Head each with "## Step 1: Title", the number counting up.')
    if numbers != list(range(1, len(steps) + 1)):
        said = ", ".join(map(str, numbers))
        raise Complaint(f"The steps are not numbered 1, 2, 3 and so on. Their numbers are {said}.")
    if len(before) > PREFACE_LINES or _is_long(before):
        raise Complaint(f'There is text before the first step. Make "{_short(before[0])}" and what follows it steps.')
    other = _OTHER_HEADING.search(text)
    if other:
        raise Complaint(f'There is a heading that is no step. Make "{_short(other[0])}" a step or part of one.')
    for number, step in enumerate(steps, start=1):
        title, _, content = step.partition("\n")
        if not content.strip():
            raise Complaint(
                f"A step has no title or no content. Step {number} is one line; write its title after the number and "
                "its content on the lines below."
            )
        if len(title) > TITLE_CHARACTERS:
            raise Complaint(f"The title of a step is too long. That of step {number} has {len(title)} characters.")
    if len(steps) < least:
        raise Complaint(f"There are too few steps. There is {len(steps)}; divide the reasoning into {least} or more.")
    return join_steps(steps)


def with_evidence(text: str, least: int = 1) -> str:
    """Steps of which each closes with `**Evidence:** text`."""
    steps = []
    for number, step in enumerate(split_steps(stepwise(text, least)), start=1):
        title, _, content = step.partition("\n")
        before, *evidence = (part.strip() for part in _EVIDENCE.split(_INLINE_EVIDENCE.sub("\n", content)))
        if len(evidence) != 1 or not evidence[0]:
            raise Complaint(
                f"A step has no evidence, or several. Step {number} needs exactly one **Evidence:** followed by text."
            )
        if not before:
            raise Complaint(f"A step has evidence and nothing that it is evidence for. It is step {number}.")
        gap = "\n" if _BULLET.match(evidence[0]) else " "
        steps.append(f"{title}\n{before}\n**Evidence:**{gap}{evidence[0]}")
    return join_steps(steps)


def list_of_points(text: str) -> str:
    """At least two items, each a line that begins with "- "."""
    lines = from_first(text, lambda line: _BULLET.match(line) is not None)
    items: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        bullet = _BULLET.match(line)
        if bullet:
            items.append(line[bullet.end() :].strip())
        elif line.strip() and items and before.strip() and line[0].isspace():
            items[-1] = f"{items[-1]} {line.strip()}".lstrip()
        elif line.strip():
            raise Complaint(f'There is a line that is no item. Begin every line with "- ", unlike "{_short(line)}".')
    if not all(items):
        raise Complaint("An item is empty. Write the fact after each dash.")
    if len(items) < 2:
        raise Complaint("There are fewer than two items. Write each fact or step as an item of its own.")
    return "\n".join(f"- {item}" for item in items)


def markdown(text: str) -> str:
    """Headings, the highest of them `##`, each with text below, and no code block that stays open."""
    lines = text.splitlines()
    fenced = _in_fences(lines)
    if not any(_HEADING.match(line) for line, inside in zip(lines, fenced, strict=True) if not inside):
        lines = [_BOLD_LINE.sub(r"## \1", line) for line in lines]
    headings = [None if inside else _HEADING.match(line) for line, inside in zip(lines, fenced, strict=True)]
    first = next((index for index, heading in enumerate(headings) if heading), None)
    if first is None:
        raise Complaint('There is no heading. Divide the text with headings ("## ...").')
    _check_preface(lines[:first])
    shift = 2 - min(len(heading[1]) for heading in headings if heading)
    written = [
        f"{'#' * min(6, len(heading[1]) + shift)} {heading[2].replace('**', '').strip('# ')}"
        if heading
        else line.rstrip()
        for line, heading in zip(lines[first:], headings[first:], strict=True)
    ]
    if not any(line.strip() and not heading for line, heading in zip(written, headings[first:], strict=True)):
        raise Complaint("There is nothing but headings. Write the reasoning below them.")
    empty = _empty_section(written, headings[first:])
    if empty is not None:
        raise Complaint(f'A section is empty. Write text below "{_short(empty)}", or leave the heading out.')
    return re.sub(r"\n{3,}", "\n\n", "\n".join(written)).strip()


def _empty_section(lines: Sequence[str], headings: Sequence[re.Match[str] | None]) -> str | None:
    """The first heading with neither text nor a lower heading below it."""
    said = [heading for line, heading in zip(lines, headings, strict=True) if line.strip()]
    for heading, below in pairwise([*said, _HEADING.match("# The end")]):
        if heading and below and len(below[1]) <= len(heading[1]):
            return heading[0]
    return None


def _in_fences(lines: list[str]) -> list[bool]:
    inside, found = False, []
    for line in lines:
        fence = _FENCE.match(line) is not None
        found.append(inside or fence)
        inside ^= fence
    if inside:
        raise Complaint("A code block is opened and never closed.")
    return found


def from_first(text: str, begins: Callable[[str], bool]) -> list[str]:
    """Return the lines from the first that `begins` on; one line of introduction before it is cut off."""
    lines = text.splitlines()
    first = next((index for index, line in enumerate(lines) if begins(line)), None)
    if first is None:
        return lines
    _check_preface(lines[:first])
    return lines[first:]


def _check_preface(lines: list[str]) -> None:
    said = [line for line in lines if line.strip()]
    if len(said) > 1:
        raise Complaint(f'There is text before the beginning. Leave out what begins "{_short(said[0])}".')
    if _is_long(said):
        raise Complaint(f'There is content before the beginning. Give what begins "{_short(said[0])}" the form too.')


def _is_long(preface: Sequence[str]) -> bool:
    return sum(map(len, preface)) > PREFACE_CHARACTERS


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= 60 else f"{line[:57]}..."
