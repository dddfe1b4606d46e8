"""Perturbation impact: accuracy against the rate of each damage to the reasoning, from the undamaged at rate 0.

What a model has restored is dashed, with hollow markers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from plotting.families import Family
from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import add_title, short_labels
from plotting.figures.style import Look
from plotting.figures.varied import (
    MEASURED,
    Line,
    Varied,
    Wanted,
    add_legend,
    base_handles,
    dodged,
    draw_levels,
    has_chance,
    values_of,
    varied,
)
from plotting.runs import Run
from registry.rewriting_counts import realised_rate
from registry.rewriting_schema import PerturbationConfig, PerturbationName

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

HEADER = ("family", "line", "experiment", "label", "rate", "realised_rate", *MEASURED)
_SIZE = (3.4, 2.9)
_LACK = "neither perturbed itself nor the unperturbed one of an experiment that is"
_NEED = "a perturbation's impact needs a scored experiment with curation.perturbation"
_ORDER: tuple[PerturbationName, ...] = get_args(PerturbationName)
_DASHES = (0, (4, 2))
_MOST_TICKS = 8
_UNTOUCHED = Look("0.15", "o")


@dataclass(frozen=True)
class _Curve:
    """One perturbation of one family: its members by rate, after those that are not perturbed."""

    kind: PerturbationName
    restored: bool
    points: Sequence[tuple[float, Run]]

    @property
    def name(self) -> str:
        """What to call it."""
        return self.kind.replace("_", " ") + (", restored" if self.restored else "")


def sketch(request: Request) -> Sketch:
    """Draw the figure, a panel per benchmark (and family); `MissingError` when there is nothing to draw."""
    wanted = Wanted(("curation.perturbation", "curation.restore"), _is_perturbed, _LACK, _NEED)
    drawn = varied(request, wanted)
    places = [(line, benchmark) for line in drawn.lines for benchmark in drawn.benchmarks]
    places = [place for place in places if any(drawn.measure(m.run, place[1]) for m in place[0].family.members)]
    figure, panels = style.make_panels(len(places), _SIZE, sharex=True, sharey=True)
    held = []
    for panel, (line, benchmark) in zip(panels, places, strict=True):
        name = f"{line.label}: " if len(drawn.lines) > 1 else ""
        add_title(panel, name + drawn.title(benchmark, request.display), _SIZE[0])
        held += _draw(panel, drawn, line, benchmark)
        panel.set_xlim(-6, 106)
    style.fit_scale(panels[0], drawn.what.metric, held, along="y")
    curves = [curve for line in drawn.lines for curve in _curves(line.family)]
    rates = sorted({round(100 * rate) for curve in curves for rate, _ in curve.points} | {0})
    if len(rates) < _MOST_TICKS:
        for panel in panels:
            panel.set_xticks(rates)
    add_legend(figure, [*_handles(curves), *base_handles(drawn)])
    figure.supylabel(style.axis_title(drawn.what.metric), fontsize=9)
    style.add_caption(figure, "rate of the perturbation (%), with 95 % intervals", *_notes(drawn))
    return Sketch(figure, HEADER, _numbers(drawn), drawn.lacking)


def _is_perturbed(family: Family) -> bool:
    return any(_perturbation(member.run) for member in family.members)


def _perturbation(run: Run) -> PerturbationConfig | None:
    return run.config.curation.perturbation if run.config and run.config.curation else None


def _look(kind: PerturbationName) -> Look:
    """The same in every figure."""
    return style.look_of(_ORDER.index(kind))


def _place(key: tuple[PerturbationName, bool]) -> tuple[int, bool]:
    return _ORDER.index(key[0]), key[1]


def _untouched(family: Family) -> list[Run]:
    return [member.run for member in family.members if _perturbation(member.run) is None]


def _curves(family: Family) -> list[_Curve]:
    found: dict[tuple[PerturbationName, bool], list[tuple[float, Run]]] = {}
    for run in (member.run for member in family.members):
        perturbation = _perturbation(run)
        if perturbation is not None:
            assert run.config is not None
            assert run.config.curation is not None
            key = (perturbation.type, bool(run.config.curation.restore))
            found.setdefault(key, []).append((perturbation.rate, run))
    start = [(0.0, run) for run in _untouched(family)[:1]]
    return [
        _Curve(*key, [*start, *sorted(found[key], key=lambda point: point[0])]) for key in sorted(found, key=_place)
    ]


def _draw(panel: Axes, drawn: Varied, line: Line, benchmark: str) -> list[float]:
    """Draw a panel; return what the scale must hold."""
    held = draw_levels(panel, drawn, benchmark, [line.base] if line.base else [])
    curves = _curves(line.family)
    for number, curve in enumerate(curves):
        points = [(rate, run, m) for rate, run in curve.points if (m := drawn.measure(run, benchmark)) is not None]
        shift = dodged(number, len(curves), 1.2)
        at = [100 * rate + shift * (rate > 0) for rate, *_ in points]
        values = [style.shown(drawn.what.metric, m.value) for *_, m in points]
        look = _look(curve.kind)
        panel.plot(at, values, color=look.color, linestyle=_DASHES if curve.restored else "-", zorder=2)
        for place, (rate, _, measure) in zip(at, points, strict=True):
            if rate > 0:
                style.draw_measure(panel, place, measure, drawn.what.metric, look, along="y", hollow=curve.restored)
        held += values_of((m for *_, m in points), drawn)
    for run in _untouched(line.family):
        untouched = drawn.measure(run, benchmark)
        if untouched is not None:
            style.draw_measure(panel, 0, untouched, drawn.what.metric, _UNTOUCHED, along="y")
            held += values_of([untouched], drawn)
    return held


def _handles(curves: Sequence[_Curve]) -> list[Artist]:
    from matplotlib.lines import Line2D

    def handle(label: str, look: Look, **how: Any) -> Artist:
        return Line2D([], [], color=look.color, marker=look.marker, label=label, **how)

    kinds = [kind for kind in _ORDER if any(curve.kind == kind for curve in curves)]
    found = [handle("not perturbed", _UNTOUCHED, linestyle="none")]
    found += [handle(kind.replace("_", " "), _look(kind)) for kind in kinds]
    if any(curve.restored for curve in curves):
        found.append(handle("restored", Look("0.35", "o"), linestyle=_DASHES, markerfacecolor="white"))
    return found


def _notes(drawn: Varied) -> tuple[str, ...]:
    """Hollow and dashed means restored here, so that what is stale or limited is named, and guessing told apart."""
    marked = [run.label for run in drawn.runs if not run.scored.comparable]
    flawed = f"stale, limited or running again: {', '.join(short_labels(marked))}" if marked else ""
    return "dashed from side to side: guessing" if has_chance(drawn) else "", flawed


def _numbers(drawn: Varied) -> Sequence[Sequence[object]]:
    rows: list[Sequence[object]] = []
    for line in drawn.lines:
        for benchmark in drawn.benchmarks:
            points = [("not perturbed", 0.0, run) for run in _untouched(line.family)]
            for curve in _curves(line.family):
                points += [(curve.name, rate, run) for rate, run in curve.points if rate > 0]
            points += [("not trained", 0.0, line.base)] if line.base else []
            for name, rate, run in points:
                if numbers := drawn.numbers(run, benchmark):
                    rows.append((line.label, name, run.experiment, run.label, rate, _realised(run), *numbers))
    return rows


def _realised(run: Run) -> float | None:
    """The part that the perturbation really changed; null where none is or nobody has counted it."""
    counts = run.metrics("curation").get("rewriting")
    rates = [realised_rate(count) for count in (counts if isinstance(counts, list) else []) if isinstance(count, dict)]
    return next((rate for rate in rates if rate is not None), None)
