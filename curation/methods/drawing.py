"""The two plainest methods: every row, or a uniform draw."""

from __future__ import annotations

import random

from curation.ledger import Removals
from curation.methods.pool import NOT_DRAWN, Pool
from registry.curation_schema import AllRows, RandomRows


def take_all(pool: Pool, config: AllRows) -> Removals:
    """Leave nothing out."""
    return {}


def draw_random(pool: Pool, config: RandomRows) -> Removals:
    """Draw `n_samples` rows uniformly without replacement; all of them when there are fewer."""
    ids = [entry.row.id for entry in pool.entries]
    drawn = set(random.Random(config.seed).sample(ids, min(config.n_samples, len(ids))))
    return {row_id: NOT_DRAWN for row_id in ids if row_id not in drawn}
