"""Test-time scaling: a metric by the mean tokens of reasoning, a line over an experiment's budgets of thinking.

An experiment with a single budget is one dot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import add_title
from plotting.figures.naming import name_points
from plotting.figures.selecting import Scored, nothing_to_draw, scored
from plotting.figures.style import Look
from plotting.metrics import Measure, measures_by_budget
from plotting.runs import Run
from plotting.scores import Score
from registry.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEASURE = ("metric", "value", "low", "high", "n")
HEADER = ("experiment", "label", "group", "benchmark", "budget", "mean_reasoning_tokens", *_MEASURE, "status", "remark")
_PANEL = (3.5, 2.7)
_SEVERAL = 12
"""Experiments that a legend can name each; more of them are named by group."""


@dataclass(frozen=True)
class _Point:
    """What a run has at one budget of thinking (null: it has none) on a benchmark."""

    budget: int | None
    tokens: float
    measure: Measure


_Lines = Mapping[str, Mapping[str, list[_Point]]]  # by benchmark and experiment


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when no result says how many tokens the reasoning took."""
    what = scored(request)
    lines = {
        benchmark: {
            run.experiment: points
            for run in what.runs
            if benchmark in run.scored.scores and (points := _points(run.scored.scores[benchmark], what.metric.name))
        }
        for benchmark in what.benchmarks
    }
    drawn = [run for run in what.runs if any(run.experiment in found for found in lines.values())]
    for run in what.runs:
        if run not in drawn:
            what.lacking[run.experiment] = MissingError(
                f"{run.experiment}: its answers have no tokens of reasoning; choose experiments that reason"
            )
    if not drawn:
        raise nothing_to_draw(what.lacking, f"no experiment has {what.metric.name} with tokens of reasoning")
    return _drawn(request, what, drawn, {name: found for name, found in lines.items() if found})


def _drawn(request: Request, what: Scored, drawn: list[Run], lines: _Lines) -> Sketch:
    figure, panels = style.make_panels(len(lines), _PANEL, sharex=True, sharey=True)
    by_name = len(drawn) <= _SEVERAL
    looks = style.experiment_looks(request.display, drawn) if by_name else style.group_looks(request.display, drawn)
    for panel, (benchmark, found) in zip(panels, lines.items(), strict=True):
        add_title(panel, what.title(benchmark, request.display), _PANEL[0])
        chance = what.chance(benchmark)
        if chance is not None:
            style.draw_chance(panel, chance, along="y")
        for run in drawn:
            if run.experiment in found:
                _draw(panel, found[run.experiment], what, run, looks[run.experiment])
    points = [point for found in lines.values() for line in found.values() for point in line]
    style.count_in_powers(panels[0], [point.tokens for point in points])
    style.fit_scale(panels[0], what.metric, [*_values(what, points), *_chances(what)], along="y")
    if by_name:
        style.add_legend(figure, [(run.label, looks[run.experiment]) for run in drawn])
    else:
        style.add_group_legend(figure, style.looks_of(request.display), [run.group for run in drawn])
    figure.supylabel(style.axis_title(what.metric), fontsize=9)
    style.add_caption(
        figure,
        "mean tokens of reasoning per answer; lines join the budgets of thinking of one experiment",
        style.CHANCE if _chances(what) else "",
        style.HOLLOW if any(not run.scored.comparable for run in drawn) else "",
    )
    if not by_name:
        ends = [_ends(what, found, drawn) for found in lines.values()]
        name_points(figure, dict(zip(panels, ends, strict=True)))
    return Sketch(figure, HEADER, _numbers(what, drawn, lines), what.lacking)


def _points(score: Score, metric: str) -> list[_Point]:
    """The points of a benchmark in order of the budget; those without tokens of reasoning have no place."""
    by_budget = measures_by_budget(score.numbers)
    sets: list[tuple[int | None, dict[str, Measure]]] = [*by_budget.items()] or [(None, score.measures())]
    found = [
        _Point(budget, values["mean_reasoning_tokens"].value, values[metric])
        for budget, values in sets
        if metric in values and "mean_reasoning_tokens" in values
    ]
    return [point for point in found if point.tokens > 0]


def _draw(panel: Axes, points: list[_Point], what: Scored, run: Run, look: Look) -> None:
    values = [style.shown(what.metric, point.measure.value) for point in points]
    panel.plot([point.tokens for point in points], values, color=look.color, alpha=0.7)
    for point in points:
        hollow = not run.scored.comparable
        look = replace(look, pale=len(what.runs) > _SEVERAL and len(points) == 1)
        style.draw_measure(panel, point.tokens, point.measure, what.metric, look, hollow=hollow, along="y")


def _ends(what: Scored, found: Mapping[str, list[_Point]], drawn: list[Run]) -> list[tuple[str, tuple[float, float]]]:
    """The experiments of lines, and where these end."""
    lines = [(run.label, found[run.experiment][-1]) for run in drawn if len(found.get(run.experiment, ())) > 1]
    return [(label, (point.tokens, style.shown(what.metric, point.measure.value))) for label, point in lines]


def _values(what: Scored, points: list[_Point]) -> list[float]:
    found = [value for point in points for value in (point.measure.value, point.measure.low, point.measure.high)]
    return [style.shown(what.metric, value) for value in found if value is not None]


def _chances(what: Scored) -> list[float]:
    return [100 * chance for name in what.benchmarks if (chance := what.chance(name)) is not None]


def _numbers(what: Scored, drawn: list[Run], lines: _Lines) -> list[tuple[object, ...]]:
    return [
        (
            *(run.experiment, run.label, run.group, benchmark, point.budget, point.tokens),
            *(what.metric.name, point.measure.value, point.measure.low, point.measure.high, point.measure.n),
            *(run.scored.status, run.scored.remark),
        )
        for run in drawn
        for benchmark, found in lines.items()
        for point in found.get(run.experiment, ())
    ]
