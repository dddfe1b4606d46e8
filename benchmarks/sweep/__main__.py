"""`python -m benchmarks.sweep` submits 1,000 experiments of 3 stages to a Slurm of its own and prints what it takes.

No job runs: all of them wait for tomorrow. Exit code 1 when a command of Slurm was called more often than it may be, or
when not every job came into the queue; a time over its limit is marked and is no error. Needs root and Slurm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.registry.report import machine
from benchmarks.sweep.measure import Figure, Wish, measure
from registry.console import Grid, answering
from registry.errors import StageFailure

_SHOWN = ("sbatch", "squeue", "sacct")
_HEADER = ("", "median s", "min s", "limit s", "", *_SHOWN, "limit", "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    chosen = _parsed(arguments)
    with answering("benchmarks.sweep", chosen.json) as answer:
        facts = machine()
        figures = measure(Wish(chosen.experiments, chosen.singles, chosen.repeats), _say)
        answer.data = to_json(facts, figures, chosen.experiments)
        answer.lines += lines(facts, figures)
        if not all(figure.few_calls for figure in figures):
            raise StageFailure("a command of Slurm was called more often than it may be; see the columns of calls")


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweep", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--experiments", type=int, default=1_000, help="experiments of the sweep (default 1000)")
    parser.add_argument("--singles", type=int, default=50, help="experiments submitted job by job (default 50)")
    parser.add_argument("--repeats", type=int, default=5, help="times that one looks at them (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    if chosen.experiments < 2 or not 1 <= chosen.singles <= chosen.experiments or chosen.repeats < 1:
        parser.error("--experiments must be above 1, --singles above 0 and no more than that, --repeats above 0")
    return chosen


def to_json(facts: dict[str, Any], figures: Sequence[Figure], experiments: int) -> dict[str, Any]:
    """All figures; times are in seconds. `times_the_sweep` compares what one job takes to submit, in this run."""
    return {
        "machine": facts,
        "experiments": experiments,
        "figures": [
            {
                "what": figure.what,
                "median": figure.median,
                "times": list(figure.seconds),
                "limit": figure.limit,
                "calls": {command: figure.calls.get(command, 0) for command in _SHOWN},
                "most": dict(figure.most),
                "jobs": figure.jobs,
                "times_the_sweep": _times_the_sweep(figure, figures[0]),
            }
            for figure in figures
        ],
    }


def lines(facts: dict[str, Any], figures: Sequence[Figure]) -> Iterator[str | Grid]:
    """The figures for people."""
    yield ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items())
    yield Grid(_HEADER, [_row(figure) for figure in figures], right=(1, 2, 3, 5, 6, 7))
    for figure in figures[1:]:
        times = _times_the_sweep(figure, figures[0])
        if times is not None:
            yield f"{figure.what}: {times:.1f} times as long for each job as in the sweep"


def _times_the_sweep(figure: Figure, sweep: Figure) -> float | None:
    return (figure.median / figure.jobs) / (sweep.median / sweep.jobs) if figure.jobs else None


def _row(figure: Figure) -> list[str]:
    limit, verdict = "", ""
    if figure.limit is not None:
        limit, verdict = f"{figure.limit:g}", "met" if figure.median <= figure.limit else "NOT MET"
    calls = [str(figure.calls.get(command, 0)) for command in _SHOWN]
    most = ", ".join(f"{number} {command}" for command, number in figure.most.items())
    kept = ("met" if figure.few_calls else "NOT MET") if figure.most else ""
    return [figure.what, f"{figure.median:.3f}", f"{min(figure.seconds):.3f}", limit, verdict, *calls, most, kept]


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
