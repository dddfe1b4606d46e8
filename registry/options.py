"""Options that several commands share, and the experiments that a command line means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from registry.console import Answer
from registry.errors import Meds1Error, UsageError
from registry.reading import View
from registry.schema import STAGES, Stage
from registry.selection import select
from registry.store import Registry, experiments_of, open_registry, results_of

NO_EXPERIMENTS = "the registry has no experiments yet; make them in the file, or bring them with `meds1 import`"

Names = Annotated[list[str] | None, typer.Argument(help="Experiments, by name or glob.")]
Name = Annotated[str, typer.Argument(help="Name of the experiment.")]
All = Annotated[bool, typer.Option("--all", help="All experiments of the registry.")]
Tag = Annotated[str | None, typer.Option("--tag", help="Only experiments with this tag.")]
Stages = Annotated[list[str] | None, typer.Option("--stage", help="Only this stage; repeatable.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a config value: key=value, repeatable.")]
Force = Annotated[bool, typer.Option("--force", help="Run also what is completed and fresh.")]
Rescore = Annotated[bool, typer.Option("--rescore", help="Score the stored predictions of an eval again; no model.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run, why and with which config; run nothing.")]
DryEdit = Annotated[bool, typer.Option("--dry-run", help="Say what would be written; write nothing.")]
PrintConfig = Annotated[
    bool, typer.Option("--print-config", "--print-effective-config", help="Show the effective config; run nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
RegistryFile = Annotated[Path | None, typer.Option("--registry", help="The results.json to use.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="The config.json to use.")]


def stages_of(given: list[str] | None) -> tuple[Stage, ...]:
    """The stages that `--stage` names, all when it names none; `UsageError` for another word."""
    wrong = [stage for stage in given or [] if stage not in STAGES]
    if wrong:
        raise UsageError(f"--stage {wrong[0]!r}: the stages are {', '.join(STAGES)}")
    return tuple(stage for stage in STAGES if stage in given) if given else STAGES


@dataclass(frozen=True)
class Files:
    """The registry and catalog that a command line names."""

    registry: Path | None
    config: Path | None


@dataclass(frozen=True)
class Choice:
    """Which experiments a command line means: names and globs, all, or those with a tag."""

    names: Sequence[str] = ()
    everything: bool = False
    tag: str | None = None

    @classmethod
    def or_all(cls, names: list[str] | None, tag: str | None) -> Choice:
        """All experiments when none is named."""
        return cls(names or (), not names, tag)


def chosen_one(answer: Answer, files: Files, name: str) -> tuple[Registry, View]:
    """Open the registry and read it; `UsageError` when it has no experiment of exactly this name."""
    opened, view = _read(answer, files)
    results_of(view, name)
    return opened, view


def chosen(answer: Answer, files: Files, choice: Choice) -> tuple[Registry, View, list[str]]:
    """Open the registry, read it, and select."""
    opened, view = _read(answer, files)
    _ = opened.catalog  # a broken one is one error here, not one for each experiment
    return opened, view, select(experiments_of(view), choice.names, choice.everything, choice.tag)


def _read(answer: Answer, files: Files) -> tuple[Registry, View]:
    opened = open_registry(files.registry, files.config)
    view = opened.read()
    answer.warnings.extend(view.warnings)
    return opened, view


def say(answer: Answer, name: str, error: Meds1Error, names: list[str] | None) -> None:
    """Report what is wrong with one experiment: an error when it was named, else a warning."""
    if name in (names or []):
        answer.fail(name, error)
    else:
        answer.warn(name, error)
