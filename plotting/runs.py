"""Experiments as everything that compares them reads them: config, state and results of the stages, and the scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plotting.artifacts import located, needed
from plotting.scores import Row, row_of
from registry.console import Answer
from registry.effective import EffectiveConfig
from registry.errors import Meds1Error, MissingError, UsageError
from registry.layers import build
from registry.options import say
from registry.original.case import part
from registry.reading import View
from registry.schema import Stage
from registry.status import StageStatus, ended_as
from registry.store import Registry, experiments_of, results_of


@dataclass(frozen=True)
class Run:
    """One experiment at one moment.

    `body` is its entry of the registry as people wrote it, with results; `written` is the config in it with references
    followed and old spellings read, as far as they lead somewhere. `config` is null, and `problem` says why, for
    an experiment with results whose config is not of this version. `row` has its scores; null without an eval result,
    and `why_unscored` says why.
    """

    experiment: str
    label: str
    group: str | None
    color: str | None
    body: Mapping[str, Any]
    written: Mapping[str, Any]
    results: Mapping[str, Any]
    statuses: Mapping[Stage, StageStatus]
    config: EffectiveConfig | None
    problem: str
    row: Row | None
    why_unscored: Meds1Error | None

    @property
    def scored(self) -> Row:
        """Its scores; raises what keeps it from having any."""
        if self.row is None:
            raise self.why_unscored or MissingError(f"{self.experiment}: has no eval result")
        return self.row

    def metrics(self, stage: Stage) -> Mapping[str, Any]:
        """The metrics of its completed result of a stage; empty where there is none."""
        return part(self.completed(stage) or {}, "metrics")

    def completed(self, stage: Stage) -> Mapping[str, Any] | None:
        """Its completed result of a stage, stale ones included; null where there is none."""
        entry = self.results.get(stage)
        return entry if entry and ended_as(entry) == "completed" else None

    def file(self, stage: Stage, field: str) -> Path | None:
        """A file that its result of a stage names, such as `predictions_path`, where it is on this machine."""
        entry = self.completed(stage)
        return located(entry, field) if entry else None

    def needed(self, stage: Stage, field: str) -> Path:
        """`file`; raises `MissingError` that says what is missing and what to do."""
        entry = self.completed(stage)
        if entry is None:
            raise MissingError(f"{self.experiment}: has no completed {stage}; run `meds1 run {self.experiment}`")
        return needed(self.experiment, stage, entry, field)


def run_of(opened: Registry, view: View, name: str) -> Run:
    """Read one experiment; `UsageError` for an unknown one, or one without results whose config is wrong."""
    results = results_of(view, name)
    config, states = opened.config_and_statuses(view, name)
    row, why = None, None
    try:
        row = row_of(name, results, states["eval"], opened.catalog.display)
    except (MissingError, UsageError) as error:
        why = error
    shown = opened.catalog.display.experiments.get(name)
    return Run(
        experiment=name,
        label=(shown.name if shown and shown.name else name),
        group=shown.group if shown else None,
        color=shown.color if shown else None,
        body=experiments_of(view)[name],
        written=build(experiments_of(view), opened.catalog, name)[0].written,
        results=results,
        statuses=states,
        config=config if isinstance(config, EffectiveConfig) else None,
        problem="" if isinstance(config, EffectiveConfig) else str(config),
        row=row,
        why_unscored=why,
    )


def runs_of(
    opened: Registry, view: View, selected: Iterable[str], answer: Answer, names: list[str] | None
) -> list[Run]:
    """The experiments that can be read; what is wrong with another is an error when it was named, else a warning."""
    found = []
    for name in selected:
        try:
            found.append(run_of(opened, view, name))
        except Meds1Error as error:
            say(answer, name, error, names)
    return found


def scored_of(runs: Iterable[Run], answer: Answer, names: list[str] | None) -> list[Run]:
    """Those with scores; another is an error when it was named, else a warning."""
    found = []
    for run in runs:
        if run.row is None:
            assert run.why_unscored is not None
            say(answer, run.experiment, run.why_unscored, names)
        else:
            found.append(run)
    return found
