"""Sample efficiency: accuracy against the number of rows that were trained on, a line per family of experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plotting.curated import curated_of
from plotting.families import Family, settings_of
from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import add_title
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
from registry.effective import EffectiveConfig
from registry.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("line", "experiment", "label", "rows", "rows_from", *MEASURED)
_SIZE = (3.4, 2.9)
_LACK = "no other scored experiment differs from it in nothing but the number of training rows"
_NEED = "sample efficiency needs two scored experiments that differ in nothing but curation.n_samples"
_AS_ASKED = "config"

Rows = tuple[int, str]
"""A number of rows, and what says it: a stage, or the config."""


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when there is nothing to draw."""
    known = {run.experiment: rows for run in request.runs if (rows := rows_of(run)) is not None}

    uncounted = {
        run.experiment: MissingError(f"{run.experiment}: no result of it says how many rows it was trained on")
        for run in request.runs
        if run.row and run.config and run.config.training and run.experiment not in known
    }

    def worth(family: Family) -> bool:
        return len({known[member.run.experiment][0] for member in family.members}) > 1

    counted = replace(request, runs=[run for run in request.runs if run.experiment not in uncounted])
    drawn = varied(counted, Wanted(("curation.n_samples",), worth, _LACK, _NEED, _settings))
    figure, panels = style.make_panels(len(drawn.benchmarks), _SIZE, sharex=True, sharey=True)
    held = []
    counts = [rows for line in drawn.lines for _, rows in _points(line, known)]
    for panel, benchmark in zip(panels, drawn.benchmarks, strict=True):
        add_title(panel, drawn.title(benchmark, request.display), _SIZE[0])
        held += _draw(panel, drawn, benchmark, known)
        style.count_in_powers(panel, counts)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
    style.fit_scale(panels[0], drawn.what.metric, held, along="y")
    add_legend(figure, [*line_handles(drawn), *base_handles(drawn)])
    figure.supylabel(style.axis_title(drawn.what.metric), fontsize=9)
    asked = any(known[m.run.experiment][1] == _AS_ASKED for line in drawn.lines for m in line.family.members)
    note = "rows as configured where no result here says how many were used: see rows_from in the CSV"
    style.add_caption(figure, "rows of training data, with 95 % intervals", *caption(drawn, note if asked else ""))
    return Sketch(figure, HEADER, _numbers(drawn, known), {**drawn.lacking, **uncounted})


def rows_of(run: Run) -> Rows | None:
    """The rows that a training has seen: as it counted them, as the curation did, or else as the config asks for."""
    rows = run.metrics("training").get("rows")
    if isinstance(rows, int):
        return rows, "training"
    try:
        counted = curated_of(run).n_train
    except MissingError:
        counted = None
    if counted is not None:
        return counted, "curation"
    wanted = run.config.curation.wanted if run.config and run.config.curation else None
    return (wanted, _AS_ASKED) if wanted else None


def _settings(config: EffectiveConfig) -> Mapping[str, Any]:
    """All rows are the end of every method's line that has the same filters: they know no method of selection."""
    found = settings_of(config)
    if config.curation is not None and config.curation.method == "all":
        del found["curation.method"]
    return found


def _points(line: Line, known: Mapping[str, Rows]) -> list[tuple[Run, int]]:
    points = [(member.run, known[member.run.experiment][0]) for member in line.family.members]
    return sorted(points, key=lambda point: point[1])


def _draw(panel: Axes, drawn: Varied, benchmark: str, known: Mapping[str, Rows]) -> list[float]:
    """Draw a panel; return what the scale must hold."""
    held = draw_levels(panel, drawn, benchmark, drawn.bases)
    for number, line in enumerate(drawn.lines):
        shift = 1 + dodged(number, len(drawn.lines), min(0.05, 0.3 / len(drawn.lines)))
        points = [(run, rows * shift) for run, rows in _points(line, known) if drawn.measure(run, benchmark)]
        measures = [drawn.measure(run, benchmark) for run, _ in points]
        values = [style.shown(drawn.what.metric, m.value) for m in measures if m is not None]
        panel.plot([at for _, at in points], values, color=line.look.color, zorder=2)
        for (run, at), measure in zip(points, measures, strict=True):
            if measure is not None:
                hollow = not run.scored.comparable
                style.draw_measure(panel, at, measure, drawn.what.metric, line.look, along="y", hollow=hollow)
        held += values_of(measures, drawn)
    return held


def _numbers(drawn: Varied, known: Mapping[str, Rows]) -> Sequence[Sequence[object]]:
    rows: list[Sequence[object]] = []
    for benchmark in drawn.benchmarks:
        for line in drawn.lines:
            for run, _ in _points(line, known):
                if numbers := drawn.numbers(run, benchmark):
                    rows.append((line.label, run.experiment, run.label, *known[run.experiment], *numbers))
        for run in drawn.bases:
            if numbers := drawn.numbers(run, benchmark):
                rows.append(("not trained", run.experiment, run.label, 0, "", *numbers))
    return rows
