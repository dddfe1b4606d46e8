"""Reasoning-style impact: scores by the style that the reasoning was rewritten in, beside the reasoning as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plotting.families import Family, shown
from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import add_title, inches_of
from plotting.figures.varied import (
    MEASURED,
    Line,
    Varied,
    Wanted,
    add_legend,
    base_handles,
    caption,
    dodged,
    draw_levels,
    line_handles,
    values_of,
    varied,
)
from plotting.runs import Run
from registry.json_path import ABSENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("family", "style", "experiment", "label", *MEASURED)
FULL, NOT_TRAINED = "full reasoning", "not trained"
_EXTRACT = "curation.extract"
_LACK = "no other scored experiment differs from it in nothing but curation.extract"
_NEED = "the impact of reasoning styles needs two scored experiments that differ in nothing but curation.extract"
_PANEL_INCHES = 2.6


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when there is nothing to draw."""
    drawn = varied(request, Wanted((_EXTRACT,), lambda family: len(set(_styles(family))) > 1, _LACK, _NEED))
    order = _ordered(drawn)
    row = style.ROW_INCHES * max(1.0, 0.6 * len(drawn.lines))
    size = (_PANEL_INCHES, 0.55 + row * len(order))
    figure, panels = style.make_panels(len(drawn.benchmarks), size, inches_of(order), sharex=True, sharey=True)
    held = []
    for panel, benchmark in zip(panels, drawn.benchmarks, strict=True):
        add_title(panel, drawn.title(benchmark, request.display), _PANEL_INCHES)
        held += _draw(panel, drawn, benchmark, order)
    style.fit_scale(panels[0], drawn.what.metric, held)
    style.name_rows(panels, order, range(len(order)))
    several = line_handles(drawn, linestyle="none") if len(drawn.lines) > 1 else []
    add_legend(figure, [*several, *base_handles(drawn)])
    title = style.axis_title(drawn.what.metric)
    full = f"; coloured line: {FULL}" if FULL in order else ""
    style.add_caption(figure, f"{title} with 95 % interval{full}", *caption(drawn))
    return Sketch(figure, HEADER, _numbers(drawn, order), drawn.lacking)


def _style(values: Any) -> str:
    extract = values.get(_EXTRACT, ABSENT)
    if extract is None or extract is ABSENT:
        return FULL
    return "no reasoning (none)" if extract == ["none"] else shown(extract)


def _styles(family: Family) -> list[str]:
    return [_style(member.values) for member in family.members]


def _runs(line: Line, name: str) -> list[Run]:
    return [member.run for member in line.family.members if _style(member.values) == name]


def _ordered(drawn: Varied) -> list[str]:
    """The styles, the full reasoning first and then the best, as the largest family has it."""
    lines = sorted(drawn.lines, key=lambda line: -len(set(_styles(line.family))))
    sign = 1 if drawn.what.metric.better == "lower" else -1
    order: dict[str, None] = {}
    for line in lines:
        means = {name: _mean(drawn, _runs(line, name)) for name in dict.fromkeys(_styles(line.family))}
        order |= dict.fromkeys(sorted(means, key=lambda name: (name != FULL, sign * means[name], name)))
    return sorted(order, key=lambda name: name != FULL)


def _mean(drawn: Varied, runs: Sequence[Run]) -> float:
    values = [m.value for run in runs for name in drawn.benchmarks if (m := drawn.measure(run, name)) is not None]
    return sum(values) / len(values)


def _draw(panel: Axes, drawn: Varied, benchmark: str, order: Sequence[str]) -> list[float]:
    """Draw a panel; return what the scale must hold."""
    metric = drawn.what.metric
    held = draw_levels(panel, drawn, benchmark, drawn.bases, along="x")
    for number, line in enumerate(drawn.lines):
        shift = dodged(number, len(drawn.lines), 0.8 / len(drawn.lines))
        for height, name in enumerate(order):
            for run in _runs(line, name):
                measure = drawn.measure(run, benchmark)
                if measure is None:
                    continue
                hollow = not run.scored.comparable
                style.draw_measure(panel, height + shift, measure, metric, line.look, hollow=hollow)
                if name == FULL:
                    panel.axvline(style.shown(metric, measure.value), color=line.look.color, linewidth=0.8, alpha=0.6)
                held += values_of([measure], drawn)
    return held


def _numbers(drawn: Varied, order: Sequence[str]) -> Sequence[Sequence[object]]:
    rows: list[Sequence[object]] = []
    for benchmark in drawn.benchmarks:
        for line in drawn.lines:
            for name in order:
                for run in _runs(line, name):
                    if numbers := drawn.numbers(run, benchmark):
                        rows.append((line.label, name, run.experiment, run.label, *numbers))
        for run in drawn.bases:
            if numbers := drawn.numbers(run, benchmark):
                rows.append(("", NOT_TRAINED, run.experiment, run.label, *numbers))
    return rows
