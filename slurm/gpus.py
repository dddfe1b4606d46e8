"""The GPUs of this machine, shared out among the stages that a supervisor runs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slurm.launch import visible_gpus


class Gpus:
    """Which GPUs are free. A stage that asks for more than there are gets all of them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._free, self._total = list(names), len(names)

    def suffice_for(self, wanted: int) -> bool:
        """Whether a stage that asks for so many can start now."""
        return len(self._free) >= min(wanted, self._total)

    def take(self, wanted: int) -> tuple[str, ...]:
        """Take GPUs for a stage that they suffice for."""
        number = min(wanted, self._total)
        taken, self._free = tuple(self._free[:number]), self._free[number:]
        return taken

    def give_back(self, names: Sequence[str]) -> None:
        """Free the GPUs of a stage that has ended."""
        self._free += names


def share(environ: Mapping[str, str], max_parallel: int) -> Gpus | None:
    """The visible GPUs, to be shared out; null where there are none, or where one stage at a time may see them all."""
    names = visible_gpus(environ) if max_parallel > 1 else []
    return Gpus(names) if names else None
