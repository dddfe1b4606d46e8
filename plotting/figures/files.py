"""The files of a figure: PNG, PDF, and the CSV that it was drawn from. Equal data gives equal bytes."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.durable import write_durably
from registry.errors import StageFailure
from registry.figure_style import RC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LETTERS = 20


def save(figure: Figure, stem: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Path]:
    """Write `stem`.png and `stem`.pdf, and the numbers that they show as `stem`.csv; return the three paths.

    Equal data gives equal files. `StageFailure` when the folder cannot be written; a file is written wholly or not.
    """
    contents = {
        ".png": _drawn(figure, "png", {}),
        ".pdf": _drawn(figure, "pdf", {"CreationDate": None}),
        ".csv": _csv(header, rows),
    }
    written = []
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix, content in contents.items():
            written.append(stem.parent / f"{stem.name}{suffix}")
            write_durably(written[-1], content)
    except OSError as error:
        raise StageFailure(
            f"{stem.parent}: the figure cannot be written: {error.strerror}; choose another --out"
        ) from None
    return written


def letters_lacking(figure: Figure) -> str:
    """What is to be known of a figure that was saved where its font lacks letters of a name; empty where it has all."""
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    font = get_font(findfont(RC["font.family"]))
    texts = "".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))
    lacking = [
        letter for letter in dict.fromkeys(texts) if letter.isprintable() and not font.get_char_index(ord(letter))
    ]
    if not lacking:
        return ""
    return (
        f"the font of figures, {RC['font.family']}, has no {''.join(lacking[:_LETTERS])}, and shows boxes; "
        "give other names in display of config.json"
    )


def _drawn(figure: Figure, form: str, metadata: dict[str, Any]) -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a line for each letter; `letters_lacking` has one
        figure.savefig(buffer, format=form, metadata=metadata)
    return buffer.getvalue()


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()
