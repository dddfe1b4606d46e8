"""How the training rows are drawn from those that passed the filters.

A method takes the kept entries and the curation's config and returns the reason for each row that it leaves out, like
any other filter. All draws are seeded and depend on the rows alone, never on the order in which they were loaded.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from curation.ledger import Ledger, Removals
from registry.schema import CurationConfig, MethodName

NOT_DRAWN: Final = "not drawn"
UNLABELLED: Final = "unlabelled"


def take_all(entries: Ledger, config: CurationConfig) -> Removals:
    """Leave nothing out."""
    return {}


def draw_random(entries: Ledger, config: CurationConfig) -> Removals:
    """Draw `n_samples` rows uniformly without replacement; all of them when there are fewer."""
    ids = sorted(entry.row.id for entry in entries)
    drawn = set(random.Random(config.seed).sample(ids, min(config.n_samples or 0, len(ids))))
    return {row_id: NOT_DRAWN for row_id in ids if row_id not in drawn}


def draw_s1(entries: Ledger, config: CurationConfig) -> Removals:
    """Draw `n_samples` rows of long reasoning, balanced over the specialties, after s1.

    Until enough are drawn: choose a specialty uniformly among those that have rows left, then one of its rows with
    weight 2^-rank, rank 0 being its longest reasoning left (Muennighoff et al., "s1: Simple test-time scaling", 2025,
    algorithm 1). Rows without a specialty are one specialty of their own. Only rows of at least `long_tokens`
    reasoning tokens take part; when these are fewer than `n_samples` all of them are taken, and no shorter ones.
    """
    rng = random.Random(config.seed)
    pools: dict[str, list[str]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: (-entry.reasoning_tokens, entry.row.id)):
        if entry.reasoning_tokens >= config.long_tokens:
            pools[entry.row.specialty or UNLABELLED].append(entry.row.id)
    drawn: set[str] = set()
    specialties = sorted(pools)
    while specialties and len(drawn) < (config.n_samples or 0):
        specialty = rng.choice(specialties)
        pool = pools[specialty]
        drawn.add(pool.pop(_rank(rng, len(pool))))
        if not pool:
            specialties.remove(specialty)
    short = f"reasoning shorter than {config.long_tokens} tokens"
    return {
        entry.row.id: NOT_DRAWN if entry.reasoning_tokens >= config.long_tokens else short
        for entry in entries
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


METHODS: Final[Mapping[MethodName, Callable[[Ledger, CurationConfig], Removals]]] = {
    "all": take_all,
    "random": draw_random,
    "s1": draw_s1,
}
