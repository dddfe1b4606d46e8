"""The specialty shares of `s1` over many seeds against their closed form."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from benchmarks.parts import Report, Say
from curation.ledger import Ledger, open_ledger
from curation.methods.pool import pool_of, specialty_of
from curation.methods.s1 import UNIFORM_SHARE, draw_s1
from data.specialties import SPECIALTIES
from registry.console import Grid
from registry.curation_schema import S1Rows
from tests.stages import row

LIMIT: Final = 3.0
LONG_TOKENS: Final = 1_000
WEIGHTS: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
"""The specialties take these in turns."""


@dataclass(frozen=True)
class Share:
    """A specialty's part of the chosen rows, in percent; `errors` is the distance in standard errors."""

    weight: float
    expected: float
    measured: float
    errors: float


def measure_s1_shares(full: bool, say: Say) -> Report:
    """200 seeds (full: 1,000): 20 specialties of 150 to 340 rows, 1 to 20 of them long; 1,000 are chosen."""
    seeds = 1_000 if full else 200
    say(f"s1_shares: {seeds} draws")
    return report(shares(made_up_rows(20), 1_000, range(seeds)), seeds)


def report(found: Mapping[str, Share], seeds: int) -> Report:
    """The table; not sound where a share is off by more than the limit."""
    lines = [
        [
            name,
            f"{each.weight:g}",
            f"{each.expected:.3f}",
            f"{each.measured:.3f}",
            f"{each.errors:+.2f}",
            _verdict(each),
        ]
        for name, each in found.items()
    ]
    header = ("specialty", "weight", "closed form %", "drawn %", "standard errors", "")
    return Report(
        data={"seeds": seeds, "limit": LIMIT, "shares": {name: asdict(each) for name, each in found.items()}},
        lines=(Grid(header, lines, title=f"{seeds} seeds", right=(1, 2, 3, 4)),),
        sound=all(_met(each) for each in found.values()),
    )


def made_up_rows(specialties: int) -> Ledger:
    """150 rows of the first specialty, 1 of them long; 10 more rows and 1 more long one of each that follows."""
    template = row(0)
    rows, tokens = [], []
    for place, name in enumerate(SPECIALTIES[:specialties]):
        for number in range(150 + 10 * place):
            rows.append(replace(template, id=f"{name} {number}", specialty=name))
            tokens.append(LONG_TOKENS if number <= place else 100 + (37 * number) % 800)
    return open_ledger(rows, tokens)


def shares(entries: Ledger, n_samples: int, seeds: Sequence[int]) -> dict[str, Share]:
    """The share of each specialty of `entries`, over all `seeds`, and its closed form."""
    present = sorted({specialty_of(entry) for entry in entries})
    weights = {name: WEIGHTS[at % len(WEIGHTS)] for at, name in enumerate(present)}
    config = S1Rows(method="s1", n_samples=n_samples, long_tokens=LONG_TOKENS, specialty_weights=weights)
    long = Counter(specialty_of(entry) for entry in entries if entry.reasoning_tokens >= LONG_TOKENS)
    draws = n_samples - long.total()
    uniform = round(UNIFORM_SHARE * draws)
    counts = _counts(entries, config, seeds)
    found = {}
    for name in present:
        chances = ((uniform, 1 / len(present)), (draws - uniform, weights[name] / sum(weights.values())))
        expected = long[name] + sum(times * chance for times, chance in chances)
        error = math.sqrt(sum(times * chance * (1 - chance) for times, chance in chances) / len(seeds))
        measured = counts[name] / len(seeds)
        percent = 100 / n_samples
        found[name] = Share(weights[name], percent * expected, percent * measured, (measured - expected) / error)
    return found


def _counts(entries: Ledger, config: S1Rows, seeds: Sequence[int]) -> Counter[str]:
    pool = pool_of(entries)
    available = Counter(specialty_of(entry) for entry in entries)
    counts: Counter[str] = Counter()
    for seed in seeds:
        left_out = draw_s1(pool, config.model_copy(update={"seed": seed}))
        drawn = Counter(specialty_of(entry) for entry in entries if entry.row.id not in left_out)
        # The closed form holds only while every specialty has rows left.
        assert all(drawn[name] < available[name] for name in available)
        counts += drawn
    return counts


def _met(share: Share) -> bool:
    return abs(share.errors) <= LIMIT


def _verdict(share: Share) -> str:
    return "met" if _met(share) else "MISSED"
