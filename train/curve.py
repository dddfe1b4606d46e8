"""The loss curve: training and validation over the optimizer steps, or the reward where a training has one."""

from __future__ import annotations

import io
from pathlib import Path

from registry.durable import write_durably
from registry.figure_style import PALETTE, RC
from train.log import History, steps_of, validations_of


def draw_curve(history: History, title: str, path: Path) -> None:
    """Draw the curve as PNG, in one step. Losses in nats, as `train.measures` has them."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    steps, validations = steps_of(history), validations_of(history)
    name, unit = ("reward", "reward") if any("reward" in step for step in steps) else ("loss", "loss (nats per token)")
    with rc_context(RC):
        figure = Figure(figsize=(7.0, 4.0), layout="constrained")
        axes = figure.add_subplot()
        at, values = _points(steps, name)
        axes.plot(at, values, label="training", color=PALETTE[0], marker="." if len(at) < 50 else "")
        at, values = _points(validations, f"eval_{name}")
        if at:
            axes.plot(at, values, label="validation", color=PALETTE[1], linewidth=1.6, marker="o")
        axes.set(xlabel="optimizer step", ylabel=unit, title=title)
        axes.legend()
        content = io.BytesIO()
        figure.savefig(content, format="png")
    write_durably(path, content.getvalue())


def _points(entries: History, name: str) -> tuple[list[int], list[float]]:
    shown = [entry for entry in entries if name in entry]
    return [entry["step"] for entry in shown], [entry[name] for entry in shown]
