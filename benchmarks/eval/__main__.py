"""`python -m benchmarks.eval [PART...]` prints what an evaluation promises, measured on this machine.

Exit code 1 when a statistic is not what it has to be; a time or a ratio over its limit is marked and is no error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from benchmarks.eval.coverage import measure_coverage
from benchmarks.eval.real_files import run_real_files
from benchmarks.eval.report import Part
from benchmarks.eval.scoring_speed import measure_speed
from benchmarks.eval.statistics import compare_statistics
from benchmarks.eval.throughput import measure_throughput
from benchmarks.registry.report import machine
from registry.console import answering
from registry.errors import StageFailure

PARTS: dict[str, Part] = {
    "statistics": compare_statistics,
    "coverage": measure_coverage,
    "scoring_speed": measure_speed,
    "throughput": measure_throughput,
    "real_files": run_real_files,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    chosen = _parsed(arguments)
    with answering("benchmarks.eval", chosen.json) as answer:
        facts = machine()
        answer.data = {"machine": facts}
        answer.lines.append(", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items()))
        unsound = []
        for name in chosen.parts or PARTS:
            report = PARTS[name](chosen.full, _say)
            answer.data[name] = report.data
            answer.lines += ["", f"{name} (load {os.getloadavg()[0]:.1f})", *report.lines]
            unsound += [] if report.sound else [name]
        if unsound:
            raise StageFailure(f"not what was promised: {', '.join(unsound)}; see MISSED")


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.eval", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--full", action="store_true", help="the long form: finer grids, more simulations")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; legal: {', '.join(PARTS)}")
    return chosen


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
