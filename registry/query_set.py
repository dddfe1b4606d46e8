"""The queries of a selection by similarity: that they exist, and are no benchmark unless the config says so.

Training data that was chosen for being like a benchmark's questions makes its score no measure of anything else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from registry.catalog import Catalog, DatasetEntry
from registry.curation_schema import SimilarRows
from registry.errors import shortened, suggestion
from registry.layers import Layers
from registry.paths import matching
from registry.problems import Problem
from registry.schema import ExperimentConfig


def wrong_queries(config: ExperimentConfig, layers: Layers, catalog: Catalog, folder: Path) -> Iterator[Problem]:
    """A query set that the catalog does not have, and a benchmark's without `eval_queries`."""
    curation, steps = config.curation, ("curation", "queries")
    if not isinstance(curation, SimilarRows):
        return
    key, sets, benchmarks = curation.queries, catalog.train_datasets, catalog.eval_datasets
    if key not in sets and key not in benchmarks:
        message = f"{shortened(key)} is in neither train_datasets nor eval_datasets of the catalog"
        yield layers.problem(steps, message, suggestion(key, [*sets, *benchmarks]))
    elif not curation.eval_queries:
        places = _places(sets if key in sets else benchmarks, key, folder)
        same = next((name for name in benchmarks if places & _places(benchmarks, name, folder)), None)
        if same is not None:
            message = f"{shortened(key)} holds the questions of the benchmark {shortened(same)}"
            mend = "name a data set that no model is evaluated on, or set curation.eval_queries, which marks the result"
            yield layers.problem(steps, message, mend)


def _places(
    entries: Mapping[str, DatasetEntry], key: str, folder: Path, above: frozenset[str] = frozenset()
) -> set[tuple[str, str]]:
    """Where the rows of `key` come from: files, splits of saved data sets, and splits of the hub's."""
    entry = entries.get(key)
    if entry is None or key in above:
        return set()
    if entry.merge is not None:
        return set().union(*(_places(entries, part, folder, above | {key}) for part in entry.merge))
    if entry.hf_path is not None:
        return {(entry.hf_path, split.split("[")[0].strip()) for split in entry.hf_split.split("+")}
    if entry.file_path is None:
        return {("", key)}
    written = os.path.join(folder, os.path.expandvars(os.path.expanduser(entry.file_path)))
    return {_place(path, entry.hf_split) for path in matching(written) or [Path(written)]}


def _place(path: Path, split: str) -> tuple[str, str]:
    """A file under the one name that all links to it lead to; of a saved DatasetDict, its split."""
    real = os.path.realpath(path)
    return real, split if os.path.isfile(os.path.join(real, "dataset_dict.json")) else ""
