"""`python -m benchmarks.rewriting [PART...]` prints what model calls and rewritings promise, measured on this machine.

Exit code 1 when an answer is lost, torn or paid for twice; a time over its limit is marked and is no error.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.parts import Part, run_parts
from benchmarks.rewriting.add_irrelevant import measure_add_irrelevant
from benchmarks.rewriting.calls import measure_calls
from benchmarks.rewriting.kills import measure_kills
from benchmarks.rewriting.matrix import measure_matrix

PARTS: dict[str, Part] = {
    "calls": measure_calls,
    "kills": measure_kills,
    "add_irrelevant": measure_add_irrelevant,
    "matrix": measure_matrix,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    run_parts("benchmarks.rewriting", __doc__, PARTS, arguments)


if __name__ == "__main__":
    main()
