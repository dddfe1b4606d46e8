"""Specialty-balanced sampling of long reasoning, after s1 (Muennighoff et al., s1: Simple test-time scaling, 2025)."""

from __future__ import annotations

import random
from collections import defaultdict

from curation.ledger import Removals
from curation.methods.pool import NOT_DRAWN, Pool, specialty_of
from registry.curation_schema import S1Rows


def draw_s1(pool: Pool, config: S1Rows) -> Removals:
    """Draw `n_samples` rows of long reasoning, balanced over the specialties.

    Until enough are drawn: choose a specialty uniformly among those that have rows left, then one of its rows with
    weight 2^-rank, rank 0 being its longest reasoning left. Only rows of at least `long_tokens`
    reasoning tokens take part; when these are fewer than `n_samples` all of them are taken, and no shorter ones.
    """
    rng = random.Random(config.seed)
    pools: dict[str, list[str]] = defaultdict(list)
    for entry in sorted(pool.entries, key=lambda entry: (-entry.reasoning_tokens, entry.row.id)):
        if entry.reasoning_tokens >= config.long_tokens:
            pools[specialty_of(entry)].append(entry.row.id)
    drawn: set[str] = set()
    specialties = sorted(pools)
    while specialties and len(drawn) < config.n_samples:
        specialty = rng.choice(specialties)
        rows = pools[specialty]
        drawn.add(rows.pop(_rank(rng, len(rows))))
        if not rows:
            specialties.remove(specialty)
    short = f"reasoning shorter than {config.long_tokens} tokens"
    return {
        entry.row.id: NOT_DRAWN if entry.reasoning_tokens >= config.long_tokens else short
        for entry in pool.entries
        if entry.row.id not in drawn
    }


def _rank(rng: random.Random, size: int) -> int:
    """A rank below `size` with probability proportional to 2^-rank (coin flips, so that no weight underflows)."""
    while True:
        rank = 0
        while rank < size and rng.random() < 0.5:
            rank += 1
        if rank < size:
            return rank
