"""The figures as tables, beside what issue 3 asks for, and the facts of the machine that they are from."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.registry.outcome import Outcome, Spread
from benchmarks.registry.scale import Scale, Timed
from registry.care.mounts import mount_of
from registry.console import Grid

MAX_RATIO = 3.0
_STORM_HEADER = (
    "storm",
    "acknowledged",
    "lost",
    "torn reads",
    "reads",
    "killed",
    "folds",
    "file at end",
    "save p50/p99 ms",
    "bare p50/p99 ms",
    f"ratio (<= {MAX_RATIO:g})",
)
_SCALE_HEADER = ("1,000 experiments, 10,000 records", "median s", "min s", "limit s", "")


def machine() -> dict[str, Any]:
    """What the figures depend on: cores, the load so far, the temporary folder's file system, kernel and Python."""
    mount = mount_of(Path(tempfile.gettempdir()))
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "file_system": mount.kind if mount else "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def lines(facts: dict[str, Any], storms: Sequence[Outcome], scale: Scale | None) -> Iterator[str | Grid]:
    """The figures for people."""
    yield ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items())
    if scale is not None:
        yield Grid(_SCALE_HEADER, [_scale_row(timed) for timed in scale.times], right=range(1, 4))
        yield ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in scale.sizes.items())
    if storms:
        yield Grid(_STORM_HEADER, [_storm_row(storm) for storm in storms], right=range(1, len(_STORM_HEADER)))
    for storm in storms:
        if storm.weather.broken:
            yield f"{storm.what}: {storm.weather.broken} writers died by themselves; their tracebacks are on stderr"
        if storm.example:
            yield f"{storm.what}: the first torn read: {storm.example}"


def to_json(facts: dict[str, Any], storms: Sequence[Outcome], scale: Scale | None) -> dict[str, Any]:
    """The same as JSON; times are in seconds, sizes in bytes."""
    times = [
        {"what": t.what, "median": t.median, "min": min(t.seconds), "limit": t.limit, "times": list(t.seconds)}
        for t in (scale.times if scale else ())
    ]
    return {
        "machine": facts,
        "scale": {"times": times, "bytes": dict(scale.sizes)} if scale else None,
        "storms": [storm.to_json() for storm in storms],
    }


def _scale_row(timed: Timed) -> list[str]:
    limit, verdict = "", ""
    if timed.limit is not None:
        limit, verdict = f"{timed.limit:g}", "met" if timed.median <= timed.limit else "NOT MET"
    return [timed.what, f"{timed.median:.3f}", f"{min(timed.seconds):.3f}", limit, verdict]


def _storm_row(storm: Outcome) -> list[str]:
    ratios = storm.ratios
    return [
        storm.what,
        f"{storm.acknowledged:,}",
        f"{storm.lost:,}",
        f"{storm.torn:,}",
        f"{storm.reads:,}",
        f"{storm.weather.killed:,}",
        "-" if storm.folds is None else f"{storm.folds:,}",
        "sound" if storm.valid else "broken",
        _milliseconds(storm.save),
        _milliseconds(storm.bare),
        _ratio(ratios) if ratios else "-",
    ]


def _milliseconds(spread: Spread | None) -> str:
    return f"{spread.p50 * 1e3:.1f} / {spread.p99 * 1e3:.1f}" if spread else "-"


def _ratio(ratios: Spread) -> str:
    met = max(ratios.p50, ratios.p99) <= MAX_RATIO
    return f"{ratios.p50:.1f} / {ratios.p99:.1f}{'' if met else ' NOT MET'}"
