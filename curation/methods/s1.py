"""Specialty-balanced sampling of long reasoning, after s1 (Muennighoff et al., s1: Simple test-time scaling, 2025)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from curation.ledger import Entry, Ledger, Removals
from curation.methods.pool import NOT_DRAWN, Pool, specialty_of
from data.specialties import SPECIALTIES
from registry.curation_schema import S1Rows
from registry.errors import did_you_mean, listed

UNIFORM_SHARE: Final = 0.7
UNREACHED: Final = "specialty of weight 0"

Groups = dict[str, list[str]]
"""Specialty -> the ids of its rows that are left, the longest reasoning first."""


def draw_s1(pool: Pool, config: S1Rows) -> Removals:
    """Take all rows of long reasoning, then draw to `n_samples`, balanced over the specialties.

    Of the draws, the first 70 % choose a specialty uniformly among those that have rows left, the others by
    `specialty_weights` (1 where none is given; a specialty of weight 0 is never chosen in this phase). Within a
    specialty a row is drawn with weight 2^-rank, rank 0 being its longest reasoning left. Where there are more than
    `n_samples` rows of long reasoning, all draws are among these.
    """
    long = [entry for entry in pool.entries if entry.reasoning_tokens >= config.long_tokens]
    crowded = len(long) > config.n_samples
    chosen = set() if crowded else {entry.row.id for entry in long}
    groups = _groups([entry for entry in (long if crowded else pool.entries) if entry.row.id not in chosen])
    draws = config.n_samples - len(chosen)
    uniform = round(UNIFORM_SHARE * draws)
    rng = random.Random(config.seed)
    chosen |= _drawn(groups, uniform, rng, lambda specialty: 1.0)
    chosen |= _drawn(groups, draws - uniform, rng, lambda specialty: config.specialty_weights.get(specialty, 1.0))
    # Draws that are left over can only be those that no weight allowed.
    undrawn = NOT_DRAWN if len(chosen) == config.n_samples else UNREACHED
    short = f"reasoning shorter than {config.long_tokens} tokens, and enough rows are longer"
    return {
        entry.row.id: short if crowded and entry.reasoning_tokens < config.long_tokens else undrawn
        for entry in pool.entries
        if entry.row.id not in chosen
    }


def unknown_weights(entries: Ledger, config: S1Rows) -> list[str]:
    """A warning for each weight of a specialty that no row has, with the nearest name of the rows or of the list."""
    present = sorted({specialty_of(entry) for entry in entries})
    return [
        f"specialty_weights: no row is of specialty {name!r}; "
        + (did_you_mean(name, {*present, *SPECIALTIES}) or f"the rows are of {listed(present, 20)}")
        for name in sorted(set(config.specialty_weights) - set(present))
    ]


def _groups(entries: list[Entry]) -> Groups:
    groups: Groups = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: (-entry.reasoning_tokens, entry.row.id)):
        groups[specialty_of(entry)].append(entry.row.id)
    return groups


def _drawn(groups: Groups, draws: int, rng: random.Random, weight: Callable[[str], float]) -> set[str]:
    """Take up to `draws` rows out of `groups`; fewer where only specialties of weight 0 have rows left."""
    open_to = [specialty for specialty in sorted(groups) if weight(specialty) > 0 and groups[specialty]]
    weights = [weight(specialty) for specialty in open_to]
    drawn: set[str] = set()
    while open_to and len(drawn) < draws:
        at = rng.choices(range(len(open_to)), weights)[0]
        rows = groups[open_to[at]]
        drawn.add(rows.pop(_rank(rng, len(rows))))
        if not rows:
            del open_to[at], weights[at]
    return drawn


def _rank(rng: random.Random, size: int) -> int:
    """A rank below `size` with probability proportional to 2^-rank (coin flips, so that no weight underflows)."""
    while True:
        rank = 0
        while rank < size and rng.random() < 0.5:
            rank += 1
        if rank < size:
            return rank
