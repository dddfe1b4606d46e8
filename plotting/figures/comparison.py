"""The comparison figure: one panel per benchmark, one dot with its 95 % interval per experiment.

The panels share their scale, which spans the data: whiskers of a few percent must be seen. What is stale or limited is
drawn hollow, below the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plotting.figures.kinds import Request, Sketch
from plotting.figures.style import FADED, MARKERS, PALETTE, RC
from plotting.leaderboard import ranked
from plotting.scores import Row, benchmark_title, benchmarks_of
from registry.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADER = ("experiment", "label", "benchmark", "accuracy", "low", "high", "correct", "total", "status", "remark")
_ROW_INCHES = 0.22
_PANEL_INCHES = 2.4
_TALL = 25


@dataclass(frozen=True)
class _Look:
    """A group's colour and marker."""

    color: str
    marker: str


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when there is nothing to draw."""
    rows = [run.row for run in request.runs if run.row is not None]
    if not rows:
        raise MissingError("no experiment has an eval result to compare; run `meds1 run NAME` first")
    # The non-interactive canvas: a login node has no display.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    sources, order = benchmarks_of(rows), ranked(rows)
    looks = _looks(rows)
    with rc_context(RC):
        size = (2.2 + _PANEL_INCHES * len(sources), 1.2 + _ROW_INCHES * len(order))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(sources), sharex=True, sharey=True, squeeze=False)[0]
        for panel, source in zip(panels, sources, strict=True):
            _panel(panel, order, source, looks)
            panel.set_title(benchmark_title(rows, source, request.display), fontsize=9)
        _axes(panels[0], order)
        figure.supxlabel(_caption(order), fontsize=9)
        if set(looks) != {None}:
            _legend(figure, looks)
        lacking = {run.experiment: run.why_unscored for run in request.runs if run.why_unscored is not None}
        return Sketch(figure, HEADER, _numbers(order, sources), lacking)


def _looks(rows: list[Row]) -> dict[str | None, _Look]:
    """A look for each group, by name, so that it does not change with the scores; combinations repeat after 36."""
    names = sorted({row.group for row in rows}, key=lambda name: (name is None, name or ""))
    return {
        name: _Look(PALETTE[i % len(PALETTE)], MARKERS[(i + i // len(PALETTE)) % len(MARKERS)])
        for i, name in enumerate(names)
    }


def _panel(panel: Axes, rows: list[Row], source: str, looks: Mapping[str | None, _Look]) -> None:
    for height, row in enumerate(rows):
        score = row.scores.get(source)
        if score is None:
            panel.text(0.02, height, "no result", transform=panel.get_yaxis_transform(), va="center", **FADED)
            continue
        look = looks[row.group]
        color = row.color or look.color
        middle = 100 * score.accuracy
        panel.errorbar(
            middle,
            height,
            xerr=[[middle - 100 * score.low], [100 * score.high - middle]],
            fmt=look.marker,
            color=color,
            markerfacecolor=color if row.comparable else "white",
        )


def _axes(first: Axes, rows: list[Row]) -> None:
    """The scales, which all panels share with the first."""
    scores = [score for row in rows for score in row.scores.values()]
    low = 10 * math.floor(10 * min(score.low for score in scores))
    high = 10 * math.ceil(10 * max(score.high for score in scores))
    first.set_xlim(low - 1, max(high, low + 10) + 1)  # room for a dot at 0 or 100
    first.set_ylim(len(rows) - 0.5, -0.5)
    first.set_yticks(range(len(rows)), [row.label + ("" if row.comparable else " *") for row in rows])
    if len(rows) > _TALL:
        for panel in first.figure.axes:
            panel.tick_params(top=True, labeltop=True)


def _caption(rows: list[Row]) -> str:
    caption = "accuracy (%) with 95 % interval"
    if all(row.comparable for row in rows):
        return caption
    return f"{caption}\n* hollow: stale, limited or running again, see the remark in the CSV"


def _legend(figure: Figure, looks: Mapping[str | None, _Look]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker=look.marker, color=look.color, label=name or "other")
        for name, look in looks.items()
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), 2 * len(figure.axes) + 1), frameon=False
    )


def _numbers(rows: list[Row], sources: list[str]) -> list[tuple[object, ...]]:
    return [
        (row.experiment, row.label, source, s.accuracy, s.low, s.high, s.correct, s.total, row.status, row.remark)
        for row in rows
        for source in sources
        if (s := row.scores.get(source)) is not None
    ]
