"""What is recorded of a GRPO training beside what every training has: rewards, the completions' lengths."""

from __future__ import annotations

import logging
from typing import Any

from train.grpo_task import GrpoTask
from train.log import History, steps_of
from train.measures import metrics_of_any_method
from train.resolved import resolved

log = logging.getLogger(__name__)
WINDOW = 0.1  # one step's reward is of few questions, so that rewards are means over this part of all steps


def grpo_metrics(task: GrpoTask, trainer: Any) -> dict[str, Any]:
    """The metrics of a completed training. Collective: every rank calls it.

    A step's values are means over all of its completions.
    """
    history, by_vllm = steps_of(trainer.state.log_history), task.generation == "vllm"
    return {
        **metrics_of_any_method(trainer, task.plan),
        "best_train_loss": None,  # it falls and rises around 0 while the rewards rise
        "reward": course(history, "reward"),
        "rewards": {name: course(history, f"rewards/{name}/mean") for name in task.rewards},
        "completion_tokens_mean": course(history, "completions/mean_length"),
        "completions_clipped": course(history, "completions/clipped_ratio"),
        "groups_without_difference": course(history, "frac_reward_zero_std"),
        "kl": course(history, "kl") if task.grpo.beta > 0 else None,
        "entropy": course(history, "entropy"),
        # How far vLLM's log-probabilities of its own tokens are from those of the model that is trained.
        "sampling_difference": course(history, "sampling/sampling_logp_difference/mean") if by_vllm else None,
        "completions": task.steps * task.plan.global_batch,
        "mfu": None,  # generation is no part of the formula
        "rows": task.questions.rows,
        "rows_dropped": sum(task.questions.dropped.values()),
        "rows_dropped_by_reason": dict(task.questions.dropped),
        "warnings": _warnings(task, history),
        "resolved": resolved(task),
    }


def _warnings(task: GrpoTask, history: History) -> list[str]:
    if any(entry["frac_reward_zero_std"] < 1.0 for entry in history):
        return []
    warning = (
        "the completions of no question differed in their reward, so nothing was learned; look at grpo.rewards, raise "
        "grpo.temperature or num_generations, or choose questions that are neither too easy nor too hard"
    )
    log.warning("%s: %s", task.experiment, warning)
    return [warning]


def course(history: History, name: str) -> dict[str, float]:
    """The mean of a logged value over the first and over the last tenth of the steps, and the highest such mean."""
    values = [float(entry[name]) for entry in history]
    width = max(1, round(WINDOW * len(values)))
    means = [sum(values[start : start + width]) / width for start in range(len(values) - width + 1)]
    return {"first": means[0], "last": means[-1], "highest": max(means)}
