"""Names and titles in a figure: as long as there is room for."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from registry.figure_style import RC

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_LENGTH = 42
_CHARACTER_INCHES = 0.072
_FEWEST, _MOST_LINES = 12, 4  # letters of a line of a title, and lines


def short_labels(labels: Sequence[str], most: int = LABEL_LENGTH) -> list[str]:
    """The labels, long ones without their middle; those that are then alike are numbered."""
    short = [_without_middle(label, most) for label in labels]
    found = []
    for number, label in enumerate(short):
        alike = [labels[i] for i, other in enumerate(short) if other == label]
        several = len(set(alike)) > 1
        found.append(f"{label} ({alike.index(labels[number]) + 1})" if several else label)
    return found


def _without_middle(label: str, most: int) -> str:
    label = " ".join(label.split())
    if len(label) <= most:
        return label
    tail = (most - 1) // 2
    return f"{label[: most - 1 - tail]}…{label[len(label) - tail :]}"


def inches_of(labels: Iterable[str]) -> float:
    """About how wide the widest of some labels is at the figures' size of letters."""
    return _CHARACTER_INCHES * max((len(label) for label in labels), default=0)


def add_title(panel: Axes, title: str, inches: float) -> None:
    """A panel's title, in lines that are no wider than the panel; a very long one without its middle."""
    letters = max(_FEWEST, int(inches / _CHARACTER_INCHES))
    room = 0.95 * inches  # pixels make letters wider
    while letters > _FEWEST and any(_drawn_inches(line) > room for line in _title_lines(title, letters)):
        letters -= 1
    panel.set_title("\n".join(_title_lines(title, letters)))


def _title_lines(title: str, letters: int) -> list[str]:
    lines, kept = textwrap.wrap(title, letters), len(title)
    while len(lines) > _MOST_LINES:
        kept -= 1
        lines = textwrap.wrap(_without_middle(title, kept), letters)
    return lines


def _drawn_inches(title: str) -> float:
    """How wide a line of a title is."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # said once, when the figure is written
        size = FontProperties(size=RC["axes.titlesize"])
        points, _, _ = text_to_path.get_text_width_height_descent(title, size, ismath=False)
    return float(points) / 72
