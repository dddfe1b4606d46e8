"""When the validation rows are looked at, which look was the best, and when it is time to stop. Pure functions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from registry.training_schema import EarlyStoppingConfig, TrainingParams
from train.checkpoints import TRAINER_STATE, Checkpoint

Metric = Literal["loss", "token_accuracy"]
LOGGED: dict[Metric, str] = {"loss": "eval_loss", "token_accuracy": "eval_mean_token_accuracy"}


@dataclass(frozen=True, slots=True)
class Validated:
    """What a validation after `step` optimizer steps gave: a loss in nats, or a share of tokens."""

    step: int
    value: float


def evaluation_steps(steps: int, per_epoch: int, evaluations: int) -> frozenset[int]:
    """The steps after which the validation is taken: `evaluations` in each epoch of `per_epoch` steps, and the last."""
    if not evaluations:
        return frozenset({steps})
    each = (math.ceil(number * per_epoch / evaluations) for number in range(1, steps * evaluations // per_epoch + 1))
    return frozenset({*each, steps})


def validated(history: Sequence[Mapping[str, Any]], metric: Metric) -> list[Validated]:
    """The validations in the trainer's log history."""
    name = LOGGED[metric]
    return [Validated(entry["step"], entry[name]) for entry in history if name in entry]


def best(taken: Sequence[Validated], metric: Metric) -> Validated | None:
    """The first of the best; None when none is a number."""
    numbers = [point for point in taken if not math.isnan(point.value)]
    return max(numbers, key=lambda point: _score(point, metric), default=None)


def out_of_patience(taken: Sequence[Validated], metric: Metric, early: EarlyStoppingConfig) -> bool:
    """Whether the last `patience` validations have each not bettered the best before them by more than `threshold`."""
    highest, waited = -math.inf, 0
    for point in taken:
        gain = _score(point, metric) - highest
        waited = 0 if gain > early.threshold else waited + 1
        if gain > 0:
            highest = _score(point, metric)
    return waited >= early.patience


def put_off(start: Checkpoint | None, steps: frozenset[int]) -> bool:
    """Whether a stop came between a step of `steps` and its validation, which is then owed before the next step."""
    if start is None or start.step not in steps:
        return False
    history = json.loads((start.path / TRAINER_STATE).read_text(encoding="utf-8"))["log_history"]
    return all(point.step != start.step for point in validated(history, "loss"))


def verdict(params: TrainingParams, steps: int, history: Sequence[Mapping[str, Any]], last: int) -> dict[str, Any]:
    """For the metrics: the best validation, the step whose weights are kept, and the one where patience ended.

    `steps` were planned, `last` is the last that was trained.
    """
    highest = best(validated(history, params.metric), params.metric)
    return {
        "best_step": highest.step if highest else None,
        "best_validation": highest.value if highest else None,
        "kept_step": highest.step if highest and params.keeps_best else last,
        "stopped_early": last if last < steps else None,
    }


def _score(point: Validated, metric: Metric) -> float:
    return point.value if metric == "token_accuracy" else -point.value
