"""The kinds of figures: what each is asked for, what it gives, and the list of all.

A kind is a function from a `Request` to a `Sketch`. It raises `MissingError`, which says which experiment lacks what,
where there is nothing to draw: an empty picture is never made.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plotting.metrics import ACCURACY
from plotting.runs import Run
from registry.catalog import Display
from registry.errors import Meds1Error, UsageError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Request:
    """What to draw: experiments in the registry's order, the catalog's names, and what the command line chose.

    `benchmarks` empty means all. `baseline` is the experiment that others are held against, where a kind has one; null
    leaves the choice to it.
    """

    runs: Sequence[Run]
    display: Display
    benchmarks: Sequence[str] = ()
    metric: str = ACCURACY
    baseline: str | None = None


@dataclass(frozen=True, eq=False)
class Sketch:
    """A figure, drawn within `style.RC`; the table of the numbers that it shows; what keeps experiments out of it.

    `lacking` says by experiment what it lacks: an error where it was named, else a warning.
    """

    figure: Figure
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    lacking: Mapping[str, Meds1Error] = field(default_factory=dict)


# kind: (module of `plotting.figures` with a function `sketch(request)`, what it shows)
KINDS: Mapping[str, tuple[str, str]] = {
    "comparison": ("comparison", "accuracy of every experiment by benchmark, with 95 % intervals"),
}


def kind_of(name: str) -> Callable[[Request], Sketch]:
    """The function of a kind; `UsageError` for a name that is none's."""
    if name not in KINDS:
        raise UsageError(f"no figure {name!r}{nearest(name, KINDS)}")
    found: Callable[[Request], Sketch] = importlib.import_module(f"plotting.figures.{KINDS[name][0]}").sketch
    return found


def write(sketch: Sketch, stem: Path) -> list[Path]:
    """Write `stem`.png, .pdf and .csv; see `style.save`."""
    from plotting.figures.style import save

    return save(sketch.figure, stem, sketch.header, sketch.rows)
