"""2,000 calls to a server on loopback with faults: how near to the ideal, what a second run asks, and eight at once."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.parts import Report, Say
from benchmarks.rewriting.server import LATENCY_S
from registry.console import Grid

CALLS: Final = 2_000
AT_ONCE: Final = (16, 64)
MIN_SHARE: Final = 0.8
MAX_AGAIN_S: Final = 2.0
PROCESSES: Final = 8
FRESH_S: Final = 0.25
"""An answer is to be found so soon after it was kept: a look at the files counts for 0.2 s."""
_MEANING = (
    f"ideal = requests, retries included, x {1000 * LATENCY_S:.0f} ms / at a time; what a request waits before its "
    "retry and the client's CPU time are not in it: with so short a latency the CPU bounds what one process can send"
)


def measure_calls(full: bool, say: Say) -> Report:
    """16 and 64 at a time, each run twice; then eight processes with the same questions on one cache."""
    return report(CALLS, say)


def report(calls: int, say: Say) -> Report:
    """The same with so many calls."""
    alone = [_alone(at_once, calls, say) for at_once in AT_ONCE]
    together = _together(calls, say)
    header = (
        "at a time",
        "requests",
        "ideal s",
        "s",
        f"share (>= {MIN_SHARE:g})",
        "CPU ms each",
        "again s",
        "calls",
        "",
    )
    late = "MISSED" if together["late"] or together["torn"] or together["failed"] else "met"
    return Report(
        data={"alone": alone, "together": together},
        lines=(
            Grid(header, [_shown(one) for one in alone], title=f"{calls:,} calls", right=tuple(range(8))),
            _MEANING,
            f"{PROCESSES} processes, the same {calls:,} questions: {together['calls']:,} calls, {together['late']} of "
            f"them later than {FRESH_S} s after another process had kept the answer, {together['torn']} torn lines: "
            f"{late}",
        ),
        sound=late == "met" and all(one["again_calls"] == one["failed"] == 0 for one in alone),
    )


def _shown(one: dict[str, Any]) -> list[str]:
    met = one["share"] >= MIN_SHARE and one["again_s"] <= MAX_AGAIN_S and not one["again_calls"]
    figures = [one["ideal_s"], one["seconds"], one["share"], one["cpu_ms"], one["again_s"]]
    first = [str(one["at_once"]), f"{one['requests']:,}"]
    return [*first, *(f"{figure:.2f}" for figure in figures), str(one["again_calls"]), "met" if met else "MISSED"]


def _alone(at_once: int, calls: int, say: Say) -> dict[str, Any]:
    say(f"calls: {calls:,} calls, {at_once} at a time")
    with tempfile.TemporaryDirectory() as folder, _serving() as server:
        (first,) = _asking(1, server.port, folder, at_once, calls)
        (again,) = _asking(1, server.port, folder, at_once, calls)
        requests = server.requests()
    ideal = requests * LATENCY_S / at_once
    return {
        "at_once": at_once,
        "requests": requests,
        "ideal_s": ideal,
        "seconds": first["seconds"],
        "share": ideal / first["seconds"],
        "cpu_ms": 1000 * first["cpu"] / requests,
        "failed": first["failed"],
        "again_s": again["seconds"],
        "again_calls": len(again["sent"]),
    }


def _together(calls: int, say: Say) -> dict[str, Any]:
    say(f"calls: {PROCESSES} processes on one cache")
    with tempfile.TemporaryDirectory() as folder, _serving() as server:
        callers = _asking(PROCESSES, server.port, folder, AT_ONCE[0], calls)
        lines = [line for file in Path(folder).rglob("answers/*/*.jsonl") for line in file.read_bytes().split(b"\n")]
    return {
        "calls": sum(len(caller["sent"]) for caller in callers),
        "late": sum(late(caller, [other for other in callers if other is not caller]) for caller in callers),
        "torn": sum(not is_whole(line) for line in lines if line),
        "failed": sum(caller["failed"] for caller in callers),
    }


def late(caller: dict[str, Any], others: Sequence[dict[str, Any]]) -> int:
    """The calls that were sent although another process had long kept the answer."""
    kept = [other["kept"] for other in others]
    return sum(any(when > there.get(asked, when) + FRESH_S for there in kept) for asked, when in caller["sent"].items())


def is_whole(line: bytes) -> bool:
    """Whether a line of the store can be read."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _asking(processes: int, port: str, folder: str, at_once: int, calls: int) -> list[dict[str, Any]]:
    """What so many callers say that begin at the same time."""
    command = [sys.executable, "-m", "benchmarks.rewriting.caller", port, folder, str(at_once), str(calls)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    callers = [subprocess.Popen(command, text=True, **pipes) for _ in range(processes)]
    for caller in callers:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("\n")
        caller.stdin.flush()
    return [json.loads(caller.communicate()[0]) for caller in callers]


@dataclass(frozen=True)
class _Serving:
    process: subprocess.Popen[str]
    port: str

    def requests(self) -> int:
        """End it; how many requests it has answered."""
        return int(self.process.communicate()[0])


@contextmanager
def _serving() -> Iterator[_Serving]:
    """A server that runs until the end of the block at the latest."""
    command = [sys.executable, "-m", "benchmarks.rewriting.server"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield _Serving(process, process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()
