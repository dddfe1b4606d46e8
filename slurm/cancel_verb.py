"""`meds1 cancel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from registry.console import Answer, answering, confirmed
from registry.errors import MissingError, StageFailure, UsageError, counted
from registry.options import All, Choice, ConfigFile, Files, Json, Names, RegistryFile, Stages, Tag, chosen, stages_of
from slurm.adopt import settle
from slurm.cancel import Target, end, lines_of, targets_of


def cancel(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    everything: All = False,
    tag: Tag = None,
    stages: Stages = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be cancelled; cancel nothing.")] = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Cancel jobs that wait or run, and those that wait for them."""
    with answering("cancel", as_json) as answer:
        opened, view, selected = chosen(answer, Files(registry, config), Choice(names or (), everything, tag))
        view, queue = settle(opened, view, selected)
        found = targets_of(view, queue, selected, stages_of(stages))
        if queue.silent and any(target.on_slurm for target in found):
            raise MissingError(f"nothing cancelled: {queue.silent}; try again when Slurm answers")
        mine = [target for target in found if target.is_mine]
        answer.data = {"jobs": [target.to_json() for target in mine], "cancelled": False}
        _refuse_others(answer, [target for target in found if not target.is_mine])
        if not mine:
            answer.lines.append("nothing to cancel")
            return
        said = lines_of(mine)
        if dry_run:
            answer.lines += [f"would cancel {line}" for line in said]
            return
        if not yes:
            question = "\n".join([*said, f"Cancel {counted(len(mine), 'job')}? [y/N] "])
            if not confirmed(question):
                raise UsageError("nothing cancelled")
        ended = end(opened, mine)
        for target, why in ended.refused:
            answer.fail(target.experiment, StageFailure(f"{target.stage}: job {target.job}: {why}"))
        refused = [target for target, _ in ended.refused]
        answer.warnings += ended.warnings
        answer.data["cancelled"] = True
        answer.lines += [f"cancelled {line}" for line in lines_of([target for target in mine if target not in refused])]
        if any(target.shards or not target.waits for target in mine):
            answer.lines.append("what runs saves its work and ends; `meds1 status` shows when")


def _refuse_others(answer: Answer, targets: Sequence[Target]) -> None:
    for target in targets:
        error = f"{target.stage}: job {target.job} belongs to {target.owner}, who alone can cancel it"
        answer.fail(target.experiment, StageFailure(error))
