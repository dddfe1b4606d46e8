"""What the figures share that vary one thing in a family of experiments: who is in them, base models, legend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from plotting.families import Family, Settings, base_of, families, labels, settings_of
from plotting.figures import style
from plotting.figures.kinds import Request
from plotting.figures.labels import short_labels
from plotting.figures.selecting import Scored, nothing_to_draw, scored
from plotting.figures.style import Look
from plotting.metrics import Measure
from plotting.runs import Run
from plotting.scores import benchmark_title
from registry.catalog import Display
from registry.effective import EffectiveConfig
from registry.errors import Meds1Error, MissingError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURED = ("benchmark", "metric", "value", "low", "high", "n", "status", "remark")
_CROWD = 4
_BASE = "0.45"
_BASE_LINES: tuple[Literal["-", ":", "-."], ...] = ("-", ":", "-.")  # dashes are for guessing


@dataclass(frozen=True)
class Line:
    """A family as it is drawn: its name, its look, and its base model where that has scores."""

    family: Family
    label: str
    look: Look
    base: Run | None


@dataclass(frozen=True)
class Varied:
    """The scored experiments, the families among them, and what keeps others out."""

    what: Scored
    lines: Sequence[Line]
    lacking: Mapping[str, Meds1Error]

    @property
    def bases(self) -> list[Run]:
        """The base models, each once."""
        return list({line.base.experiment: line.base for line in self.lines if line.base is not None}.values())

    @property
    def runs(self) -> list[Run]:
        """All that is drawn, each once."""
        members = {m.run.experiment: m.run for line in self.lines for m in line.family.members}
        return [*members.values(), *self.bases]

    @property
    def benchmarks(self) -> list[str]:
        """Those that any of them has a value on."""
        return [name for name in self.what.benchmarks if any(self.measure(run, name) for run in self.runs)]

    def title(self, benchmark: str, display: Display) -> str:
        """A panel's title: the benchmark's name and its number of questions."""
        return benchmark_title([run.scored for run in self.runs], benchmark, display)

    def measure(self, run: Run, benchmark: str) -> Measure | None:
        """What a run has on a benchmark."""
        return self.what.measure(run, benchmark)

    def numbers(self, run: Run, benchmark: str) -> tuple[object, ...] | None:
        """A run's `MEASURED` on a benchmark, for the CSV; null where it has nothing."""
        measure = self.measure(run, benchmark)
        if measure is None:
            return None
        row = run.scored
        of_it = (measure.value, measure.low, measure.high, measure.n)
        return (benchmark, self.what.metric.name, *of_it, row.status, row.remark)


@dataclass(frozen=True)
class Wanted:
    """What a kind varies: paths, which families are worth a line, what those lack that are in none, how to get one.

    `settings` may leave out what tells no families apart here.
    """

    varying: Sequence[str]
    worth: Callable[[Family], bool]
    lack: str
    need: str
    settings: Callable[[EffectiveConfig], Settings] = settings_of


def varied(request: Request, wanted: Wanted) -> Varied:
    """The families of a request; `MissingError`, which says what the figure needs, where there is none."""
    what = scored(request)
    found = [family for family in families(what.runs, wanted.varying, wanted.settings) if wanted.worth(family)]
    if not found:
        unread = [f"{run.experiment}: its config cannot be read: {run.problem}" for run in what.runs if run.problem]
        raise nothing_to_draw({}, wanted.need + "".join(f"; {problem}" for problem in unread[:1]))
    names = labels(found)
    bases = [base_of(family, what.runs) for family in found]
    lines = [
        Line(family, name, replace(_look(request, name, number), pale=len(found) > _CROWD), base)
        for number, (family, name, base) in enumerate(zip(found, names, bases, strict=True))
    ]
    drawn = Varied(what, lines, lacking := dict(what.lacking))
    here = {run.experiment for run in drawn.runs}
    for run in what.runs:
        if run.experiment not in here:
            why = f"its config cannot be read: {run.problem}" if run.problem else wanted.lack
            lacking[run.experiment] = MissingError(f"{run.experiment}: {why}")
    return drawn


def _look(request: Request, label: str, number: int) -> Look:
    """The look of the display group that a family is called by, else the next one."""
    named = style.looks_of(request.display).get(label)
    return named or style.look_of(number)


def dodged(number: int, count: int, width: float) -> float:
    """How far from its place the number-th of `count` is drawn, so that whiskers do not hide each other."""
    return (number - (count - 1) / 2) * width


def draw_levels(
    panel: Axes, drawn: Varied, benchmark: str, bases: Sequence[Run], along: Literal["x", "y"] = "y"
) -> list[float]:
    """Guessing, and base models as lines with the band of their interval; return what the scale must hold."""
    span, line = (panel.axhspan, panel.axhline) if along == "y" else (panel.axvspan, panel.axvline)
    values = []
    chance = drawn.what.chance(benchmark)
    if chance is not None:
        style.draw_chance(panel, chance, along)
        values.append(100 * chance)
    for run in bases:
        measure = drawn.measure(run, benchmark)
        if measure is None:
            continue
        ends = [end for end in (measure.low, measure.high) if end is not None]
        if len(ends) == 2:
            low, high = (style.shown(drawn.what.metric, end) for end in ends)
            span(low, high, color=_BASE, alpha=0.13, linewidth=0, zorder=0.5)
        line(style.shown(drawn.what.metric, measure.value), color=_BASE, linestyle=_dashes(drawn, run), zorder=1)
        values += [style.shown(drawn.what.metric, value) for value in (measure.value, *ends)]
    return values


def base_handles(drawn: Varied) -> list[Artist]:
    """The base models' entries of a legend."""
    from matplotlib.lines import Line2D

    names = short_labels([run.label for run in drawn.bases])
    return [
        Line2D([], [], color=_BASE, linestyle=_dashes(drawn, run), label=f"{name} ({_untrained(run)})")
        for run, name in zip(drawn.bases, names, strict=True)
    ]


def _untrained(run: Run) -> str:
    """A line cannot be hollow, so that words say it."""
    row = run.scored
    flaw = row.status if row.status != "completed" else "limited" if row.limit else ""
    return f"not trained, {flaw}" if flaw else "not trained"


def _dashes(drawn: Varied, base: Run) -> Literal["-", ":", "-."]:
    names = [run.experiment for run in drawn.bases]
    return _BASE_LINES[names.index(base.experiment) % len(_BASE_LINES)]


def line_handles(drawn: Varied, **how: Any) -> list[Artist]:
    """The families' entries of a legend."""
    from matplotlib.lines import Line2D

    names = short_labels([line.label for line in drawn.lines])
    return [
        Line2D([], [], color=line.look.color, marker=line.look.marker, label=name, **how)
        for line, name in zip(drawn.lines, names, strict=True)
    ]


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """A legend of lines above the panels."""
    style.place_legend(figure, handles, 0.6)


def values_of(measures: Iterable[Measure | None], drawn: Varied) -> list[float]:
    """Everything that a scale must hold: values and the ends of intervals, as they are shown."""
    found = [value for m in measures if m is not None for value in (m.value, m.low, m.high) if value is not None]
    return [style.shown(drawn.what.metric, value) for value in found]


def caption(drawn: Varied, *more: str) -> tuple[str, ...]:
    """What stands below the figure."""
    hollow = any(not run.scored.comparable for run in drawn.runs)
    return (*more, style.CHANCE if has_chance(drawn) else "", style.HOLLOW if hollow else "")


def has_chance(drawn: Varied) -> bool:
    """Whether a panel has the line of guessing."""
    return any(drawn.what.chance(benchmark) is not None for benchmark in drawn.benchmarks)
