"""The states of many experiments: as a table with a summary, or watched until nothing is in flight."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from registry.console import Grid, rich_table
from registry.errors import Meds1Error, counted
from registry.provenance import now
from registry.reading import View
from registry.schema import STAGES, Stage
from registry.secrets import masked
from registry.store import Registry
from slurm.asking import recent_queue
from slurm.overview import Standing, overview

_IN_FLIGHT = ("submitted", "running", "unknown")
_WATCH_SECONDS = 5.0


@dataclass(frozen=True)
class States:
    """Where the stages of experiments stand at one moment, and what is wrong with the others."""

    standings: Mapping[str, Mapping[Stage, Standing]]
    problems: Mapping[str, Meds1Error] = field(default_factory=dict)

    @property
    def in_flight(self) -> list[str]:
        """The experiments of which a stage waits or runs, or may."""
        return [
            name
            for name, stages in self.standings.items()
            if any(standing.status.status in _IN_FLIGHT for standing in stages.values())
        ]

    @property
    def summary(self) -> str:
        """How many experiments there are, and how many stages are in which state."""
        counts = {
            stage: Counter(word for of in self.standings.values() if (word := of[stage].status.status) != "n/a")
            for stage in STAGES
        }
        parts = [
            f"{stage}: {', '.join(f'{number} {word}' for word, number in count.most_common())}"
            for stage, count in counts.items()
            if count
        ]
        return "; ".join([counted(len(self.standings), "experiment"), *parts])

    def grid(self, names: list[str] | None = None) -> Grid:
        """The table of all experiments, or of these."""
        rows = []
        for name in self.standings if names is None else names:
            found = self.standings[name]
            remarks = "; ".join(f"{stage}: {s.remark}" for stage, s in found.items() if s.remark)
            rows.append([name, *(found[stage].cell for stage in STAGES), remarks])
        return Grid(["experiment", *STAGES, "remarks"], rows)


def states_of(registry: Registry, view: View, names: list[str]) -> States:
    """Ask the queue, and judge what the registry says of these experiments."""
    queue = recent_queue(registry, view)
    if queue.asked and not queue.shared:
        view = registry.read()  # what has ended since then has left its record by now
    standings, problems = {}, {}
    for name in names:
        try:
            standings[name] = overview(registry, view, name, queue)
        except Meds1Error as error:
            problems[name] = error
    return States(standings, problems)


def watch(take: Callable[[], States], quiet: bool) -> None:
    """Show states again and again until nothing is in flight, or Ctrl-C; on a terminal in place, else each change.

    Returns too when a registry can no longer be read: whoever asks next is told.
    """
    try:
        if quiet:
            _until_settled(take, lambda states: None)
        elif sys.stdout.isatty():
            _in_place(take)
        else:
            _changes(take)
    except (KeyboardInterrupt, Meds1Error):
        return


def _until_settled(take: Callable[[], States], show: Callable[[States], None]) -> None:
    while True:
        states = take()
        show(states)
        if not states.in_flight:
            return
        time.sleep(_WATCH_SECONDS)


def _in_place(take: Callable[[], States]) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    with Live(Text("asking the queue"), console=console, auto_refresh=False, transient=True) as live:
        # Of what does not fit on the screen, what is in flight; the whole table comes at the end.
        def show(states: States) -> None:
            names = states.in_flight if len(states.standings) > console.height - 4 else None
            live.update(Group(Text(f"{states.summary}\n"), rich_table(states.grid(names))), refresh=True)

        _until_settled(take, show)


def _changes(take: Callable[[], States]) -> None:
    seen: dict[tuple[str, Stage], tuple[str, str]] = {}

    def show(states: States) -> None:
        first = not seen
        for name, stages in states.standings.items():
            for stage, standing in stages.items():
                said = (standing.status.status, standing.remark)
                if seen.get((name, stage)) != said and (not first or said[0] in _IN_FLIGHT):
                    remark = f": {said[1]}" if said[1] else ""
                    print(masked(f"{now()} {name}: {stage}: {said[0]}{remark}"), flush=True)
                seen[name, stage] = said

    _until_settled(take, show)
