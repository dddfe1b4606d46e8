"""Stored pictures of figures, to hold new ones against: `python -m tests.figure_references` draws them anew.

Pictures are compared in small squares, each by its mean colour: other edges of letters move a little ink, a dot that
stands elsewhere takes all of its own along.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from plotting.figures.kinds import Sketch
from registry.figure_style import RC

REFERENCES = Path(__file__).parent / "references"
_DPI = 60
_SQUARE = 5
# Letters as the font has them, not fitted to pixels: how that is done moves whole lines, and differs by machine.
_PLAIN: Any = {"text.hinting": "none", "savefig.bbox": None}
_TOLERANCE = 30.0
"""Of 255, in the square that differs most: letters a fifth lighter make it 18, a dot two points further 40 and more."""

Case = Callable[[Path], Sketch]
"""Draws a figure of invented experiments, given a folder for their files."""


def cases() -> dict[str, Case]:
    """Every stored picture by its name."""
    from tests import figure_cases, figure_family_cases

    return figure_cases.CASES | figure_family_cases.CASES


def assert_looks_like(sketch: Sketch, name: str) -> None:
    """Hold a figure against the stored picture of that name."""
    from matplotlib.image import imread

    stored = REFERENCES / f"{name}.png"
    assert stored.exists(), f"no {stored.name}; draw it with python -m tests.figure_references, and look at it"
    found = difference(imread(io.BytesIO(picture_of(sketch))), imread(stored))
    assert found <= _TOLERANCE, (
        f"{name} is drawn otherwise ({found:.0f} of 255); look at python -m tests.figure_references"
    )


def difference(one: Any, other: Any) -> float:
    """How much two pictures differ in the square that differs most, from 0 to 255; 255 for other sizes."""
    if one.shape != other.shape:
        return 255.0
    return float(np.abs(_squares(one) - _squares(other)).max())


def picture_of(sketch: Sketch, **settings: Any) -> bytes:
    """A small PNG of a figure."""
    from matplotlib import rc_context

    content = io.BytesIO()
    look: Any = {**RC, **_PLAIN, **settings}
    with rc_context(look):
        sketch.figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    return content.getvalue()


def _squares(picture: Any) -> Any:
    height, width = (size // _SQUARE * _SQUARE for size in picture.shape[:2])
    cut = 255 * picture[:height, :width, :3]
    return cut.reshape(height // _SQUARE, _SQUARE, width // _SQUARE, _SQUARE, 3).mean(axis=(1, 3))


def main(names: list[str]) -> None:
    """Draw the pictures of these names, or all."""
    REFERENCES.mkdir(exist_ok=True)
    for name, case in cases().items():
        if not names or name in names:
            with tempfile.TemporaryDirectory() as folder:
                (REFERENCES / f"{name}.png").write_bytes(picture_of(case(Path(folder))))
            print(REFERENCES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
