"""`python -m benchmarks.train [PART...]` prints what training promises, measured on this machine.

Exit code 1 when two processes do not train what one does; a speed below its limit is marked and is no error.
The long form takes more rounds, more rows and four processes.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.parts import Part, run_parts
from benchmarks.train.packing import measure_packing
from benchmarks.train.sharding import compare_sharding
from benchmarks.train.throughput import measure_throughput

PARTS: dict[str, Part] = {
    "throughput": measure_throughput,
    "packing": measure_packing,
    "sharding": compare_sharding,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    run_parts("benchmarks.train", __doc__, PARTS, arguments)


if __name__ == "__main__":
    main()
