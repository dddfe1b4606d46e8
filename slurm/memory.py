"""What `meds1 submit` says of the GPU memory that trainings will need, before they wait in the queue to fail of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from data.hub import resolve
from registry.catalog import ModelEntry
from registry.console import Answer, Grid
from registry.errors import MissingError, UsageError
from registry.model_shape import ModelShape, read_shape
from registry.plan import Plan
from registry.sizes import readable
from registry.training_memory import Load, MemoryEstimate, estimate_memory, shortage, tokens_per_pass
from registry.training_schema import TrainingParams
from slurm.gpu_memory import Card, card_of

_HEADER = ("training", "GPUs", "tokens", "weights", "gradients", "optimizer", "activations", "copies", "vLLM", "total")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a training needs on each of its GPUs and what such a GPU has; a text instead of an estimate says why not."""

    experiment: str
    load: Load
    estimate: MemoryEstimate | str
    card: Card
    params: TrainingParams

    @property
    def warning(self) -> str | None:
        """A line for a training that does not fit."""
        if isinstance(self.estimate, str) or self.card.memory is None:
            return None
        said = shortage(self.estimate, self.card.memory, self.params)
        return said and f"{self.experiment}: {said} ({self.card.source})"

    @property
    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        size, tokens = str(self.load.processes), f"{self.load.tokens:,}"
        card = readable(self.card.memory) if self.card.memory is not None else "unknown"
        if isinstance(self.estimate, str):
            return (self.experiment, size, tokens, *[""] * 6, self.estimate, card)
        parts = ("?" if part is None else readable(part) for part in asdict(self.estimate).values())
        return (self.experiment, size, tokens, *parts, readable(self.estimate.total), card)

    @property
    def data(self) -> dict[str, Any]:
        """The same for `--json`, in bytes."""
        known = {
            "gpus": self.load.processes,
            "tokens_per_pass": self.load.tokens,
            "gpu_memory": self.card.memory,
            "gpu_memory_from": self.card.source,
        }
        if isinstance(self.estimate, str):
            return {**known, "estimate": None, "unknown": self.estimate}
        return {**known, "estimate": {**asdict(self.estimate), "total": self.estimate.total}}


def forecasts(plans: Iterable[Plan], with_slurm: bool) -> list[Forecast]:
    """One for each training on GPUs that is due. Asks Slurm once for each partition, and no network."""
    return [
        _forecast(plan, plan.config.training, with_slurm)
        for plan in plans
        if plan.action == "run"
        and plan.stage == "training"
        and plan.config.training
        and plan.config.slurm.training.gpus
    ]


def show(found: Sequence[Forecast], answer: Answer) -> None:
    """Add the table, and a warning for each training that does not fit."""
    answer.data["memory"] = {one.experiment: one.data for one in found}
    warn(found, answer)
    if found:
        title = "Memory of each GPU (estimate)"
        answer.lines.append(Grid((*_HEADER, "GPU"), [one.row for one in found], title, range(1, len(_HEADER) + 1)))
        unknown = {one.card.source for one in found if one.card.memory is None}
        answer.lines += [f"not compared: {why}" for why in sorted(unknown)]


def warn(found: Iterable[Forecast], answer: Answer) -> None:
    """Add a warning for each training that does not fit."""
    answer.warnings += [one.warning for one in found if one.warning]


def _forecast(plan: Plan, params: TrainingParams, with_slurm: bool) -> Forecast:
    config, resources = plan.config, plan.config.slurm.training
    processes = resources.gpus * (resources.nodes if with_slurm else 1)
    card = card_of(resources, with_slurm)
    tokens, accumulation = tokens_per_pass(params, config.model.max_length, processes, config.reference_gpus)
    load = Load(processes, tokens, accumulation, card.memory)
    shape = _shape(config.model)
    estimate = shape if isinstance(shape, str) else estimate_memory(shape, params, load)
    return Forecast(plan.experiment, load, estimate, card, params)


@cache
def _shape(model: ModelEntry) -> ModelShape | str:
    try:
        return read_shape(resolve(model, "model"))
    except (MissingError, UsageError) as error:
        return f"unknown: {error}"
