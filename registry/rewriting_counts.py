"""What the count of a rewriting says beside accepted, repaired and given-up rows: for `show`, card and report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CONTRADICTING: Final = "contradicts_answer"
"""Field of a count: the rows whose reasoning concludes another option than their answer."""

REALISED: Final = "realised"
"""Field of a perturbation's count: of how many steps, borders or rows there were how many it changed, and that rate."""


def realised_rate(count: Mapping[str, Any]) -> float | None:
    """The part that a perturbation really changed of all that there was; null where its count does not say so."""
    found = count.get(REALISED)
    rate = found.get("rate") if isinstance(found, Mapping) else None
    return float(rate) if isinstance(rate, int | float) else None


def told_beside(count: Mapping[str, Any]) -> list[str]:
    """The sentences' parts; nothing of what is not in the count, or is no count: results are files that people edit."""
    found = []
    realised = count.get(REALISED)
    if isinstance(realised, Mapping) and realised.keys() >= {"unit", "there", "changed"}:
        there, changed = (f"{n:,}" if isinstance(n, int) else str(n) for n in (realised["there"], realised["changed"]))
        rate = realised_rate(count)
        found.append(f"{changed} changes to {there} {realised['unit']}" + ("" if rate is None else f" ({rate:.1%})"))
    contradicting = count.get(CONTRADICTING)
    if isinstance(contradicting, int):
        found.append(f"{contradicting:,} contradict their answer")
    return found
