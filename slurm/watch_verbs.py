"""Commands that watch batch jobs: status."""

from __future__ import annotations

from typing import Annotated

import typer

from registry.console import Answer, answering
from registry.options import NO_EXPERIMENTS, Choice, ConfigFile, Files, Json, Names, RegistryFile, Tag, chosen, say
from slurm.table import States, states_of, watch


def status(
    names: Names = None,
    tag: Tag = None,
    watching: Annotated[
        bool, typer.Option("--watch", help="Show it again and again until nothing is in flight, or Ctrl-C.")
    ] = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Show the state of every stage, and why."""
    files, choice = Files(registry, config), Choice.or_all(names, tag)

    def take() -> States:
        return states_of(*chosen(Answer(), files, choice))

    if watching:
        watch(take, quiet=as_json)
    with answering("status", as_json) as answer:
        opened, view, selected = chosen(answer, files, choice)
        states = states_of(opened, view, selected)
        for name, error in states.problems.items():
            say(answer, name, error, names)
        answer.data = {
            name: {stage: standing.to_json() for stage, standing in stages.items()}
            for name, stages in states.standings.items()
        }
        if states.standings:
            answer.lines.append(states.grid())
        elif not selected:
            answer.lines.append(NO_EXPERIMENTS)
        if len(states.standings) > 1:
            answer.lines.append(f"\n{states.summary}")
