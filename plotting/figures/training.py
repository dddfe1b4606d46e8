"""Training curves: losses, or rewards, over the optimizer steps, a line per experiment.

Up to eight experiments have a colour each. More are drawn thin in the colours of their groups; in each panel the one
that ends lowest, the one that ends highest and the baseline are drawn strong and named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.selecting import nothing_to_draw
from plotting.figures.style import Look
from plotting.figures.varied import look_of
from plotting.runs import Run
from plotting.training_logs import Course, Point, Quantity, course_of
from registry.errors import Meds1Error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADER = ("experiment", "label", "quantity", "of", "step", "value", "status")
Part = Literal["training", "validation"]
_SIZE = (4.4, 3.2)
_UNITS: dict[Quantity, str] = {"loss": "loss (nats per token)", "reward": "reward"}
_POINTS = 100
"""A line has at most so many points: single steps are noise, and seventy lines of them a cloud."""
_FEW = 8
_SPREAD = 20
"""From this ratio of the longest training to the shortest on, the steps are counted in powers of ten."""


@dataclass(frozen=True)
class _Panel:
    quantity: Quantity
    part: Part
    lines: Sequence[tuple[Run, Sequence[Point]]]
    lacking: int


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when there is nothing to draw."""
    courses, lacking = _read(request.runs)
    if not courses:
        raise nothing_to_draw(lacking, "no experiment has a training result with a log or validations")
    parts = [panel for panel in _panels(courses) if panel.lines]
    runs = [course.run for course in courses]
    few = len(courses) <= _FEW
    figure, axes = style.make_panels(len(parts), _SIZE)
    for panel, part in zip(axes, parts, strict=True):
        panel.set_title(f"{part.part} {part.quantity}" + _note(part))
        panel.set_ylabel(_UNITS[part.quantity])
        looks = _looks(runs, request)
        if few:
            _draw_few(panel, part, looks)
        else:
            _draw_many(panel, part, looks, request.baseline)
        _count_steps(panel, part)
    _add_legend(figure, runs, request, few)
    means = any(_bucket(points) > 1 for course in courses for points in (course.training,))
    style.add_caption(figure, "optimizer step", f"means over steps: at most {_POINTS} points per line" if means else "")
    return Sketch(figure, HEADER, _numbers(parts), lacking)


def _read(runs: Sequence[Run]) -> tuple[list[Course], dict[str, Meds1Error]]:
    courses: list[Course] = []
    lacking: dict[str, Meds1Error] = {}
    for run in runs:
        try:
            courses.append(course_of(run))
        except Meds1Error as error:
            lacking[run.experiment] = error
    return courses, lacking


def _panels(courses: Sequence[Course]) -> list[_Panel]:
    found = []
    quantities: tuple[Quantity, ...] = ("loss", "reward")
    for quantity in quantities:
        of_it = [course for course in courses if course.quantity == quantity]
        training = [(course.run, _smoothed(course.training)) for course in of_it if course.training]
        validation = [(course.run, course.validation) for course in of_it if course.validation]
        found.append(_Panel(quantity, "training", training, len(of_it) - len(training)))
        found.append(_Panel(quantity, "validation", validation, 0))
    return found


def _bucket(points: Sequence[Point]) -> int:
    return max(1, -(-len(points) // _POINTS))


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """Means over equal numbers of steps, each at its last step."""
    size = _bucket(points)
    buckets = [points[start : start + size] for start in range(0, len(points), size)]
    return [Point(bucket[-1].step, sum(point.value for point in bucket) / len(bucket)) for bucket in buckets]


def _note(part: _Panel) -> str:
    return f" (logs of {part.lacking} others are not here)" if part.lacking else ""


def _looks(runs: Sequence[Run], request: Request) -> Mapping[str, Look]:
    if len(runs) <= _FEW:
        return {run.experiment: look_of(number) for number, run in enumerate(runs)}
    groups = style.looks_of(request.display)
    return {run.experiment: Look(run.color or groups[run.group].color, groups[run.group].marker) for run in runs}


def _draw_few(panel: Axes, part: _Panel, looks: Mapping[str, Look]) -> None:
    for run, points in part.lines:
        look = looks[run.experiment]
        marker = look.marker if part.part == "validation" or len(points) == 1 else ""
        panel.plot([p.step for p in points], [p.value for p in points], color=look.color, marker=marker)


def _draw_many(panel: Axes, part: _Panel, looks: Mapping[str, Look], baseline: str | None) -> None:
    ends = sorted(part.lines, key=lambda line: line[1][-1].value)
    named = {ends[0][0].experiment, ends[-1][0].experiment, baseline}
    for run, points in part.lines:
        strong = run.experiment in named
        color = looks[run.experiment].color
        steps, values = [p.step for p in points], [p.value for p in points]
        panel.plot(
            steps,
            values,
            color=color,
            linewidth=1.8 if strong else 0.8,
            alpha=1.0 if strong else 0.45,
            zorder=3 if strong else 2,
            marker="." if len(points) == 1 else "",
        )
        if strong:
            (label,) = style.short_labels([run.label], 26)
            panel.annotate(
                label, (steps[-1], values[-1]), (3, 0), textcoords="offset points", va="center", fontsize=7, color=color
            )


def _count_steps(panel: Axes, part: _Panel) -> None:
    lasts = [points[-1].step for _, points in part.lines]
    if max(lasts) >= _SPREAD * min(lasts):
        style.count_in_powers(panel, [point.step for _, points in part.lines for point in points])
    else:
        panel.set_xlim(left=0)
        panel.xaxis.set_major_formatter("{x:,.0f}")


def _add_legend(figure: Figure, runs: Sequence[Run], request: Request, few: bool) -> None:
    if few:
        labels = style.short_labels([run.label for run in runs])
        looks = _looks(runs, request)
        style.add_legend(
            figure, {label: looks[run.experiment] for run, label in zip(runs, labels, strict=True)}, linestyle="-"
        )
    else:
        style.add_group_legend(figure, style.looks_of(request.display), [run.group for run in runs])


def _numbers(parts: Sequence[_Panel]) -> list[Sequence[object]]:
    return [
        (run.experiment, run.label, part.quantity, part.part, point.step, point.value, run.statuses["training"].status)
        for part in parts
        for run, points in part.lines
        for point in points
    ]
