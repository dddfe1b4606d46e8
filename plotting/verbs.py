"""Commands that compare experiments: leaderboard and plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from registry.console import Answer, answering
from registry.errors import Meds1Error
from registry.options import Choice, ConfigFile, Files, Json, Names, RegistryFile, Tag, chosen, say
from registry.reading import View
from registry.store import Registry, results_of

if TYPE_CHECKING:
    from plotting.scores import Row


def leaderboard(
    names: Names = None,
    tag: Tag = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Rank experiments by accuracy, with 95 % intervals."""
    with answering("leaderboard", as_json) as answer:
        from plotting.leaderboard import as_json as board
        from plotting.leaderboard import table

        opened, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        rows = _rows(opened, view, selected, answer, names)
        answer.data = board(rows)
        if rows:
            answer.lines.append(table(rows, opened.catalog.display))
        elif not answer.errors:
            answer.lines.append("no experiment has an eval result yet")


def plot(  # noqa: PLR0913 - one parameter per option of the command line
    kind: Annotated[Literal["comparison"], typer.Argument(help="Which figure.")],
    names: Annotated[list[str] | None, typer.Option("--experiments", help="Experiments, by name or glob.")] = None,
    tag: Tag = None,
    out: Annotated[Path, typer.Option(help="Folder of the figure.")] = Path("figures"),
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Draw a figure as PNG and PDF, with the CSV that it was drawn from."""
    with answering("plot", as_json) as answer:
        from plotting.comparison import draw

        opened, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        rows = _rows(opened, view, selected, answer, names)
        if answer.errors:
            return
        written = draw(rows, opened.catalog.display, out / kind)
        answer.data = {"files": [str(path) for path in written]}
        answer.lines = [str(path) for path in written]


def _rows(opened: Registry, view: View, selected: list[str], answer: Answer, names: list[str] | None) -> list[Row]:
    """The comparable rows; what keeps an experiment out is an error when it was named, else a warning."""
    from plotting.scores import row_of

    rows = []
    for name in selected:
        try:
            status = opened.statuses(view, name)["eval"]
            rows.append(row_of(name, results_of(view, name), status, opened.catalog.display))
        except Meds1Error as error:
            say(answer, name, error, names)
    return rows
