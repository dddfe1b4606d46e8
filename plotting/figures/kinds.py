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
from registry.errors import Meds1Error, UsageError, nearest, shortened
from registry.figure_style import RC

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


@dataclass(frozen=True)
class Kind:
    """A kind of figure: its module of `plotting.figures` with a function `sketch(request)`, and what it shows.

    `options` are those of `--benchmark`, `--metric` and `--baseline` that it uses; another one is a mistake.
    """

    module: str
    shows: str
    options: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "comparison": Kind(
        "comparison", "every experiment on every benchmark, with 95 % intervals", ("--benchmark", "--metric")
    ),
    "differences": Kind(
        "differences",
        "every experiment against --baseline on the same questions, with paired tests",
        ("--benchmark", "--baseline"),
    ),
    "scaling": Kind("scaling", "accuracy by the tokens of reasoning, over budgets", ("--benchmark", "--metric")),
    "cost": Kind("cost", "accuracy by what a model took to make: GPU hours, dollars", ("--benchmark", "--metric")),
    "sample-efficiency": Kind(
        "sample_efficiency", "scores by the rows trained on, a line per recipe", ("--benchmark", "--metric")
    ),
    "perturbation": Kind(
        "perturbation", "scores by the rate of each perturbation of the reasoning", ("--benchmark", "--metric")
    ),
    "reasoning-style": Kind(
        "reasoning_style", "scores by the style that the reasoning was rewritten in", ("--benchmark", "--metric")
    ),
    "funnel": Kind("funnel", "the rows that each filter of a curation left"),
    "specialties": Kind("specialties", "the specialties of the chosen rows"),
    "lengths": Kind("lengths", "the lengths of the chosen rows' reasoning, in tokens"),
    "training": Kind("training", "losses, or rewards, over the steps of a training", ("--baseline",)),
}


def kind_of(name: str) -> Callable[[Request], Sketch]:
    """The function of a kind, drawing as `style` has it; `UsageError` for a name that is none's."""
    if name not in KINDS:
        raise UsageError(f"no figure {shortened(name)}{nearest(name, KINDS)}")

    def draw(request: Request) -> Sketch:
        from matplotlib import rc_context

        sketch: Callable[[Request], Sketch]
        sketch = importlib.import_module(f"plotting.figures.{KINDS[name].module}").sketch
        with rc_context(RC):
            return sketch(request)

    return draw


def write(sketch: Sketch, stem: Path) -> tuple[list[Path], str]:
    """Write `stem`.png, .pdf and .csv; return them, and what is to be known of them. See `files`."""
    from plotting.figures.files import letters_lacking, save

    return save(sketch.figure, stem, sketch.header, sketch.rows), letters_lacking(sketch.figure)
