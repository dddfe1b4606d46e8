"""A registry opened: its file, its catalog and its output folders, with the verbs that everything else is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from registry.catalog import Catalog, DatasetEntry, ModelEntry
from registry.document import FORMAT
from registry.effective import EffectiveConfig
from registry.errors import StageFailure, UsageError, no_experiment
from registry.fold import FoldReport, fold
from registry.history import Entry, entry_of
from registry.names import check_name
from registry.original.status import recorded_statuses
from registry.paths import OutputPaths, RegistryPaths, catalog_file, registry_file
from registry.reading import View, load_record, read
from registry.records import Record, save_record, save_records
from registry.resolve import catalog_entry, effective, load_catalog
from registry.schema import Stage
from registry.status import StageStatus, statuses


@dataclass(frozen=True)
class Registry:
    """An opened registry. It holds no state but paths: every `read` sees what other processes have saved."""

    paths: RegistryPaths
    catalog_path: Path

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog, read once."""
        return load_catalog(self.catalog_path)

    @cached_property
    def outputs(self) -> OutputPaths:
        """The output folders that the environment names."""
        return OutputPaths.from_environment()

    def read(self) -> View:
        """The registry with every saved record in it; takes no lock."""
        return read(self.paths)

    def fold(self) -> FoldReport:
        """Write what records say into the registry file."""
        return fold(self.paths)

    def save(self, record: Record, fallback: Path | None = None) -> Path:
        """Save a record durably; see `save_record`."""
        return save_record(record, self.paths.inbox, fallback)

    def save_all(self, records: Sequence[Record]) -> None:
        """Save many records durably; see `save_records`."""
        save_records(records, self.paths.inbox)

    def effective(self, view: View, name: str, overrides: Mapping[str, Any] | None = None) -> EffectiveConfig:
        """The effective config of an experiment."""
        check_name(name)
        return effective(view.document, self.catalog, self.catalog_path.parent, name, overrides)

    def eval_dataset(self, key: str) -> DatasetEntry:
        """The entry of the catalog's eval_datasets as a stage sees it; `UsageError` for an unknown key."""
        return catalog_entry(self.catalog.eval_datasets, key, "eval_datasets", self.catalog_path.parent)

    def model(self, key: str) -> ModelEntry:
        """The entry of the catalog's models as a stage sees it; `UsageError` for an unknown key."""
        return catalog_entry(self.catalog.models, key, "models", self.catalog_path.parent)

    def statuses(self, view: View, name: str) -> dict[Stage, StageStatus]:
        """The state of an experiment's stages; of one with results and a config from another version, what they say."""
        return self.config_and_statuses(view, name)[1]

    def config_and_statuses(
        self, view: View, name: str
    ) -> tuple[EffectiveConfig | UsageError, dict[Stage, StageStatus]]:
        """The effective config, or why there is none, and `statuses`: the config is resolved once for both."""
        try:
            config = self.effective(view, name)
        except UsageError as problem:
            if not any(results_of(view, name).values()):
                raise
            return problem, recorded_statuses(experiments_of(view), name, view.state, problem)
        return config, statuses(config, results_of(view, name), view.state, view.contents)

    def find_completed(self, view: View, name: str, stage: Stage, fingerprint: str) -> Entry | None:
        """The newest completed result of this experiment's stage with exactly this fingerprint."""
        entry = results_of(view, name).get(stage) or {}
        if entry.get("status") == "completed" and entry.get("fingerprint") == fingerprint:
            return dict(entry)
        return self.recorded(view, name, stage, fingerprint)

    def recorded(self, view: View, name: str, stage: Stage, fingerprint: str) -> Entry | None:
        """A completed record of the stage with this fingerprint, also one that is history; none that was removed."""
        removed = view.state.removed(name, stage)
        for header in reversed(view.state.headers(name, stage)):
            if header.event == "completed" and header.fingerprint == fingerprint and header.attempt > removed:
                with contextlib.suppress(StageFailure):  # a damaged record is as if it had never been
                    return entry_of(load_record(self.paths, name, stage, header))
        return None


def open_registry(registry: Path | None = None, config: Path | None = None) -> Registry:
    """Open the registry that `--registry`, `MEDS1_REGISTRY` or the checkout names, with its catalog."""
    file = registry_file(registry)
    return Registry(RegistryPaths(file), catalog_file(config, file))


def refuse_newer(registry: Registry, view: View) -> None:
    """Raise `UsageError` for a registry of a newer format, which this code only reads."""
    if int(view.document.get("format", FORMAT)) > FORMAT:
        raise UsageError(f"{registry.paths.file}: its format is newer than this code's, which only reads it; update")


def experiments_of(view: View) -> dict[str, Any]:
    """The experiments of a registry by name."""
    return view.document.get("experiments") or {}


def results_of(view: View, name: str) -> dict[str, Any]:
    """The results of an experiment by stage; `UsageError` for an unknown name."""
    experiments = experiments_of(view)
    if name not in experiments:
        raise no_experiment(name, experiments)
    return experiments[name].get("results") or {}
