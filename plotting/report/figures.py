"""The figures of a report: every kind that has data; of the others, what they lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plotting.figures.kinds import KINDS, Request, kind_of, write
from registry.errors import Meds1Error


@dataclass(frozen=True)
class Drawn:
    """A kind of figure: its files below the report's folder, or why there are none; what keeps experiments out.

    `remark` is what is to be known of the picture.
    """

    kind: str
    title: str
    files: Sequence[str] = ()
    problem: str = ""
    remark: str = ""
    lacking: Sequence[str] = field(default_factory=list)


def draw(kind: str, request: Request, report: Path) -> Drawn:
    """Draw one kind; runs in a process of its own."""
    title = KINDS[kind].shows
    try:
        sketch = kind_of(kind)(request)
    except Meds1Error as error:
        return Drawn(kind, title, problem=str(error))
    written, remark = write(sketch, report / "figures" / kind)
    files = [str(path.relative_to(report)) for path in written]
    return Drawn(kind, title, files, remark=remark, lacking=[str(error) for error in sketch.lacking.values()])
