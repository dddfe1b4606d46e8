"""Names written beside points, where they cover no other name, and no dot where there is room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from plotting.figures.labels import short_labels
from registry.figure_style import MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

_LENGTH = 24
_LINE = 9  # points, of letters of 6.5
_RADIUS = 3  # points, of a dot; its own name is 4 beside it


def name_points(figure: Figure, named: Mapping[Axes, Sequence[tuple[str, tuple[float, float]]]]) -> None:
    """Write names beside places of panels; everything else must have been drawn before."""
    figure.draw_without_rendering()  # puts the panels where they stay
    for panel, points in named.items():
        taken: list[Annotation] = []
        dots = _dots(panel)
        labels = short_labels([name for name, _ in points], _LENGTH)
        for label, (_, place) in zip(labels, points, strict=True):
            tried = [_note(panel, label, place, offset) for offset in _offsets(panel, place)]
            free = [note for note in tried if _is_free(note, panel, taken)]
            found = next((note for note in free if not _covers(note, dots, figure.dpi / 72)), [*free, *tried][0])
            for note in tried:
                if note is not found:
                    note.remove()
            taken.append(found)


def _offsets(panel: Axes, place: tuple[float, float]) -> Iterator[tuple[int, int]]:
    """Above and below a point, nearest first, on the side where the panel has more room, then on the other."""
    x = panel.transAxes.inverted().transform(panel.transData.transform(place))[0]
    for side in (4, -4) if x < 0.5 else (-4, 4):
        for line in (0, 1, -1, 2, -2):
            yield side, 3 + _LINE * line


def _note(panel: Axes, label: str, place: tuple[float, float], offset: tuple[int, int]) -> Annotation:
    note = panel.annotate(
        label,
        place,
        offset,
        textcoords="offset points",
        ha="left" if offset[0] > 0 else "right",
        fontsize=6.5,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        zorder=2.5,  # above whiskers, below dots
    )
    note.set_in_layout(False)
    return note


def _is_free(note: Annotation, panel: Axes, taken: Sequence[Annotation]) -> bool:
    box, room = note.get_window_extent(), panel.get_window_extent()
    inside = room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1
    return inside and not any(box.overlaps(other.get_window_extent()) for other in taken)


def _dots(panel: Axes) -> list[tuple[float, float]]:
    """Where the middles of a panel's dots are, in pixels."""
    lines = [line for line in panel.get_lines() if line.get_marker() in MARKERS]
    return [(x, y) for line in lines for x, y in panel.transData.transform(line.get_xydata())]


def _covers(note: Annotation, dots: Sequence[tuple[float, float]], pixels: float) -> bool:
    box = note.get_window_extent().padded(_RADIUS * pixels)
    return any(box.contains(x, y) for x, y in dots)
