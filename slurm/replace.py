"""`meds1 submit --force`: cancel the attempts in flight that are to be submitted anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from registry.errors import Meds1Error, StageFailure
from registry.history import Header
from registry.plan import IsGone, Wish
from registry.reading import View
from registry.schema import Stage
from registry.store import Registry
from slurm.asking import Queue
from slurm.cancel import end, targets_of


@dataclass(frozen=True)
class Replaced:
    """What was cancelled: the records of attempts that count as gone, and the Slurm jobs that still run, by stage.

    `refused` are experiments of which something could not be cancelled, each with the reason.
    """

    gone: frozenset[str] = frozenset()
    running: Mapping[str, Mapping[Stage, str]] = field(default_factory=dict)
    refused: Mapping[str, Meds1Error] = field(default_factory=dict)

    def is_gone(self, queue: Queue) -> IsGone:
        """Whether an attempt in flight has ended, or will have before a new one starts."""

        def gone(header: Header) -> bool:
            return header.id in self.gone or queue.is_gone(header)

        return gone


def replace(registry: Registry, view: View, queue: Queue, names: Sequence[str], wish: Wish) -> Replaced:
    """Cancel what is in flight of the wanted stages, and what waits for it; `MissingError` where Slurm is silent.

    What runs is left time to end: a new job of Slurm waits for the old one in the queue, and the supervisor of jobs of
    this machine waits until the run directory is free.
    """
    targets = targets_of(view, queue, names, wish.stages)
    refused: dict[str, Meds1Error] = {
        target.experiment: StageFailure(
            f"{target.stage}: job {target.job} belongs to {target.owner}, who can cancel it"
        )
        for target in targets
        if not target.is_mine
    }
    mine = [target for target in targets if target.experiment not in refused]
    for target, why in end(registry, mine).refused if mine else ():
        refused[target.experiment] = StageFailure(f"{target.stage}: job {target.job}: {why}")
    running: dict[str, dict[Stage, str]] = {}
    for target in mine:
        if target.on_slurm and not target.waits:
            running.setdefault(target.experiment, {})[target.stage] = target.job
    return Replaced(frozenset(target.header.id for target in mine), running, refused)
