"""The memory estimate of a training that is about to start, when its rows and its GPUs are known."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from registry.errors import UsageError
from registry.model_shape import read_shape
from registry.training_memory import MemoryEstimate, estimate_memory, shortage
from train.hardware import gpu_memory

if TYPE_CHECKING:
    from train.method import AnyTask


def memory_of(task: AnyTask, gpu: int | None) -> MemoryEstimate | None:
    """Estimate for a GPU of so many bytes; null without one, and for a model whose shape nobody can tell."""
    if gpu is None:
        return None
    try:
        shape = read_shape(task.model_path)
    except UsageError:
        return None
    return estimate_memory(shape, task.params, task.load(gpu))


def recorded(estimate: MemoryEstimate | None) -> dict[str, int | None] | None:
    """The estimate as a result holds it."""
    return {**asdict(estimate), "total": estimate.total} if estimate else None


def memory_warning(task: AnyTask) -> str | None:
    """A line for a training that will not fit on this process's GPU."""
    gpu = gpu_memory()
    estimate = memory_of(task, gpu)
    return shortage(estimate, gpu, task.params) if estimate and gpu else None
