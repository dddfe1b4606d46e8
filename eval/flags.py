"""What makes a result suspect: a model or set-up that is broken scores too, and often looks like a bad model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SUSPECT_SHARE = 0.05


def flags_of(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know before trusting the numbers of one benchmark, in short words; none is well.

    `summary` has accuracy and chance as shares, and counts out of `total_examples` answers.
    """
    found = []
    accuracy, chance, total = summary["accuracy"], summary.get("chance"), summary["total_examples"]
    if accuracy == 0:
        found.append("0 % right")
    elif accuracy == 1:
        found.append("100 % right")
    elif chance is not None and accuracy < chance:
        found.append(f"below chance ({100 * chance:.0f} %)")
    for count in ("unanswered", "truncated"):
        if summary[count] > SUSPECT_SHARE * total:
            found.append(f"{100 * summary[count] / total:.0f} % {count}")
    return found
