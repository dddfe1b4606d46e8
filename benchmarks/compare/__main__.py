"""`python -m benchmarks.compare [PART...]` prints what comparing experiments costs, measured on this machine.

Exit code 1 when a command fails or says something else than it has to; a time or a size over its limit is marked and is
no error. The long form makes the report of 50 experiments with 8,000 predictions each.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.compare.commands import measure_compare, measure_leaderboard
from benchmarks.compare.report import measure_open, measure_report
from benchmarks.compare.simulations import measure_equal_runs
from benchmarks.parts import Part, run_parts

PARTS: dict[str, Part] = {
    "leaderboard": measure_leaderboard,
    "compare": measure_compare,
    "report": measure_report,
    "open": measure_open,
    "equal_runs": measure_equal_runs,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    run_parts("benchmarks.compare", __doc__, PARTS, arguments)


if __name__ == "__main__":
    main()
