"""The loss curve: training and validation over the optimizer steps, or the reward where a training has one."""

from __future__ import annotations

import io
from pathlib import Path

from registry.durable import write_durably
from train.log import History, steps_of, validations_of


def draw_curve(history: History, title: str, path: Path) -> None:
    """Draw the curve as PNG, in one step. Losses in nats, as `train.measures` has them."""
    from matplotlib.figure import Figure

    steps, validations = steps_of(history), validations_of(history)
    name, unit = ("reward", "reward") if any("reward" in step for step in steps) else ("loss", "loss (nats per token)")
    figure = Figure(figsize=(7.0, 4.0), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    at, values = _points(steps, name)
    axes.plot(at, values, label="training", color="#0072B2", linewidth=1.2, marker="." if len(at) < 50 else "")
    at, values = _points(validations, f"eval_{name}")
    if at:
        axes.plot(at, values, label="validation", color="#D55E00", linewidth=1.6, marker="o")
    axes.set(xlabel="optimizer step", ylabel=unit)
    axes.set_title(title, parse_math=False)  # a name may hold a dollar sign
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_durably(path, content.getvalue())


def _points(entries: History, name: str) -> tuple[list[int], list[float]]:
    shown = [entry for entry in entries if name in entry]
    return [entry["step"] for entry in shown], [entry[name] for entry in shown]
