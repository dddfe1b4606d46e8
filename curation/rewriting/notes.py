"""Clinical notes and decision trees: forms with parts of their own. See `structures`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from curation.rewriting.structures import from_first
from inference.dialogue import Complaint

NoteKind = Literal["soapie", "soap", "isbar", "pomr"]

# A kind that is the beginning of another stands behind it, so that the longer one is recognised first.
NOTES: Final[Mapping[NoteKind, tuple[str, ...]]] = {
    "soapie": ("Subjective", "Objective", "Assessment", "Plan", "Implementation", "Evaluation"),
    "soap": ("Subjective", "Objective", "Assessment", "Plan"),
    "isbar": ("Identification", "Situation", "Background", "Assessment", "Recommendation"),
    "pomr": ("Database", "Problem List", "Initial Plans", "Progress Notes", "Final Summary"),
}
_NAMES: Final = "|".join(sorted({name for names in NOTES.values() for name in names}))
# A heading, a bold name, a name with a colon or alone on its line; its letter may stand before or behind it.
_SECTION: Final = re.compile(
    r"[ \t]*(?:#{1,6}[ \t]*)?(?:\d{1,2}[.)][ \t]*)?(?:\*\*|__)?(?:\d{1,2}[.)][ \t]*)?(?:[A-Z][ \t]*[:–—(-][ \t]*)?"
    rf"(?P<name>{_NAMES})\)?(?:[ \t]*\([A-Z]\))?"
    r"(?:[ \t]*(?::(?:\*\*|__)?|(?:\*\*|__):?)[ \t]*(?P<rest>.*)|[ \t]*)\Z",
    re.IGNORECASE,
)

# The lookbehinds keep a line of nothing but blanks or dashes from costing the square of its length.
_ARROW: Final = re.compile(r"(?:(?<![ \t])[ \t]+)?(?:(?<![-=–—])[-=–—]{1,9}>|→|⇒|➔|➜)[ \t]*")
_DRAWN: Final = re.compile(r"[├└╰][─—-]*>?[ \t]*")
_BULLET: Final = re.compile(r"\A(?:[-*+•]|\d{1,2}[.)])[ \t]+")
_TAKEN: Final = re.compile(r"[ \t]*[*_]*[\[(][*_]*taken[*_]*[\])][*_]*[.,;]?[*_]*[ \t]*\Z", re.IGNORECASE)
TAKEN: Final = "[taken]"
_MARK_CHARACTERS: Final = 30
"""The mark is looked for in so much of a line's end."""


def note(text: str, kinds: Sequence[NoteKind] = tuple(NOTES)) -> str:
    """A note of one of the kinds: all its headings (`## ...`), in order, no other, with text below each."""
    complaints = []
    for kind in kinds:
        try:
            return _note_of(text, NOTES[kind])
        except Complaint as complaint:
            complaints.append(complaint)
    if len(complaints) == 1:
        raise complaints[0]
    forms = "; ".join(f"{kind.upper()}: {', '.join(NOTES[kind])}" for kind in kinds)
    raise Complaint(f"The answer is no note of one of the kinds. Its headings must be exactly those of one. {forms}")


def _note_of(text: str, names: tuple[str, ...]) -> str:
    sections: list[tuple[str, list[str]]] = []
    lines = from_first(text, lambda line: _opened(line, names) is not None)
    level = max((_level(line) for line in lines if _opened(line, names)), default=0)
    for line in lines:
        found = _opened(line, names)
        if found:
            sections.append((found[0], [found[1]]))
        elif 0 < level < _level(line):
            sections[-1][1].append(f"**{line.strip().strip('#* ')}**")
        elif _level(line):
            raise Complaint(f'There is a heading that the note has not. It is "{line.strip()}"; write {_form(names)}.')
        elif sections:
            sections[-1][1].append(line.rstrip())
    if [name for name, _ in sections] != list(names):
        said = ", ".join(name for name, _ in sections) or "none of them"
        raise Complaint(f"The headings are not those of the note, in order. There is {said}; write {_form(names)}.")
    written = [(name, "\n".join(content).strip()) for name, content in sections]
    empty = ", ".join(name for name, content in written if not content)
    if empty:
        raise Complaint(f'A section is empty. Fill {empty}, or write "None mentioned." where nothing is known.')
    return "\n\n".join(f"## {name}\n{content}" for name, content in written)


def _opened(line: str, names: tuple[str, ...]) -> tuple[str, str] | None:
    """The section that a line opens, and what else stands on it; `Plan: rest` does, `Plan of treatment` does not."""
    found = _SECTION.match(line)
    name = next((name for name in names if found and name.casefold() == found["name"].casefold()), None)
    return None if found is None or name is None else (name, found["rest"] or "")


def _level(line: str) -> int:
    return len(line.lstrip()) - len(line.lstrip().lstrip("#"))


def _form(names: tuple[str, ...]) -> str:
    return " / ".join(f"## {name}" for name in names)


def decision_tree(text: str) -> str:
    """A root, and below it, two blanks deeper for each level, the branches `-> ...`, of which some are `[taken]`."""
    lines = _tree_lines(text)
    depths = _depths([len(line) - len(line.lstrip()) for line in lines])
    if depths.count(0) != 1:
        raise Complaint(
            f"The tree has no single root. {depths.count(0)} lines are not indented; indent all but the first line."
        )
    texts = [_branch(line) for line in lines]
    bare = next((branch for branch in texts[1:] if "->" not in branch), None)
    if bare is not None:
        raise Complaint(f'A branch has no arrow. Begin every line below the root with "-> ", unlike "{bare}".')
    if not _branches_out(depths):
        raise Complaint(
            "The tree does not branch. Write two or more branches below the same line: what is taken, and what is not."
        )
    if not any(branch.endswith(TAKEN) for branch in texts):
        raise Complaint(f'The decisions are not marked. End each branch that the reasoning takes with "{TAKEN}".')
    return "\n".join(f"{'  ' * depth}{branch}" for depth, branch in zip(depths, texts, strict=True))


def _tree_lines(text: str) -> list[str]:
    """The lines with drawn branches as arrows; a line of introduction, which ends with a colon, is cut off."""
    drawn = (_DRAWN.sub("    -> ", line.expandtabs(4).replace("│", " ")) for line in text.splitlines())
    lines = [line for line in drawn if line.strip()]
    if len(lines) > 1 and lines[0].rstrip().endswith(":") and not (lines[1][0].isspace() or _ARROW.search(lines[1])):
        return lines[1:]
    return lines


def _depths(indents: list[int]) -> list[int]:
    """The level of each line; blanks may be two or four a level, but a line must stand under one that stands so."""
    depths, levels = [], [0]
    base = indents[0] if indents else 0
    for number, indent in enumerate(indents, start=1):
        indent = max(0, indent - base)
        if indent > levels[-1]:
            levels.append(indent)
        while indent < levels[-1]:
            levels.pop()
        if indent != levels[-1]:
            raise Complaint(
                f"The indentation is uneven. Line {number} stands under no level; indent by two spaces per level."
            )
        depths.append(len(levels) - 1)
    return depths


def _branches_out(depths: Sequence[int]) -> bool:
    """Whether two lines hang on the same one: a chain of lines decides nothing."""
    hanging: set[int] = set()
    for depth in depths:
        if depth in hanging:
            return True
        hanging = {level for level in hanging if level < depth} | {depth}
    return False


def _branch(line: str) -> str:
    branch = _BULLET.sub("", line.strip())
    taken = _TAKEN.search(branch, max(0, len(branch) - _MARK_CHARACTERS))
    arrows = _ARROW.sub(" -> ", branch[: taken.start()] if taken else branch).strip()
    return f"{arrows} {TAKEN}" if taken else arrows
