"""What the count of a rewriting says beside accepted, repaired and given-up rows: for `show`, card and report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CONTRADICTING: Final = "contradicts_answer"
"""Field of a count: the rows whose reasoning concludes another option than their answer."""


def told_beside(count: Mapping[str, Any]) -> list[str]:
    """The sentences' parts; nothing of what is not in the count, or is no count: results are files that people edit."""
    found = []
    contradicting = count.get(CONTRADICTING)
    if isinstance(contradicting, int):
        found.append(f"{contradicting:,} contradict their answer")
    return found
