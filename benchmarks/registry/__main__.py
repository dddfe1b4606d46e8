"""`python -m benchmarks.registry` prints each figure that the registry promises, measured on this machine.

Everything is written below the temporary folder, so TMPDIR chooses the file system. Exit code 1 when an acknowledged
result was lost, a read was torn or a file ended up broken; a time over its limit is marked and is no error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.registry.locks import LOCKS, LockKind
from benchmarks.registry.outcome import Outcome
from benchmarks.registry.records_storm import storm_of_records
from benchmarks.registry.report import lines, machine, to_json
from benchmarks.registry.rewrite_storm import storm_of_rewrites
from benchmarks.registry.scale import measure_scale
from benchmarks.registry.storm import Tick, Wish
from registry.console import answering
from registry.errors import StageFailure

REPEATS = 7


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    chosen = _parsed(arguments)
    with answering("benchmarks.registry", chosen.json) as answer:
        facts = machine()
        scale = measure_scale(REPEATS, _say) if chosen.only in (None, "scale") else None
        locks = LOCKS if chosen.only in (None, "storm") else ()
        storms, ours = [], []
        for _ in range(0 if chosen.only == "scale" else chosen.rounds):
            wish = Wish(chosen.seconds, chosen.writers)
            of_records = [_storm_of_records(lock, wish) for lock in locks]
            ours += of_records
            storms += of_records
            if chosen.only in (None, "baseline"):
                storms.append(_run("the original's way", storm_of_rewrites, wish))
        answer.data = to_json(facts, storms, scale)
        answer.lines += lines(facts, storms, scale)
        if not all(storm.sound for storm in ours):
            raise StageFailure("the registry did not keep its promise; see the columns lost, torn reads, file at end")


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.registry", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a storm (default 60)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each storm is run (default 3)")
    parser.add_argument("--writers", type=int, default=32, help="writers at any moment (default 32)")
    parser.add_argument("--only", choices=("storm", "baseline", "scale"), help="only these figures")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    if chosen.seconds <= 0 or chosen.rounds < 1 or chosen.writers < 1:
        parser.error("--seconds, --rounds and --writers must be above 0")
    return chosen


def _storm_of_records(lock: LockKind, wish: Wish) -> Outcome:
    def storm(folder: Path, wish: Wish, tick: Tick) -> Outcome:
        return storm_of_records(folder, lock, wish, tick)

    return _run(f"lock: {lock}", storm, wish)


def _run(what: str, storm: Callable[[Path, Wish, Tick], Outcome], wish: Wish) -> Outcome:
    """Run one storm in a temporary folder under a progress bar."""
    with tempfile.TemporaryDirectory(prefix="meds1-storm-") as folder, _progress(what, wish.seconds) as tick:
        return storm(Path(folder), wish, tick)


@contextmanager
def _progress(what: str, seconds: float) -> Iterator[Tick]:
    from rich.console import Console
    from rich.progress import Progress

    # No refresh by itself: that would be a thread, to be forked with the writers in whatever state it is.
    with Progress(console=Console(stderr=True), auto_refresh=False) as progress:
        task = progress.add_task(what, total=seconds)
        yield lambda passed: progress.update(task, completed=passed, refresh=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
