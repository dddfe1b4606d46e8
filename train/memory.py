"""The memory estimate of a training that is about to start, when its rows and its GPUs are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import UsageError
from registry.model_shape import read_shape
from registry.training_memory import Load, MemoryEstimate, estimate_memory, shortage
from train.hardware import gpu_memory

if TYPE_CHECKING:
    from train.task import Task


def memory_of(task: Task, gpu: int | None) -> MemoryEstimate | None:
    """Estimate for a GPU of so many bytes; null without one, and for a model whose shape nobody can tell."""
    if gpu is None:
        return None
    try:
        shape = read_shape(task.model_path)
    except UsageError:
        return None
    load = Load(task.plan.world_size, task.longest_pass, task.layout.accumulation, gpu)
    return estimate_memory(shape, task.params, load)


def memory_warning(task: Task) -> str | None:
    """A line for a training that will not fit on this process's GPU."""
    gpu = gpu_memory()
    estimate = memory_of(task, gpu)
    return shortage(estimate, gpu, task.params) if estimate and gpu else None
