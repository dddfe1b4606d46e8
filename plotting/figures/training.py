"""Training curves: losses, or rewards, over the optimizer steps, a line per experiment.

Up to eight experiments have a colour each. More are drawn thin in the colours of their groups; in each panel the one
that ends lowest, the one that ends highest and the baseline are drawn strong and named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import short_labels
from plotting.figures.naming import name_points
from plotting.figures.selecting import nothing_to_draw
from plotting.figures.varied import add_legend
from plotting.runs import Run
from plotting.training_logs import Course, Point, Quantity, course_of
from registry.errors import Meds1Error
from registry.figure_style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADER = ("experiment", "label", "quantity", "of", "step", "value", "status")
Dashes = Literal["-", "--", "-.", ":"]
Part = Literal["training", "validation"]
_SIZE = (3.6, 2.9)
_UNITS: dict[Quantity, str] = {"loss": "loss (nats per token)", "reward": "reward"}
_POINTS = 100
"""A line has at most so many points: single steps are noise, and seventy lines of them a cloud."""
_FEW = 8
_MARKED = 30
"""Lines of fewer points have markers."""
_LINES: tuple[Dashes, ...] = ("-", "--", "-.", ":")
_NO_GROUP = "other"
_SPREAD = 20
"""From this ratio of the longest training to the shortest on, the steps are counted in powers of ten."""


@dataclass(frozen=True)
class _Pen:
    """How a line is drawn, and what it is called in the legend."""

    label: str
    color: str
    dashes: Dashes
    marker: str


@dataclass(frozen=True)
class _Part:
    """A panel: its lines, and how many experiments of the quantity have no such line."""

    quantity: Quantity
    part: Part
    lines: Sequence[tuple[Run, Sequence[Point]]]
    lacking: int


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when there is nothing to draw."""
    courses, lacking = _read(request.runs)
    if not courses:
        raise nothing_to_draw(lacking, "no experiment has a training result with a log or validations")
    parts = [part for part in _parts(courses) if part.lines]
    pens = _pens(courses, request)
    figure, axes = style.make_panels(len(parts), _SIZE)
    named = {}
    for panel, part in zip(axes, parts, strict=True):
        panel.set_title(f"{part.part} {part.quantity}" + _note(part))
        panel.set_ylabel(_UNITS[part.quantity])
        strong = _named(part, request.baseline) if len(courses) > _FEW else set()
        for run, points in part.lines:
            _draw(panel, points, pens[run.experiment], crowd=len(courses) > _FEW and run.experiment not in strong)
        _count_steps(panel, part)
        ends = [
            (run.label, (points[-1].step, points[-1].value)) for run, points in part.lines if run.experiment in strong
        ]
        named[panel] = ends
    _add_legend(figure, pens.values())
    means = any(len(course.training) > _POINTS for course in courses)
    style.add_caption(figure, "optimizer step", f"means over steps: at most {_POINTS} points per line" if means else "")
    name_points(figure, named)
    return Sketch(figure, HEADER, _numbers(parts), lacking)


def _read(runs: Sequence[Run]) -> tuple[list[Course], dict[str, Meds1Error]]:
    courses: list[Course] = []
    lacking: dict[str, Meds1Error] = {}
    # Those that are to have no training come last among what is lacking.
    for run in sorted(runs, key=lambda run: run.config is not None and run.config.training is None):
        try:
            courses.append(course_of(run))
        except Meds1Error as error:
            lacking[run.experiment] = error
    return courses, lacking


def _parts(courses: Sequence[Course]) -> list[_Part]:
    found = []
    quantities: tuple[Quantity, ...] = ("loss", "reward")
    for quantity in quantities:
        of_it = [course for course in courses if course.quantity == quantity]
        training = [(course.run, _smoothed(course.training)) for course in of_it if course.training]
        validation = [(course.run, course.validation) for course in of_it if course.validation]
        found.append(_Part(quantity, "training", training, len(of_it) - len(training)))
        found.append(_Part(quantity, "validation", validation, 0))
    return found


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """Means over as equal numbers of steps as it goes, each at its last step."""
    count = min(len(points), _POINTS)
    edges = [number * len(points) // count for number in range(count + 1)]
    buckets = [points[start:end] for start, end in pairwise(edges)]
    return [Point(bucket[-1].step, sum(point.value for point in bucket) / len(bucket)) for bucket in buckets]


def _note(part: _Part) -> str:
    return f" (without {part.lacking} whose log is not here)" if part.lacking else ""


def _pens(courses: Sequence[Course], request: Request) -> dict[str, _Pen]:
    """By experiment: of a few each has its own, of many those of a group share one."""
    runs = [course.run for course in courses]
    if len(runs) <= _FEW:
        labels = short_labels([run.label for run in runs])
        own = zip(runs, labels, map(style.look_of, range(len(runs))), strict=True)
        return {run.experiment: _Pen(label, run.color or look.color, "-", look.marker) for run, label, look in own}
    groups = style.groups_of(request.display)
    looks = style.looks_of(request.display)
    found = {}
    for run in runs:
        dashes = _LINES[groups.index(run.group) // len(PALETTE) % len(_LINES)]
        found[run.experiment] = _Pen(run.group or _NO_GROUP, looks[run.group].color, dashes, "")
    return found


def _named(part: _Part, baseline: str | None) -> set[str | None]:
    ends = sorted(part.lines, key=lambda line: line[1][-1].value)
    return {ends[0][0].experiment, ends[-1][0].experiment, baseline}


def _draw(panel: Axes, points: Sequence[Point], pen: _Pen, *, crowd: bool) -> None:
    alone = len(points) == 1
    panel.plot(
        [point.step for point in points],
        [point.value for point in points],
        color=pen.color,
        linestyle=pen.dashes,
        marker=pen.marker or ("." if alone else "") if len(points) < _MARKED else "",
        linewidth=0.8 if crowd else 1.6,
        alpha=0.5 if crowd else 1.0,
        zorder=2.0 if crowd else 2.2,  # below the names
    )


def _count_steps(panel: Axes, part: _Part) -> None:
    lasts = [points[-1].step for _, points in part.lines]
    if max(lasts) >= _SPREAD * min(lasts):
        style.count_in_powers(panel, [point.step for _, points in part.lines for point in points])
    else:
        panel.set_xlim(left=0)
        panel.xaxis.set_major_formatter("{x:,.0f}")


def _add_legend(figure: Figure, pens: Iterable[_Pen]) -> None:
    from matplotlib.lines import Line2D

    distinct = list(dict.fromkeys(pens))
    if [pen.label for pen in distinct] == [_NO_GROUP]:
        return
    handles = [Line2D([], [], color=p.color, linestyle=p.dashes, marker=p.marker, label=p.label) for p in distinct]
    add_legend(figure, handles)


def _numbers(parts: Sequence[_Part]) -> list[Sequence[object]]:
    return [
        (run.experiment, run.label, part.quantity, part.part, point.step, point.value, run.statuses["training"].status)
        for part in parts
        for run, points in part.lines
        for point in points
    ]
