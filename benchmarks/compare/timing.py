"""Commands in processes of their own, with their time and the most memory that they and their children have held."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from registry.errors import StageFailure
from registry.paths import CHECKOUT
from registry.store import Registry

_LOOK_EVERY = 0.05  # seconds


@dataclass(frozen=True)
class Ran:
    """One command: wall and processor seconds, the peak of its processes' resident memory in MB, what it printed."""

    seconds: float
    processor: float
    megabytes: float
    stdout: bytes


@dataclass(frozen=True)
class Goal:
    """What was measured several times (`values`), in `unit`, and at most how much it is to be."""

    what: str
    values: tuple[float, ...]
    limit: float | None = None
    unit: str = "s"

    @property
    def verdict(self) -> str:
        """Judged by the median, which a hiccup of the machine does not change."""
        if self.limit is None:
            return ""
        return "met" if statistics.median(self.values) <= self.limit else "MISSED"

    def row(self) -> list[str]:
        """Best, median and limit for a table."""
        limit = "" if self.limit is None else f"{self.limit:g}"
        best, median = min(self.values), statistics.median(self.values)
        return [f"{self.what}, {self.unit}", f"{best:.2f}", f"{median:.2f}", limit, self.verdict]


HEADER = ("", "best", "median", "at most", "")


def run_meds1(lab: Registry, cache: Path, *arguments: str) -> Ran:
    """Run the command on a registry, measured; `StageFailure` with what it said where it fails."""
    environment = {
        **os.environ,
        "MEDS1_REGISTRY": str(lab.paths.file),
        "MEDS1_CONFIG": str(lab.catalog_path),
        "CACHE_DIR": str(cache),
        "MED_S1K_OUTPUT": str(cache / "output"),
        "VIRTUAL_ENV": sys.prefix,
    }
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        started, before = time.perf_counter(), _processor()
        process = subprocess.Popen([CHECKOUT / "bin" / "meds1", *arguments], env=environment, stdout=out, stderr=errors)
        megabytes = _peak(process)
        seconds = time.perf_counter() - started
        out.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise StageFailure(f"meds1 {' '.join(arguments)}: {errors.read().decode(errors='replace').strip()}")
        return Ran(seconds, _processor() - before, megabytes, out.read())


def times(count: int, lab: Registry, cache: Path, arguments: Sequence[str]) -> tuple[float, ...]:
    """Wall seconds of the command, so many times, each in a new process."""
    return tuple(run_meds1(lab, cache, *arguments).seconds for _ in range(count))


def _processor() -> float:
    """Processor seconds of all processes that this one has waited for, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; the peak of its tree's summed resident memory in MB, looked at 20 times a second."""
    peak = 0
    while True:
        try:
            process.wait(_LOOK_EVERY)
        except subprocess.TimeoutExpired:
            peak = max(peak, _resident(psutil.Process(process.pid)))
        else:
            return peak / 1e6


def _resident(root: psutil.Process) -> int:
    total = 0
    try:
        for one in [root, *root.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:  # ended while it was looked at
        pass
    return total
