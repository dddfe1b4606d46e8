"""`meds1 submit --force`: the attempts in flight that are cancelled because the same is submitted anew.

They are looked up first, cancelled only when everything that replaces them has been found to be in order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from registry.errors import Meds1Error, StageFailure
from registry.history import Header
from registry.plan import IsGone, Wish
from registry.reading import View
from registry.schema import Stage
from registry.store import Registry
from slurm.asking import Queue
from slurm.cancel import Target, end, targets_of


@dataclass(frozen=True)
class Replacement:
    """What is to be cancelled; `refused` are experiments of which a job is another user's."""

    targets: tuple[Target, ...] = ()
    refused: Mapping[str, Meds1Error] | None = None

    def is_gone(self, queue: Queue) -> IsGone:
        """Whether an attempt in flight has ended, or will have before a new one starts."""
        ids = {target.header.id for target in self.targets}

        def gone(header: Header) -> bool:
            return header.id in ids or queue.is_gone(header)

        return gone

    def running(self, name: str) -> dict[Stage, str]:
        """The Slurm jobs of an experiment that run, and that new ones have to wait for, by stage."""
        own = [target for target in self.targets if target.experiment == name]
        runs = [target for target in own if target.on_slurm and (target.shards or not target.waits)]
        return {target.stage: target.shards or target.job for target in runs}

    def carry_out(self, registry: Registry, names: Collection[str]) -> dict[str, Meds1Error]:
        """Cancel what these experiments replace; returns those of which something cannot be cancelled from here.

        What runs is left time to end: a new job of Slurm waits for the old one in the queue, and the supervisor of jobs
        of this machine waits until the run directory is free.
        """
        due = [target for target in self.targets if target.experiment in names]
        refused = end(registry, due).refused if due else []
        return {target.experiment: StageFailure(f"{target.stage}: job {target.job}: {why}") for target, why in refused}


def replacement(view: View, queue: Queue, names: Sequence[str], wish: Wish) -> Replacement:
    """What is in flight of the wanted stages, and what waits for it."""
    targets = targets_of(view, queue, names, wish.stages)
    refused: dict[str, Meds1Error] = {}
    for target in targets:
        if not target.is_mine:
            why = f"{target.stage}: job {target.job} belongs to {target.owner}, who alone can cancel it"
            refused[target.experiment] = StageFailure(why)
    return Replacement(tuple(target for target in targets if target.experiment not in refused), refused)
