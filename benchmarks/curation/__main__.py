"""`python -m benchmarks.curation [PART...]` prints what curation promises, measured on this machine.

Exit code 1 when draws do not follow their closed form or a row is lost; a time or a memory over its limit is marked
and is no error. The long form takes more seeds and rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.curation.decontamination import measure_decontamination
from benchmarks.curation.diversity import measure_diversity
from benchmarks.curation.pipeline import measure_pipeline, measure_tokens
from benchmarks.curation.real_files import run_real_files
from benchmarks.curation.s1_shares import measure_s1_shares
from benchmarks.parts import Part, run_parts

PARTS: dict[str, Part] = {
    "pipeline": measure_pipeline,
    "tokens": measure_tokens,
    "decontamination": measure_decontamination,
    "real_files": run_real_files,
    "s1_shares": measure_s1_shares,
    "diversity": measure_diversity,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    run_parts("benchmarks.curation", __doc__, PARTS, arguments)


if __name__ == "__main__":
    main()
