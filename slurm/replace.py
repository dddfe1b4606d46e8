"""`meds1 submit --force`: cancel the attempts in flight that are to be submitted anew."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from registry.errors import Meds1Error, StageFailure
from registry.history import Header
from registry.plan import IsGone, Wish
from registry.reading import View
from registry.records import TERMINAL
from registry.schema import Stage
from registry.store import Registry
from slurm.asking import Queue
from slurm.cancel import Target, end, targets_of

_PATIENCE_S = 60.0  # a stage of this machine saves its work within that


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

    A job of Slurm that runs is left time to end: the new one waits for it in the queue. One of this machine is waited
    for here.
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
    _wait(registry, [target for target in mine if not target.on_slurm and target.experiment not in refused])
    running: dict[str, dict[Stage, str]] = {}
    for target in mine:
        if target.on_slurm and not target.waits:
            running.setdefault(target.experiment, {})[target.stage] = target.job
    return Replaced(frozenset(target.header.id for target in mine), running, refused)


def _wait(registry: Registry, targets: Sequence[Target]) -> None:
    until = time.monotonic() + _PATIENCE_S
    left = list(targets)
    while left:
        state = registry.read().state
        left = [
            target
            for target in left
            if not any(
                header.attempt == target.header.attempt and header.event in TERMINAL
                for header in state.headers(target.experiment, target.stage)
            )
        ]
        if left and time.monotonic() > until:
            what = f"{left[0].stage}: job {left[0].job}"
            raise StageFailure(f"{left[0].experiment}: {what} has not ended after {_PATIENCE_S:.0f} s; try again later")
        time.sleep(0.5 if left else 0)
