"""The one door to data: a catalog entry in, rows out, in the file's order, the same on every machine."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.columns import Occurrences, Reading, readings_of
from data.hub import resolve
from data.plugins import Plugin, load_plugin
from data.readers import read_records
from data.rows import Row
from registry.catalog import DatasetEntry
from registry.errors import UsageError, naming


@dataclass(frozen=True)
class Loaded:
    """A data set as it was read, and the plugin of its entry."""

    readings: list[Reading]
    plugin: Plugin | None


def load_rows(key: str, entry: DatasetEntry) -> list[Row]:
    """Return every row of the data set that the catalog calls `key`, also those that lack something; see `load`."""
    return [reading.row for reading in load(key, entry).readings]


def load(key: str, entry: DatasetEntry) -> Loaded:
    """Return every row of the data set that the catalog calls `key`, with what is wrong with it.

    A merged data set has the rows of its parts, one after the other, each part's under its own key; how they are asked
    and judged is said by the parts, so that there is no plugin.

    No network: a hub data set is read from the hub cache (`meds1 fetch` puts it there). `hf_split` applies to hub
    data sets and saved DatasetDicts; any other file is one split. Raises MissingError when the data is not on this
    machine, UsageError when it cannot be read as rows.
    """
    if isinstance(entry.merge, dict):
        seen: Occurrences = Counter()
        parts = entry.parts(key)
        return Loaded([reading for name, part in parts for reading in _loaded(name, part, seen).readings], None)
    return _loaded(key, entry, Counter())


def _loaded(key: str, entry: DatasetEntry, seen: Occurrences) -> Loaded:
    plugin = None if entry.plugin is None else load_plugin(Path(entry.plugin))
    with naming(f"data set '{key}'"):
        path = resolve(entry, "dataset", name=key) if entry.is_data else None
    return Loaded(readings_of(key, entry, _records(key, entry, path, plugin), seen), plugin)


def _records(key: str, entry: DatasetEntry, path: Path | None, plugin: Plugin | None) -> list[dict[str, Any]]:
    if plugin is not None and plugin.load is not None:
        return plugin.load(path)
    if path is None:
        raise UsageError(f"data set '{key}': it has neither hf_path nor file_path, and its plugin has no `load`")
    return read_records(key, path, entry.hf_split) if entry.hf_path is None else _hub_records(key, entry, path)


def _hub_records(key: str, entry: DatasetEntry, snapshot: Path) -> list[dict[str, Any]]:
    """Read a split from a snapshot of the hub cache."""
    import datasets

    where = f"data set '{key}' ({entry.hf_path})"
    datasets.disable_progress_bars()
    try:
        builder = datasets.load_dataset_builder(str(snapshot), entry.hf_config)
        as_text = _csv_as_text(builder, entry.hf_split)
        table = datasets.load_dataset(str(snapshot), entry.hf_config, split=entry.hf_split, **as_text)
    except (ValueError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        reason = textwrap.shorten(str(error.__cause__ or error), 300).rstrip(".")
        raise UsageError(f"{where}: {reason}; correct hf_config or hf_split in the catalog") from error
    if not len(table):
        raise UsageError(f"{where}: split '{entry.hf_split}' holds no rows")
    return [dict(record) for record in table]


def _csv_as_text(builder: Any, split: str) -> dict[str, Any]:
    """Return the settings with which `datasets` leaves a CSV's values as they are: "NA" is no null, "007" no 7."""
    import pandas
    from datasets import Features, Value
    from datasets.packaged_modules.csv.csv import CsvConfig

    files = (builder.config.data_files or {}).get(split.split("[")[0])
    if not isinstance(builder.config, CsvConfig) or not files:
        return {}
    names = builder.config.names or pandas.read_csv(files[0], sep=builder.config.sep, nrows=0).columns
    return {"keep_default_na": False, "features": Features({name: Value("string") for name in names})}
