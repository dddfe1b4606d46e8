"""How every figure looks: sizes, fonts, a palette that colour-blind readers can tell apart, and what all kinds draw.

Everything here draws with the settings of `registry.figure_style.RC`, which `kinds.kind_of` puts around a kind.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from plotting.figures.labels import inches_of, short_labels
from plotting.metrics import Measure, Metric
from plotting.runs import Run
from registry.catalog import Display
from registry.figure_style import MARKERS, NEUTRAL, PALETTE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FADED: Any = {"fontsize": 7, "color": "0.5"}
HOLLOW = "hollow: stale, limited or running again, see the remark in the CSV"
CHANCE = "dashed: guessing"
ROW_INCHES = 0.2
_PAGE_INCHES = 11.0

Looks = Mapping[str | None, "Look"]


@dataclass(frozen=True)
class Look:
    """A colour and a marker; `pale` for whiskers in a crowd of dots at nearly the same place."""

    color: str
    marker: str
    pale: bool = False


def groups_of(display: Display) -> list[str | None]:
    """The groups in the order in which the catalog's `display` first names each; then null, for what has none."""
    return [*dict.fromkeys(entry.group for entry in display.experiments.values() if entry.group is not None), None]


def looks_of(display: Display) -> Looks:
    """A look for each group: of the whole catalog, so that it is the same whichever experiments a figure shows.

    Colours and markers together repeat after 36 groups. Without any group, what has none takes the first look.
    """
    named = [group for group in groups_of(display) if group is not None]
    looks: dict[str | None, Look] = {group: look_of(number) for number, group in enumerate(named)}
    return looks | {None: Look(NEUTRAL, MARKERS[0]) if named else look_of(0)}


def look_of(number: int) -> Look:
    """The look of the number-th of several things; they repeat after 36."""
    turn = number // len(PALETTE)
    return Look(PALETTE[number % len(PALETTE)], MARKERS[(number + turn) % len(MARKERS)])


def group_looks(display: Display, runs: Sequence[Run]) -> dict[str, Look]:
    """By experiment: its group's look, in its own colour where the catalog gives one."""
    looks = looks_of(display)
    return {run.experiment: Look(run.color or looks[run.group].color, looks[run.group].marker) for run in runs}


def grouped(display: Display, runs: Sequence[Run]) -> list[Run]:
    """The runs with those of a group together, groups in the catalog's order; within a group as they were."""
    order = groups_of(display)
    return sorted(runs, key=lambda run: order.index(run.group))


def experiment_looks(display: Display, runs: Sequence[Run]) -> dict[str, Look]:
    """By experiment: its group's colour, or its own, with a marker that tells it from others of the group.

    The markers follow the catalog, so that they are the same whichever experiments a figure shows; for experiments that
    it does not name they follow `runs`, as the colours do then.
    """
    looks, named = looks_of(display), list(display.experiments)
    found = {}
    for number, run in enumerate(runs):
        if run.experiment not in named:
            found[run.experiment] = look_of(number)
            continue
        own = [name for name in named if display.experiments[name].group == run.group]
        marker = MARKERS[own.index(run.experiment) % len(MARKERS)]
        found[run.experiment] = Look(run.color or looks[run.group].color, marker)
    return found


def make_panels(count: int, size: tuple[float, float], left: float = 0.0, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels of `size` in inches, in rows where they do not fit beside each other on a page.

    `left` inches are for what stands left of the panels. A page is wide where it would else become taller than wide.
    `shared` (`sharex`, `sharey`) is as for `Figure.subplots`.
    """
    # The non-interactive canvas: a login node has no display.
    from matplotlib.figure import Figure

    columns = min(count, max(1, int((_PAGE_INCHES - left) / size[0])))
    while columns < count and math.ceil(count / columns) * size[1] > left + columns * size[0]:
        columns += 1
    rows = math.ceil(count / columns)
    columns = math.ceil(count / rows)  # as even as it goes
    figure = Figure(figsize=(max(4.2, left + columns * size[0]), rows * size[1] + 0.8), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **shared).flatten().tolist()
    for spare in panels[count:]:
        spare.remove()
    for last in panels[max(0, count - columns) : count]:
        last.tick_params(labelbottom=True)
    return figure, panels[:count]


def name_rows(panels: Sequence[Axes], labels: Sequence[str], heights: Sequence[float]) -> None:
    """Write a label at each height of panels that share their axis, the first on top.

    On a tall page the scale stands above too.
    """
    panels[0].set_ylim(heights[-1] + 0.6, heights[0] - 0.6)
    panels[0].set_yticks(list(heights), list(labels))
    for panel in panels:
        panel.tick_params(axis="y", length=0)
        if len(labels) > 25:
            panel.tick_params(axis="x", top=True, labeltop=True)


def shown(metric: Metric, value: float) -> float:
    """A value as the axes have it: shares in percent."""
    return 100 * value if metric.unit == "share" else value


def axis_title(metric: Metric) -> str:
    """What stands at an axis of the metric."""
    return f"{metric.title} (%)" if metric.unit == "share" else metric.title


def draw_measure(panel: Axes, at: float, measure: Measure, metric: Metric, look: Look, **how: Any) -> None:
    """A dot with its 95 % interval: `value` along x at height `at`, or with `along="y"` along y at the place `at`.

    `hollow=True` for what must not be compared as it is. `how` is as for `draw_dot`.
    """
    interval = None if measure.low is None or measure.high is None else (measure.low, measure.high)
    scaled = None if interval is None else (shown(metric, interval[0]), shown(metric, interval[1]))
    draw_dot(panel, (shown(metric, measure.value), at), scaled, look, **how)


def draw_dot(
    panel: Axes,
    value_and_place: tuple[float, float],
    interval: tuple[float, float] | None,
    look: Look,
    *,
    hollow: bool = False,
    along: Literal["x", "y"] = "x",
) -> None:
    """A dot at a value (along `along`) and a place (on the other axis), with a whisker over `interval`."""
    value, place = value_and_place
    if interval is not None:
        # From the interval's own middle: those of other programs need not hold the value.
        middle, half = sum(interval) / 2, abs(interval[1] - interval[0]) / 2
        at = (middle, place) if along == "x" else (place, middle)
        errors: dict[str, Any] = {f"{along}err": half}
        panel.errorbar(*at, **errors, fmt="none", ecolor=look.color, alpha=0.3 if look.pale else 1, zorder=2)
    at = (value, place) if along == "x" else (place, value)
    panel.plot(
        *at,
        linestyle="none",
        marker=look.marker,
        color=look.color,
        markerfacecolor="white" if hollow else look.color,
        zorder=3,
    )


def draw_chance(panel: Axes, chance: float, along: Literal["x", "y"] = "x") -> None:
    """The line of guessing, dashed: `chance` is a share."""
    line = panel.axvline if along == "x" else panel.axhline
    line(100 * chance, color="0.35", linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)


def fit_scale(panel: Axes, metric: Metric, values: Sequence[float], along: Literal["x", "y"] = "x") -> None:
    """Let the scale span the values (already as `shown`): shares from tens to tens, never more than 0 to 100."""
    from matplotlib.ticker import MaxNLocator

    low, high = min(values), max(values)
    if metric.unit == "share":
        low, high = 10 * math.floor(low / 10), 10 * math.ceil(high / 10)
        low, high = max(0, low), min(100, max(high, low + 10))
        margin = (high - low) / 40  # room for a dot at the end
        axis = panel.xaxis if along == "x" else panel.yaxis
        axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    else:
        margin = (high - low or abs(high) or 1) / 12
    limits = panel.set_xlim if along == "x" else panel.set_ylim
    limits(low - margin, high + margin)


def count_in_powers(panel: Axes, values: Sequence[float]) -> None:
    """A logarithmic scale along x, with plain numbers; where there are values of 0, these stand on its left."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    zero = 0 in values
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 30 else (1, 3) if high / low < 300 else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps]
    if not zero and high / low < 3:  # one or two of these are no scale to read
        ticks = list(MaxNLocator(5).tick_values(low / 1.4, high * 1.4))
    if zero:
        panel.set_xscale("symlog", linthresh=low / 2, linscale=0.5)
    else:
        panel.set_xscale("log")
    panel.set_xlim(-low / 8 if zero else low / 1.4, high * 1.4)
    panel.xaxis.set_major_locator(FixedLocator([*([0.0] if zero else []), *(t for t in ticks if low / 1.4 <= t)]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    panel.xaxis.set_minor_locator(NullLocator())


def add_group_legend(figure: Figure, looks: Looks, groups: Iterable[str | None]) -> None:
    """The legend of the groups that a figure shows, above its panels, in the catalog's order; none for null alone."""
    here = set(groups)
    if here - {None}:
        add_legend(figure, [(name or "other", looks[name]) for name in looks if name in here])


def add_legend(figure: Figure, looks: Sequence[tuple[str, Look]]) -> None:
    """A legend of markers above the panels."""
    from matplotlib.lines import Line2D

    labels = short_labels([label for label, _ in looks])
    handles = [
        Line2D([], [], linestyle="none", marker=look.marker, color=look.color, label=label)
        for label, (_, look) in zip(labels, looks, strict=True)
    ]
    place_legend(figure, handles, 0.5)


def place_legend(figure: Figure, handles: Sequence[Artist], beside: float) -> None:
    """A legend above the panels, if any, in as many columns as fit; a handle with its gaps takes `beside` inches."""
    if not handles:
        return
    width = inches_of([str(handle.get_label()) for handle in handles]) + beside
    rows = math.ceil(len(handles) / max(1, int(figure.get_figwidth() / width)))
    columns = math.ceil(len(handles) / rows)  # as even as it goes
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def add_caption(figure: Figure, *lines: str) -> None:
    """What must be known to read a figure, below it: what is drawn, then notes; those that are empty are left out."""
    width = int(figure.get_figwidth() / 0.065)  # of lower case letters
    drawn, *notes = lines
    parts = [drawn, "; ".join(note for note in notes if note)]
    figure.supxlabel("\n".join(textwrap.fill(part, width) for part in parts if part), fontsize=9)
