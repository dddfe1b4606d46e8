"""The training curve of one experiment as an SVG file, from the log that the training wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry.figure_style import PALETTE, RC

_TRAIN, _VALIDATION = "loss", "eval_loss"


def curve_of(experiment: str) -> str:
    """Where the curve of an experiment is, below the report's folder."""
    return f"figures/curves/{experiment}.svg"


def draw_curve(log: Path, out: Path) -> bool:
    """Write loss and validation loss by step; False where the log holds no loss, or is no log."""
    points = _points(log)
    if not points:
        return False
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # One size and place for all of them: to measure the text of each would take longer than to draw it.
    with rc_context({**RC, "svg.hashsalt": "meds1", "savefig.bbox": "standard"}):
        figure = Figure(figsize=(6.4, 2.8))
        axes = figure.add_axes((0.1, 0.17, 0.88, 0.79))
        for (label, found), color, marker in zip(points.items(), PALETTE, ("", "o"), strict=False):
            axes.plot(*zip(*found, strict=True), color=color, marker=marker, label=label)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.legend(frameon=False)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return True


def _points(log: Path) -> dict[str, list[tuple[int, float]]]:
    from pyarrow import ArrowInvalid, parquet

    try:
        table = parquet.read_table(log)
    except (ArrowInvalid, OSError):
        return {}
    columns: dict[str, list[Any]] = {name: table[name].to_pylist() for name in table.column_names}
    found = {}
    for name, label in ((_TRAIN, "training"), (_VALIDATION, "validation")):
        pairs = zip(columns.get("step", []), columns.get(name, []), strict=False)
        points = [(step, value) for step, value in pairs if value is not None]
        if points:
            found[label] = points
    return found
