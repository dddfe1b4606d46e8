"""How long the reasoning of the chosen rows is: a box per experiment, from the quantiles that its result holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plotting.curated import QUANTILES, read_all
from plotting.figures import style
from plotting.figures.funnel import marked_labels, stale_note
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import inches_of, short_labels
from plotting.figures.selecting import nothing_to_draw
from plotting.runs import Run
from registry.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("experiment", "label", *QUANTILES, "status")
_WIDTH = 5.0

Lengths = Mapping[str, float]


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when there is nothing to draw."""
    read, lacking = read_all(style.grouped(request.display, request.runs))
    found = [(run, curated.lengths) for run, curated in read if set(curated.lengths) == set(QUANTILES)]
    lacking = {
        run.experiment: MissingError(f"{run.experiment}: its curation result has no lengths of reasoning")
        for run, curated in read
        if set(curated.lengths) != set(QUANTILES)
    } | lacking
    if not found:
        raise nothing_to_draw(dict(lacking), "no experiment has a curation result with lengths of reasoning")
    labels = short_labels(marked_labels([run for run, _ in found]))
    size = (_WIDTH, 0.5 + style.ROW_INCHES * 1.15 * len(found))
    figure, (panel,) = style.make_panels(1, size, inches_of(labels))
    looks = style.looks_of(request.display)
    for height, (run, lengths) in enumerate(found):
        _draw(panel, height, lengths, run.color or looks[run.group].color)
    style.name_rows([panel], labels, range(len(found)))
    values = [value for _, lengths in found for value in lengths.values()]
    style.count_in_powers(panel, values)
    panel.grid(visible=False, axis="y")
    squares = {name: style.Look(look.color, "s") for name, look in looks.items()}
    style.add_group_legend(figure, squares, [run.group for run, _ in found])
    style.add_caption(
        figure,
        "tokens of reasoning of the chosen rows",
        "box: middle half with the median; line: shortest to 95 %; dot: longest",
        stale_note(labels),
    )
    return Sketch(figure, HEADER, _numbers(found), lacking)


def _draw(panel: Axes, height: float, lengths: Lengths, color: str) -> None:
    panel.plot([lengths["min"], lengths["p95"]], [height, height], color=color, linewidth=1.0)
    middle = lengths["p75"] - lengths["p25"]
    panel.barh(height, middle, left=lengths["p25"], height=0.62, color=color, alpha=0.35, edgecolor=color)
    median = lengths["median"]
    panel.plot([median, median], [height - 0.31, height + 0.31], color=color, linewidth=2.0, solid_capstyle="butt")
    panel.plot(lengths["max"], height, marker=".", color=color)


def _numbers(found: Sequence[tuple[Run, Lengths]]) -> list[Sequence[object]]:
    return [
        (run.experiment, run.label, *(lengths[name] for name in QUANTILES), run.statuses["curation"].status)
        for run, lengths in found
    ]
