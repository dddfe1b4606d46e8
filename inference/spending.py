"""What model calls cost: counted as they are paid, kept beside the run, and never more than a stage may spend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry.catalog import Prices


@dataclass(frozen=True)
class Purse:
    """Whose money one model's calls are paid with.

    `folder` holds what all attempts of the run have spent, on all models; `max_cost` is the most that may be spent in
    it, in US dollars. Null `prices` are those of a model of one's own, or of one whose prices nobody has written down.
    """

    folder: Path
    model_key: str
    prices: Prices | None = None
    max_cost: float | None = None
    batch: bool = False
