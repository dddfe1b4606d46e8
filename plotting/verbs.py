"""Commands that compare experiments: leaderboard and plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from plotting.figures.kinds import KINDS, Request, kind_of, write
from plotting.metrics import ACCURACY
from registry.console import Answer, Grid, answering
from registry.errors import Meds1Error, UsageError
from registry.options import Choice, ConfigFile, Files, Json, Names, RegistryFile, Tag, chosen
from registry.store import results_of

_NAMED = 4
"""So many of the experiments that a figure leaves out for one reason are named."""


def leaderboard(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    tag: Tag = None,
    benchmarks: Annotated[list[str] | None, typer.Option("--benchmark", help="Only this one; repeatable.")] = None,
    metric: Annotated[str, typer.Option(help="Rank by it; a wrong one names those there are.")] = ACCURACY,
    top: Annotated[int | None, typer.Option(min=1, help="Only the best so many.")] = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Rank experiments by accuracy or another metric, with 95 % intervals."""
    with answering("leaderboard", as_json) as answer:
        from plotting.leaderboard import as_json as ranking
        from plotting.leaderboard import board_of, rows_of, say_without, table

        opened, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        rows = rows_of(opened, view, selected, answer, names)
        board = board_of(rows, benchmarks or (), metric)
        say_without(board, answer, names)
        answer.data = ranking(board, top)
        display = opened.catalog.display
        if board.rows:
            answer.lines.append(table(board, display, top))
        elif not answer.errors:
            reason = ": see the warnings" if answer.warnings else " yet"
            answer.lines.append(f"no experiment has scores to show{reason}")
        if board.averages:
            answer.lines.append(board.macro_rule(display))
        if len(board.rows) > len(answer.data):
            answer.lines.append(f"and {len(board.rows) - len(answer.data)} more")


def plot(  # noqa: PLR0913 - one parameter per option of the command line
    kind: Annotated[str | None, typer.Argument(help=f"{', '.join(KINDS)}; without one, what each shows.")] = None,
    names: Annotated[list[str] | None, typer.Option("--experiments", help="Experiments, by name or glob.")] = None,
    tag: Tag = None,
    benchmarks: Annotated[list[str] | None, typer.Option("--benchmark", help="Only this one; repeatable.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What is drawn, as `meds1 leaderboard --metric` knows it; else accuracy.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="The experiment that others are held against.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the figure.")] = Path("figures"),
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Draw a figure as PNG and PDF, with the CSV that it was drawn from."""
    with answering("plot", as_json) as answer:
        from plotting.runs import runs_of

        if kind is None:
            answer.data = {name: each.shows for name, each in KINDS.items()}
            answer.lines.append(Grid(["figure", "shows"], [[name, each.shows] for name, each in KINDS.items()]))
            return
        draw = kind_of(kind)
        _check_options(kind, {"--benchmark": benchmarks, "--metric": metric, "--baseline": baseline})
        opened, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        baseline = _baseline(kind, baseline, names)
        if baseline is not None and baseline not in selected:
            results_of(view, baseline)  # an error where there is none of this name
            selected.append(baseline)
        runs = runs_of(opened, view, selected, answer, names)
        if answer.errors:
            return
        sketch = draw(Request(runs, opened.catalog.display, tuple(benchmarks or ()), metric or ACCURACY, baseline))
        _say_lacking(answer, sketch.lacking, names)
        if answer.errors:
            return
        written, remark = write(sketch, out / kind)
        answer.warnings += [remark] if remark else []
        answer.data = {
            "files": [str(path) for path in written],
            "numbers": [dict(zip(sketch.header, row, strict=True)) for row in sketch.rows],
            "lacking": {name: str(error) for name, error in sketch.lacking.items()},
        }
        answer.lines = [str(path) for path in written]


def _say_lacking(answer: Answer, lacking: Mapping[str, Meds1Error], names: list[str] | None) -> None:
    """What keeps experiments out: an error of each that was named; of the others one warning for each reason."""
    alike: dict[str, list[str]] = {}
    for name, error in lacking.items():
        if name in (names or []):
            answer.fail(name, error)
        else:
            reason = str(error).removeprefix(f"{name}: ").replace(f"`meds1 run {name}", "`meds1 run NAME")
            alike.setdefault(reason, []).append(name)
    for reason, of in alike.items():
        if len(of) == 1:
            answer.warnings.append(str(lacking[of[0]]))
        else:
            rest = f" and {len(of) - _NAMED} more" if len(of) > _NAMED else ""
            answer.warnings.append(f"{', '.join(of[:_NAMED])}{rest}: {reason}")


def _baseline(kind: str, given: str | None, names: list[str] | None) -> str | None:
    """The baseline of a kind that has one: the given one, else the first experiment that is named."""
    if given or not names or "--baseline" not in KINDS[kind].options:
        return given
    return None if any(mark in names[0] for mark in "*?[") else names[0]


def _check_options(kind: str, given: Mapping[str, object]) -> None:
    """Raise `UsageError` for an option that this kind of figure does not use."""
    for option, value in given.items():
        if value and option not in KINDS[kind].options:
            used = ", ".join(KINDS[kind].options)
            raise UsageError(f"the figure {kind} has no {option}{'; it takes ' if used else ''}{used}")
