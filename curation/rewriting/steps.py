"""Stepwise reasoning as text: `## Step 1: Title`, its content below, and so on. Pure text."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]*Step[ \t]+(\d+)[ \t]*[:.\-–—][ \t]*", re.MULTILINE | re.IGNORECASE)
# How models write such headings: with a mark, bold, or with neither; "Step 1 of 3" and "Step 1/3" too.
_NUMBER = r"(?:\*\*|__)?[ \t]*Step[ \t]+(\d+)\b(?:(?:[ \t]+of[ \t]+|[ \t]*/[ \t]*)\d+\b)?(?:\*\*|__)?"
_WAYS = tuple(
    re.compile(rf"^[ \t]*{way}", re.MULTILINE | re.IGNORECASE)
    for way in (
        rf"#{{1,6}}[ \t]*{_NUMBER}[ \t]*[:：.)\-–—]?",
        rf"(?:[-*+][ \t]+)?(?=\*\*|__){_NUMBER}[ \t]*[:：.)\-–—]?",
        rf"(?:[-*+][ \t]+)?{_NUMBER}[ \t]*[:：.)\-–—]",
    )
)


def split_steps(text: str) -> list[str]:
    """Return the steps of a text, each its title and content without heading mark and number, stripped.

    A text without a heading has no steps; what stands before the first heading is no step.
    """
    parts = _HEADING.split(text)[1:]
    return [content.strip() for content in parts[1::2]]


def numbers_of(text: str) -> list[int]:
    """Return the numbers in the headings, in their order."""
    return [int(number) for number in _HEADING.split(text)[1::2]]


def join_steps(steps: Sequence[str]) -> str:
    """Return the steps as one text, numbered from 1."""
    return "\n\n".join(f"## Step {number}: {step.strip()}" for number, step in enumerate(steps, start=1))


def preface_of(text: str) -> list[str]:
    """Return the lines before the first step, blank ones left out; none for a text without steps."""
    pattern = _way_of(text)
    return [] if pattern is None else [line for line in pattern.split(text)[0].splitlines() if line.strip()]


def with_headings(text: str) -> str:
    """Return a text from its first step on, with `## Step 1: Title` for the ways in which models write headings.

    Bold headings count where none has a `#`, bare ones ("Step 1. Title") where none is bold either, so that a word on
    another step in a line of its own begins none.
    """
    pattern = _way_of(text)
    if pattern is None:
        return text
    parts = pattern.split(text)[1:]
    steps = []
    for number, content in zip(parts[::2], parts[1::2], strict=True):
        title, _, below = content.lstrip(" \t*_").partition("\n")
        steps.append(f"## Step {number}: {title.replace('**', '').strip().rstrip(':')}\n{below.strip()}".strip())
    return "\n\n".join(steps)


def _way_of(text: str) -> re.Pattern[str] | None:
    """How the text's headings are written; null for a text without any."""
    return next((way for way in _WAYS if way.search(text)), None)
