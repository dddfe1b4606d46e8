"""`meds1 report`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from registry.console import answering
from registry.errors import UsageError, counted
from registry.names import flaw
from registry.options import NO_EXPERIMENTS, Choice, ConfigFile, Files, Json, Names, RegistryFile, Tag, chosen, say


def report(
    names: Names = None,
    tag: Tag = None,
    out: Annotated[Path, typer.Option(help="Folder of the report; an older report there is replaced.")] = Path(
        "report"
    ),
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Write a report of HTML pages that opens from disk: tables, tests, figures, single predictions."""
    with answering("report", as_json) as answer:
        from plotting.report.make import make_report
        from plotting.runs import runs_of

        began = time.monotonic()
        opened, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        # A page is a file of the experiment's name.
        illegal = [name for name in selected if flaw(name) is not None]
        for name in illegal:
            say(answer, name, UsageError("; ".join([*(flaw(name) or ()), "it has no page in the report"])), names)
        legal = [name for name in selected if name not in illegal]
        runs = runs_of(opened, view, legal, answer, names)
        if answer.errors:
            return
        if not runs:
            raise UsageError(NO_EXPERIMENTS)
        made = make_report(opened, view, runs, out)
        answer.warnings += made.warnings
        answer.data = {
            "folder": str(out.absolute()),
            "files": made.files,
            "bytes": made.size,
            "seconds": round(time.monotonic() - began, 1),
            "experiments": [run.experiment for run in runs],
            "with_predictions": made.with_predictions,
        }
        answer.lines += [
            f"{counted(len(runs), 'experiment')}, {made.with_predictions} of them with predictions",
            f"open {out / 'index.html'} ({made.files:,} files, {made.size / 1e6:,.1f} MB)",
        ]
