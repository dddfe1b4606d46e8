"""The figures of a report: every kind that has data; of the others, what they lack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plotting.figures.kinds import KINDS, Request, kind_of, write
from registry.errors import Meds1Error


@dataclass(frozen=True)
class Drawn:
    """A kind of figure: its files below the report's folder, or why there are none; what keeps experiments out."""

    kind: str
    title: str
    files: Sequence[str] = ()
    problem: str = ""
    lacking: Sequence[str] = field(default_factory=list)


def draw_all(request: Request, report: Path) -> Iterator[Drawn]:
    """Draw one kind after the other."""
    for kind, about in KINDS.items():
        try:
            sketch = kind_of(kind)(request)
        except Meds1Error as error:
            yield Drawn(kind, about.shows, problem=str(error))
            continue
        files = [str(path.relative_to(report)) for path in write(sketch, report / "figures" / kind)]
        lacking = [str(error) for error in sketch.lacking.values()]
        yield Drawn(kind, about.shows, files, lacking=lacking)
