"""Commands that watch batch jobs: status."""

from __future__ import annotations

from registry.console import Grid, answering
from registry.errors import Meds1Error
from registry.options import NO_EXPERIMENTS, Choice, ConfigFile, Files, Json, Names, RegistryFile, Tag, chosen, say
from registry.schema import STAGES
from slurm.asking import recent_queue
from slurm.overview import overview


def status(
    names: Names = None,
    tag: Tag = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Show the state of every stage, and why."""
    with answering("status", as_json) as answer:
        opened, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        queue = recent_queue(opened, view)
        if queue.asked:
            view = opened.read()  # what has ended since then has left its record by now
        rows: list[list[str]] = []
        answer.data = {}
        for name in selected:
            try:
                found = overview(opened, view, name, queue)
            except Meds1Error as error:
                say(answer, name, error, names)
                continue
            answer.data[name] = {stage: standing.to_json() for stage, standing in found.items()}
            remarks = "; ".join(f"{stage}: {s.remark}" for stage, s in found.items() if s.remark)
            rows.append([name, *(found[stage].cell for stage in STAGES), remarks])
        if rows:
            answer.lines.append(Grid(["experiment", *STAGES, "remarks"], rows))
        elif not selected:
            answer.lines.append(NO_EXPERIMENTS)
