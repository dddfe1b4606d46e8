"""The training curve of one experiment as an SVG file, from the log that the training wrote."""

from __future__ import annotations

from pathlib import Path

from plotting.training_logs import read_log
from registry.errors import StageFailure
from registry.figure_style import PALETTE, RC


def curve_of(experiment: str) -> str:
    """Where the curve of an experiment is, below the report's folder."""
    return f"figures/curves/{experiment}.svg"


def draw_curve(log: Path, out: Path) -> str:
    """Write the curve; return what it is of, or nothing where the log holds no values, or is no log."""
    try:
        quantity, *parts = read_log(log)
    except StageFailure:  # the figure of all trainings says so
        return ""
    lines = [one for one in zip(("training", "validation"), parts, PALETTE, ("", "o"), strict=False) if one[1]]
    if not lines:
        return ""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # One size and place for all of them: to measure the text of each would take longer than to draw it.
    with rc_context({**RC, "svg.hashsalt": "meds1", "savefig.bbox": "standard"}):
        figure = Figure(figsize=(6.4, 2.8))
        axes = figure.add_axes((0.1, 0.17, 0.88, 0.79))
        for label, points, color, marker in lines:
            steps, values = [point.step for point in points], [point.value for point in points]
            axes.plot(steps, values, color=color, marker=marker, label=label)
        axes.set(xlabel="step", ylabel=quantity)
        axes.legend()
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return quantity
