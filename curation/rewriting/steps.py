"""Stepwise reasoning as text: `## Step 1: Title`, its content below, and so on. Pure text."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]*Step[ \t]+(\d+)[ \t]*[:.\-–—][ \t]*", re.MULTILINE | re.IGNORECASE)


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
