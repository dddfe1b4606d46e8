"""What came of a storm, and what is made of its times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sight:
    """What one reader saw: how often it looked, how often what it found was wrong, and the first such find."""

    looks: int
    wrong: int
    first: str | None


@dataclass(frozen=True)
class Weather:
    """Writers killed, writers that died of something else (none should), and what each reader saw."""

    killed: int
    broken: int
    sights: tuple[Sight, ...]


@dataclass(frozen=True)
class Spread:
    """Median and 99th percentile of a number of times, in seconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """The spread of at least two times."""
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        return cls(cuts[49], cuts[98])


@dataclass(frozen=True)
class Outcome:
    """What came of one storm.

    `lost` are acknowledged results that are gone at the end, or that an older one stands in for; `valid` says whether
    the file is sound at the end. `save` is the time of a save, `bare` that of a write, fsync and rename of the same
    bytes beside it.
    """

    what: str
    weather: Weather
    acknowledged: int
    lost: int
    valid: bool
    folds: int | None = None
    save: Spread | None = None
    bare: Spread | None = None

    @property
    def reads(self) -> int:
        """How often any reader looked."""
        return sum(sight.looks for sight in self.weather.sights)

    @property
    def torn(self) -> int:
        """How often any reader found something wrong."""
        return sum(sight.wrong for sight in self.weather.sights)

    @property
    def example(self) -> str | None:
        """The first thing that a reader found wrong."""
        return next((sight.first for sight in self.weather.sights if sight.first), None)

    @property
    def ratios(self) -> Spread | None:
        """How many times as long as a bare write a save takes, at the median and at the 99th percentile."""
        if self.save is None or self.bare is None:
            return None
        return Spread(self.save.p50 / self.bare.p50, self.save.p99 / self.bare.p99)

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, torn or broken."""
        return self.valid and not (self.lost or self.torn or self.weather.broken)

    def to_json(self) -> dict[str, Any]:
        """JSON; times are in seconds."""
        spreads = {"save": self.save, "bare": self.bare, "ratio": self.ratios}
        return {
            "what": self.what,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "torn_reads": self.torn,
            "reads": self.reads,
            "first_wrong": self.example,
            "killed": self.weather.killed,
            "broken": self.weather.broken,
            "folds": self.folds,
            "valid_at_end": self.valid,
            **{key: spread and vars(spread) for key, spread in spreads.items()},
        }
