"""`meds1 fetch`: what experiments need from the hub, once each, onto this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from data.hub import RepoType, fetch
from registry.catalog import Catalog, HubOrFile
from registry.effective import EffectiveConfig
from registry.parts import part_names


@dataclass(frozen=True)
class Needed:
    """One catalog entry that some experiment uses."""

    key: str
    kind: RepoType
    entry: HubOrFile

    @property
    def label(self) -> str:
        """How it is called in messages."""
        return f"{self.kind} {self.key} ({self.entry.hf_path or self.entry.file_path})"


def needed(configs: list[EffectiveConfig]) -> list[Needed]:
    """Every model and data set that the experiments use, without repeats."""
    found: dict[tuple[str, str], Needed] = {}
    for config in configs:
        for used in config.used():
            if used.entry.is_data:
                found.setdefault((used.section, used.key), Needed(used.key, used.kind, used.entry))
    return list(found.values())


def of_catalog(catalog: Catalog, key: str) -> list[Needed]:
    """What of the hub the catalog calls `key`: a model and data sets may share a name."""
    sections: list[tuple[RepoType, str, Mapping[str, HubOrFile]]] = [
        ("model", "models", catalog.models),
        ("dataset", "train_datasets", catalog.train_datasets),
        ("dataset", "eval_datasets", catalog.eval_datasets),
    ]
    found = [
        Needed(name, kind, entries[name])
        for kind, section, entries in sections
        if key in entries
        for name in part_names(entries, key, section)
    ]
    return [item for item in found if item.entry.hf_path is not None]


def fetch_all(items: list[Needed]) -> Iterator[tuple[Needed, Path]]:
    """Fetch one after the other; the first that cannot be had raises."""
    for item in items:
        yield item, fetch(item.entry, item.kind)
