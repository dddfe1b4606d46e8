"""The specialties of the chosen rows: dots for a few experiments, for many a table that is shaded by the share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plotting.curated import Counts, read_all
from plotting.figures import style
from plotting.figures.funnel import marked_labels, stale_note
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import inches_of, short_labels
from plotting.figures.selecting import nothing_to_draw
from plotting.runs import Run
from registry.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = ("experiment", "label", "specialty", "rows", "share", "status")
MOST = 20
_FEW = 4
_CELL_INCHES = 0.48
_NO_NAME = "(not named)"

Shares = Sequence[tuple[Run, Counts]]


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when there is nothing to draw."""
    read, lacking = read_all(style.grouped(request.display, request.runs))
    found = [(run, curated.specialties) for run, curated in read if sum(curated.specialties.values())]
    lacking = {
        run.experiment: MissingError(f"{run.experiment}: its chosen rows name no specialty; see curation.labels")
        for run, curated in read
        if not sum(curated.specialties.values())
    } | lacking
    if not found:
        raise nothing_to_draw(dict(lacking), "no experiment has a curation result with specialties")
    names = _frequent(found)
    drawn = [(run, _gathered(counts, names)) for run, counts in found]
    labels = short_labels(marked_labels([run for run, _ in found]))
    figure = (_dots if len(found) <= _FEW else _table)(drawn, labels)
    style.add_caption(figure, "share of the chosen rows (%)", stale_note(labels))
    return Sketch(figure, HEADER, _numbers(drawn), lacking)


def _frequent(found: Shares) -> list[str]:
    """The `MOST` specialties with the largest mean share; one more is no reason for a rest."""
    shares: dict[str, float] = {}
    for _, counts in found:
        total = sum(counts.values())
        for name, rows in counts.items():
            shares[name] = shares.get(name, 0.0) + rows / total
    ordered = sorted(shares, key=lambda name: (-shares[name], name))
    return ordered if len(ordered) <= MOST + 1 else ordered[:MOST]


def _gathered(counts: Counts, names: Sequence[str]) -> Counts:
    """The rows of these specialties, and of all others together where there are any."""
    rest = {name: rows for name, rows in counts.items() if name not in names}
    found = {name or _NO_NAME: counts.get(name, 0) for name in names}
    return found | ({"others": sum(rest.values())} if rest else {})


def _columns(drawn: Shares) -> list[str]:
    return list(dict.fromkeys(name for _, counts in drawn for name in counts))


def _share(counts: Counts, name: str) -> float:
    return 100 * counts.get(name, 0) / sum(counts.values())


def _dots(drawn: Shares, labels: Sequence[str]) -> Figure:
    names = _columns(drawn)
    rows = short_labels(names)
    size = (4.0, 0.5 + style.ROW_INCHES * 1.2 * len(names))
    figure, (panel,) = style.make_panels(1, size, inches_of(rows))
    looks = [style.look_of(number) for number in range(len(labels))]
    for (_, counts), look in zip(drawn, looks, strict=True):
        for height, name in enumerate(names):
            style.draw_dot(panel, (_share(counts, name), height), None, look)
    style.name_rows([panel], rows, range(len(names)))
    panel.set_xlim(left=0)
    panel.margins(x=0.05)
    style.add_legend(figure, list(zip(labels, looks, strict=True)))
    return figure


def _table(drawn: Shares, labels: Sequence[str]) -> Figure:
    names = _columns(drawn)
    size = (_CELL_INCHES * len(names), 1.1 + style.ROW_INCHES * len(drawn))
    figure, (panel,) = style.make_panels(1, size, inches_of(labels))
    shares = [[_share(counts, name) for name in names] for _, counts in drawn]
    top = max(max(row) for row in shares)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1.8 * top, aspect="auto")  # the darkest would hide the numbers
    for height, row in enumerate(shares):
        for column, share in enumerate(row):
            text = f"{share:.0f}" if share >= 0.5 or not share else "<1"
            panel.text(column, height, text, ha="center", va="center", fontsize=8)
    style.name_rows([panel], labels, range(len(drawn)))
    panel.set_ylim(len(drawn) - 0.5, -0.5)
    panel.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    panel.set_xticks(range(len(names)), short_labels(names, 24), rotation=40, ha="left", rotation_mode="anchor")
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    return figure


def _numbers(drawn: Shares) -> list[Sequence[object]]:
    return [
        (run.experiment, run.label, name, rows, rows / sum(counts.values()), run.statuses["curation"].status)
        for run, counts in drawn
        for name, rows in counts.items()
    ]
