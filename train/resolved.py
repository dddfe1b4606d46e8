"""Every value that a training runs with: what is printed when it starts, and recorded with its result."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from registry.training_memory import VLLM_SHARE
from train.arguments import save_steps
from train.grpo_task import LOSS, SCALE, GrpoTask
from train.hardware import gpu_memory, optimizer_name, precision
from train.memory import memory_of, recorded
from train.task import Task


def resolved(task: Task | GrpoTask) -> dict[str, Any]:
    """The config's fields with what was made of them, as JSON values."""
    return {
        **task.params.model_dump(mode="json"),
        "plan": asdict(task.plan),
        "steps": task.steps,
        "warmup_steps": task.params.warmup_steps(task.steps),
        "save_steps": save_steps(task),
        "attention": task.attention,
        "precision": precision(),
        "optimizer_implementation": optimizer_name(),
        "sharding": "FSDP2" if task.plan.world_size > 1 else None,
        "memory_estimate": recorded(memory_of(task, gpu_memory())),
        "parameters": task.parameters.total,
        "parameters_trained": task.parameters.trained,
        **(_of_completions(task) if isinstance(task, GrpoTask) else _of_rows(task)),
    }


def _of_rows(task: Task) -> dict[str, Any]:
    return {
        "max_length": task.limit.max_length,
        "packing": task.pack_tokens is not None,
        "pack_tokens": task.pack_tokens,
        "forward_passes_per_step": task.layout.accumulation,
        "loss": "nll",  # with TRL's fused output layer, on any hardware
    }


def _of_completions(task: GrpoTask) -> dict[str, Any]:
    return {
        "max_length": task.max_length,
        "questions_per_step": task.plan.global_batch // task.grpo.num_generations,
        "generation": task.generation,
        "loss": LOSS,
        "scale_rewards": SCALE,
        "vllm_memory": VLLM_SHARE if task.generation == "vllm" else None,
    }
