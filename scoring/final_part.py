"""The part of a raw output that holds the answer: what stands after the thinking."""

from __future__ import annotations

import re

_NAME = r"(?:think|thinking|thoughts?|reasoning|seed:think)"
_CLOSED = re.compile(
    rf"(?i)</{_NAME}>|\[/think\]|◁/think▷|<\|im_start\|>answer\b|<\|channel\|>final<\|message\|>|<\|end_of_thought\|>"
)
_OPENED = re.compile(
    rf"(?i)<{_NAME}>|\[think\]|◁think▷|<\|im_start\|>think\b|<\|channel\|>analysis<\|message\|>|<\|begin_of_thought\|>"
)
_HEADING = r"(?im)^[ \t]*#{1,6}[ \t]*\**[ \t]*"
_FINAL_HEADING = re.compile(rf"{_HEADING}final[ \t]+(response|answer)(?:[ \t]*[:*]+[ \t*:]*|[ \t]*$)")
_THINKING_HEADING = re.compile(rf"{_HEADING}thinking[ \t]*[:*]*[ \t]*$")
_ANSWER_END = re.compile(r"(?i)</answer>")
_MARK_CHARACTERS = "<#[◁"


def final_part(text: str) -> str:
    """Return what stands after the last end of thinking, stripped; "" when a thinking was opened and never closed.

    A text without marks is returned whole, so that the part of an already split output is itself. Only a tag of its
    own kind closes a tag: `<think>` is not closed by a heading.
    """
    return marked_part(text)[0]


def marked_part(text: str) -> tuple[str, bool]:
    """Return the final part, and whether a mark says that it is the answer (`<answer>`, `## Final Answer`)."""
    part, marked = text.strip(), False
    while True:
        shorter, is_answer = _step(part)
        marked = marked or is_answer
        if shorter == part:
            return part, marked
        part = shorter


def _step(text: str) -> tuple[str, bool]:
    if not any(character in text for character in _MARK_CHARACTERS):
        return text, False
    closing = _last(_CLOSED, text)
    part = text[closing.end() :] if closing else text
    if _OPENED.search(part):
        return "", False
    heading = _last(_FINAL_HEADING, part)
    part = part[heading.end() :] if heading else part
    if _THINKING_HEADING.search(part):
        return "", False
    is_answer = heading is not None and heading[1].lower() == "answer"
    opened = part.lower().rfind("<answer>")
    if opened < 0:
        return part.strip(), is_answer
    content = part[opened + len("<answer>") :]
    return _ANSWER_END.split(content, maxsplit=1)[0].strip(), True


def _last(mark: re.Pattern[str], text: str) -> re.Match[str] | None:
    return max(mark.finditer(text), key=lambda match: match.start(), default=None)
