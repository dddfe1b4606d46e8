"""`python -m benchmarks.eval [PART...]` prints what an evaluation promises, measured on this machine.

Exit code 1 when a statistic is not what it has to be; a time or a ratio over its limit is marked and is no error.
The long form takes finer grids and more simulations.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.eval.coverage import measure_coverage
from benchmarks.eval.real_files import run_real_files
from benchmarks.eval.scoring_speed import measure_speed
from benchmarks.eval.statistics import compare_statistics
from benchmarks.eval.throughput import measure_throughput
from benchmarks.parts import Part, run_parts

PARTS: dict[str, Part] = {
    "statistics": compare_statistics,
    "coverage": measure_coverage,
    "scoring_speed": measure_speed,
    "throughput": measure_throughput,
    "real_files": run_real_files,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    run_parts("benchmarks.eval", __doc__, PARTS, arguments)


if __name__ == "__main__":
    main()
