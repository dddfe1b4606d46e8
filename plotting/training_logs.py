"""The course of a training: from its log where that is on this machine, else the validations that its result holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from plotting.runs import Run
from registry.errors import MissingError, StageFailure, naming
from registry.original.case import number

Quantity = Literal["loss", "reward"]
COLUMNS: dict[Quantity, tuple[str, str]] = {"loss": ("loss", "eval_loss"), "reward": ("reward", "eval_reward")}
"""What a log calls a quantity in training and in validation."""


@dataclass(frozen=True)
class Point:
    """A value after an optimizer step; a loss in nats per token."""

    step: int
    value: float


@dataclass(frozen=True)
class Course:
    """What a run optimised, in training (empty where its log is not here) and in validation."""

    run: Run
    quantity: Quantity
    training: Sequence[Point]
    validation: Sequence[Point]


def course_of(run: Run) -> Course:
    """Read it; `MissingError` without a training result, or where that has neither a log here nor validations."""
    if run.completed("training") is None:
        if run.config is not None and run.config.training is None:
            raise MissingError(f"{run.experiment}: has no training")
        raise MissingError(f"{run.experiment}: has no training result; run `meds1 run {run.experiment}`")
    log = run.file("training", "log_path")
    if log is not None:
        return _of_log(run, log)
    points = validations_of(run.metrics("training"))
    if not points or run.metrics("training").get("reward") is not None:
        run.needed("training", "log_path")
    return Course(run, "loss", (), points)


def validations_of(metrics: Mapping[str, Any]) -> list[Point]:
    """The validation losses that a training's metrics hold."""
    listed = metrics.get("validation_losses")
    entries = [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
    found = [(number(entry.get("step")), number(entry.get("loss"))) for entry in entries]
    return [Point(int(step), loss) for step, loss in found if step is not None and loss is not None]


def read_log(path: Path) -> tuple[Quantity, list[Point], list[Point]]:
    """What a log is of, in training and in validation; `StageFailure` for a file that is no log."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table: Mapping[str, Sequence[Any]] = pq.read_table(path).to_pydict()
        steps = table["step"]
    except (OSError, pa.ArrowException, KeyError) as error:
        reason = "it has no steps" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise StageFailure(f"{path} is no log of a training: {reason}; copy it anew") from None
    quantity: Quantity = "reward" if "reward" in table else "loss"
    training, validation = (_points(steps, table.get(name, ())) for name in COLUMNS[quantity])
    return quantity, training, validation


def _of_log(run: Run, path: Path) -> Course:
    with naming(run.experiment):
        return Course(run, *read_log(path))


def _points(steps: Sequence[int], values: Sequence[float | None]) -> list[Point]:
    return [Point(step, value) for step, value in zip(steps, values, strict=False) if value is not None]
