"""The comparison figure: one panel per benchmark, one dot with its 95 % interval per experiment.

The experiments of a group stand together, groups in the catalog's order, sorted by their means within each; what is
stale or limited is drawn hollow and stands last. The order is no ranking: what was asked in another way than most has a
mark. The panels share their scale, which spans the data: whiskers of a few percent must be seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import add_title, inches_of, short_labels
from plotting.figures.selecting import Scored, scored
from plotting.figures.style import Look
from plotting.runs import Run
from registry.catalog import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NUMBERS = ("metric", "value", "low", "high", "n", "chance", "not_ranked")
HEADER = ("experiment", "label", "group", "benchmark", *_NUMBERS, "status", "remark")
_PANEL_INCHES = 2.4
_MARK = "†"
_GAP = 0.6
"""Between groups, in rows."""


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when there is nothing to draw."""
    what = scored(request)
    order = _ordered(what, request.display)
    others = {benchmark: what.asked_otherwise(benchmark) for benchmark in what.benchmarks}
    marked = {name for reasons in others.values() for name in reasons}
    labels = short_labels([run.label for run in order])
    labels = [
        f"{label} {_MARK}" if run.experiment in marked else label for label, run in zip(labels, order, strict=True)
    ]
    heights = _heights(order)
    left = inches_of(labels)
    size = (_PANEL_INCHES, 0.55 + style.ROW_INCHES * (heights[-1] + 1))
    figure, panels = style.make_panels(len(what.benchmarks), size, left, sharex=True, sharey=True)
    looks = style.group_looks(request.display, order)
    for panel, benchmark in zip(panels, what.benchmarks, strict=True):
        add_title(panel, what.title(benchmark, request.display), _PANEL_INCHES)
        _draw(panel, what, benchmark, list(zip(order, heights, strict=True)), looks)
    style.name_rows(panels, labels, heights)
    style.fit_scale(panels[0], what.metric, _drawn_values(what))
    style.add_group_legend(figure, style.looks_of(request.display), [run.group for run in order])
    chance = any(what.chance(benchmark) is not None for benchmark in what.benchmarks)
    hollow = any(not run.scored.comparable for run in order)
    style.add_caption(
        figure,
        style.axis_title(what.metric) + (" with 95 % interval" if _has_intervals(what) else ""),
        style.CHANCE if chance else "",
        style.HOLLOW if hollow else "",
        f"{_MARK} asked in another way than most, see not_ranked in the CSV" if marked else "",
    )
    return Sketch(figure, HEADER, _numbers(what, order, others), what.lacking)


def _ordered(what: Scored, display: Display) -> list[Run]:
    groups = style.groups_of(display)

    def key(run: Run) -> tuple[int, bool, bool, float, str]:
        values = [m.value for benchmark in what.benchmarks if (m := what.measure(run, benchmark)) is not None]
        mean = sum(values) / len(values)
        partial = len(values) < len(what.benchmarks)
        return (groups.index(run.group), not run.scored.comparable, partial, what.metric.order(mean), run.experiment)

    return sorted(what.runs, key=key)


def _heights(order: Sequence[Run]) -> list[float]:
    heights = [0.0]
    for one, other in pairwise(order):
        heights.append(heights[-1] + 1 + _GAP * (one.group != other.group))
    return heights


def _draw(
    panel: Axes, what: Scored, benchmark: str, placed: Sequence[tuple[Run, float]], looks: Mapping[str, Look]
) -> None:
    chance = what.chance(benchmark)
    if chance is not None:
        style.draw_chance(panel, chance)
    for run, height in placed:
        measure = what.measure(run, benchmark)
        if measure is None:
            panel.text(
                0.98, height, "no result", transform=panel.get_yaxis_transform(), ha="right", va="center", **style.FADED
            )
            continue
        style.draw_measure(panel, height, measure, what.metric, looks[run.experiment], hollow=not run.scored.comparable)


def _drawn_values(what: Scored) -> list[float]:
    """Everything that the scale must hold: values, ends of intervals and the lines of guessing."""
    found = [what.chance(benchmark) for benchmark in what.benchmarks]
    for run in what.runs:
        for benchmark in what.benchmarks:
            measure = what.measure(run, benchmark)
            found += [measure.value, measure.low, measure.high] if measure else []
    return [style.shown(what.metric, value) for value in found if value is not None]


def _has_intervals(what: Scored) -> bool:
    measures = [what.measure(run, benchmark) for run in what.runs for benchmark in what.benchmarks]
    return any(measure is not None and measure.low is not None for measure in measures)


def _numbers(what: Scored, order: Sequence[Run], others: Mapping[str, Mapping[str, str]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for run in order:
        for benchmark in what.benchmarks:
            if (m := what.measure(run, benchmark)) is not None:
                of_it = (what.metric.name, m.value, m.low, m.high, m.n, run.scored.scores[benchmark].chance)
                why = others[benchmark].get(run.experiment)
                state = (why, run.scored.status, run.scored.remark)
                rows.append((run.experiment, run.label, run.group, benchmark, *of_it, *state))
    return rows
