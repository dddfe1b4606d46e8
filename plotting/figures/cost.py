"""Cost against a metric: the GPU hours of training and the dollars of model calls that an experiment took to make.

Experiments that none beats at equal or lower cost, on the Pareto front, are joined and named. The front is of those
that were asked as most were; others are drawn beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import add_title
from plotting.figures.naming import name_points
from plotting.figures.selecting import Scored, scored
from plotting.metrics import Measure
from plotting.runs import Run
from registry.errors import MissingError, listed
from registry.original.case import number
from registry.schema import Stage

_MEASURE = ("metric", "value", "low", "high", "n", "on_front", "not_ranked")
HEADER = ("experiment", "label", "group", "benchmark", "cost", "cost_unit", *_MEASURE, "status", "remark")
_PANEL = (3.5, 2.7)
_CROWD = 12
_MAKING: tuple[Stage, ...] = ("curation", "training")


@dataclass(frozen=True, eq=False)
class _Cost:
    """What an experiment took to make, by its name, in a unit."""

    unit: str
    title: str
    of: Mapping[str, float]


@dataclass(frozen=True)
class _Point:
    """A run in a panel, whether it is on the front there, and what keeps it from being ranked with most others."""

    run: Run
    cost: float
    measure: Measure
    on_front: bool
    not_ranked: str | None


def gpu_hours(run: Run) -> float | None:
    """GPU hours of its training, of all attempts; 0 without one, null where its result does not say."""
    if run.config is not None and not run.config.applies("training"):
        return 0.0
    return number(run.metrics("training").get("gpu_hours"))


def dollars(run: Run, sources: Mapping[str, Run]) -> float | None:
    """What the model calls of its curation and training have cost; those of a reused result, at its source.

    Null where one has an unknown price, or a result is of another program, which records no calls, or its source is
    none of `sources`, by name.
    """
    costs = [_spent(stage, entry, sources) for stage in _MAKING if (entry := run.completed(stage))]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _spent(stage: Stage, entry: Mapping[str, Any], sources: Mapping[str, Run]) -> float | None:
    fingerprint, source = entry.get("fingerprint"), entry.get("reused_from")
    if fingerprint is None:
        return None
    if source:  # a result that is reused says nothing of what it took to make
        made = sources[source].completed(stage) if source in sources else None
        if made is None or made.get("fingerprint") != fingerprint or made.get("reused_from"):
            return None
        entry = made
    spending = entry.get("spending")
    return number(spending.get("cost")) if spending else 0.0


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when no result says what it has cost.

    Dollars are drawn where any experiment has paid for model calls.
    """
    what = scored(request)
    sources = {run.experiment: run for run in request.runs}
    hours, paid = _known(what.runs, gpu_hours), _known(what.runs, lambda run: dollars(run, sources))
    costs = [_Cost("gpu_hours", f"GPU hours of training{_devices(what.runs)}", hours)] if any(hours.values()) else []
    if any(paid.values()):
        costs.append(_Cost("dollars", "dollars of model calls", paid))
    if not costs:
        raise MissingError(
            "nothing to draw: no experiment has recorded GPU hours of training (those on CPUs have none) or dollars of "
            "model calls"
        )
    for run in what.runs:
        if not any(run.experiment in cost.of for cost in costs):
            what.lacking[run.experiment] = MissingError(
                f"{run.experiment}: its results say neither GPU hours nor dollars; run `meds1 run {run.experiment}`"
            )
    places = [(cost, benchmark) for cost in costs for benchmark in what.benchmarks]
    return _drawn(request, what, {place: found for place in places if (found := _points(what, *place))})


def _drawn(request: Request, what: Scored, points: Mapping[tuple[_Cost, str], list[_Point]]) -> Sketch:
    figure, panels = style.make_panels(len(points), _PANEL, sharey=True)
    looks = style.group_looks(request.display, what.runs)
    fronts = {}
    for panel, ((cost, benchmark), found) in zip(panels, points.items(), strict=True):
        add_title(panel, what.title(benchmark, request.display), _PANEL[0])
        panel.set_xlabel(cost.title)
        chance = what.chance(benchmark)
        if chance is not None:
            style.draw_chance(panel, chance, along="y")
        front = [(p.run.label, (p.cost, style.shown(what.metric, p.measure.value))) for p in found if p.on_front]
        fronts[panel] = front
        panel.step([x for _, (x, _) in front], [y for _, (_, y) in front], where="post", color="0.6", zorder=1)
        for point in found:
            look, hollow = looks[point.run.experiment], not point.run.scored.comparable
            look = replace(look, pale=len(found) > _CROWD and not point.on_front)
            style.draw_measure(panel, point.cost, point.measure, what.metric, look, hollow=hollow, along="y")
        style.count_in_powers(panel, [point.cost for point in found])
    every = [point for found in points.values() for point in found]
    ends = [end for p in every for end in (p.measure.value, p.measure.low, p.measure.high) if end is not None]
    chances = [chance for name in what.benchmarks if (chance := what.chance(name)) is not None]
    style.fit_scale(panels[0], what.metric, [style.shown(what.metric, end) for end in [*ends, *chances]], along="y")
    style.add_group_legend(figure, style.looks_of(request.display), [point.run.group for point in every])
    figure.supylabel(style.axis_title(what.metric), fontsize=9)
    hollow = any(not point.run.scored.comparable for point in every)
    others = len({point.run.experiment for point in every if point.not_ranked})
    style.add_caption(
        figure,
        "cost of making each; line and names: the Pareto front, which none beats at equal or lower cost",
        style.CHANCE if chances else "",
        style.HOLLOW if hollow else "",
        f"{others} asked in another way than most, beside the front: see not_ranked in the CSV" if others else "",
    )
    name_points(figure, fronts)
    return Sketch(figure, HEADER, _numbers(what, points), what.lacking)


def _known(runs: Sequence[Run], cost: Callable[[Run], float | None]) -> dict[str, float]:
    return {run.experiment: amount for run in runs if (amount := cost(run)) is not None}


def _devices(runs: Sequence[Run]) -> str:
    """The GPUs, where there is more than one kind: an hour of one is none of another."""
    names = {name for run in runs if (name := run.metrics("training").get("device_name")) is not None}
    return f" ({listed(sorted(names), 3)})" if len(names) > 1 else ""


def _points(what: Scored, cost: _Cost, benchmark: str) -> list[_Point]:
    """The runs from cheap to dear; hollow ones are on no front, nor are those that were asked in another way."""
    known = [
        (cost.of[run.experiment], what.metric.order(measure.value), run, measure)
        for run in what.runs
        if run.experiment in cost.of and (measure := what.measure(run, benchmark)) is not None
    ]
    others = what.asked_otherwise(benchmark)
    found, best = [], math.inf
    for amount, order, run, measure in sorted(known, key=lambda one: one[:2]):
        ranked = what.metric.better is not None and run.scored.comparable and run.experiment not in others
        ahead = ranked and order < best
        best = order if ahead else best
        found.append(_Point(run, amount, measure, ahead, others.get(run.experiment)))
    return found


def _numbers(what: Scored, points: Mapping[tuple[_Cost, str], list[_Point]]) -> list[tuple[object, ...]]:
    return [
        (
            *(point.run.experiment, point.run.label, point.run.group, benchmark, point.cost, cost.unit),
            *(what.metric.name, point.measure.value, point.measure.low, point.measure.high, point.measure.n),
            *(point.on_front, point.not_ranked, point.run.scored.status, point.run.scored.remark),
        )
        for (cost, benchmark), found in points.items()
        for point in found
    ]
