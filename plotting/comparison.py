"""The comparison figure: one panel per benchmark, one dot with its 95 % interval per experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from plotting.leaderboard import ranked
from plotting.scores import Row, benchmarks_of
from plotting.style import MARKERS, PALETTE, RC, save
from registry.catalog import Display
from registry.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("experiment", "label", "benchmark", "accuracy", "low", "high", "correct", "total", "status", "remark")
_ROW_INCHES = 0.28
_PANEL_INCHES = 3.2


def draw(rows: list[Row], display: Display, stem: Path) -> list[Path]:
    """Draw the figure and write PNG, PDF and CSV beside each other; `MissingError` when there is nothing to draw."""
    if not rows:
        raise MissingError("no experiment has an eval result to compare; run `meds1 run NAME` first")
    # The non-interactive canvas: a login node has no display.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    sources, order = benchmarks_of(rows), ranked(rows)
    with rc_context(RC):
        figure = Figure(figsize=(1.6 + _PANEL_INCHES * len(sources), 1.3 + _ROW_INCHES * len(order)))
        panels = figure.subplots(1, len(sources), sharey=True, squeeze=False)[0]
        for panel, source in zip(panels, sources, strict=True):
            _panel(panel, order, source, display)
        panels[0].set_yticks(range(len(order)), [row.label + (" *" if row.remark else "") for row in order])
        panels[0].invert_yaxis()
        if any(row.remark for row in order):
            figure.text(0.01, -0.02, "* stale or limited: see the table", fontsize=8)
        return save(figure, stem, HEADER, _numbers(order, sources))


def _panel(panel: Axes, rows: list[Row], source: str, display: Display) -> None:
    groups = list(dict.fromkeys(row.group for row in rows))
    for height, row in enumerate(rows):
        score = row.scores.get(source)
        if score is None:
            panel.text(1, height, "no result", va="center", fontsize=7, color="0.5")
            continue
        index = groups.index(row.group) % len(PALETTE)
        middle = 100 * score.accuracy
        panel.errorbar(
            middle,
            height,
            xerr=[[middle - 100 * score.low], [100 * score.high - middle]],
            fmt=MARKERS[index],
            color=row.color or PALETTE[index],
            capsize=3,
        )
    totals = sorted({row.scores[source].total for row in rows if source in row.scores})
    shown = str(totals[0]) if len(totals) == 1 else f"{totals[0]}-{totals[-1]}"
    panel.set_title(f"{display.benchmarks.get(source, source)} (n={shown})", fontsize=9)
    panel.set_xlabel("accuracy (%), 95 % interval")
    panel.set_xlim(0, 100)


def _numbers(rows: list[Row], sources: list[str]) -> list[tuple[object, ...]]:
    return [
        (row.experiment, row.label, source, s.accuracy, s.low, s.high, s.correct, s.total, row.status, row.remark)
        for row in rows
        for source in sources
        if (s := row.scores.get(source)) is not None
    ]
