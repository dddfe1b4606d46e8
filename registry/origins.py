"""Where each value of an effective config comes from, told from the layers that it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from registry.catalog import Catalog
from registry.effective import EffectiveConfig
from registry.json_path import Steps, join
from registry.layers import BUILT_IN, CATALOG, DEFAULTS, OWN, Layers, has

# Where the effective config has another name for a field than an experiment's config.
_WRITTEN: dict[str, Steps] = {
    "training": ("training_params",),
    "train_dataset_key": ("datasets", "curate"),
    "difficulty_model_key": ("curation", "difficulty", "model_key"),
    "merge_resources": ("slurm", "curation"),
}
ENTRIES = (
    "model",
    "train_dataset",
    "eval_datasets",
    "difficulty_model",
    "judge_model",
    "few_shot_dataset",
    "benchmarks",
    "query_dataset",
    "embedding_model",
)


def values(config: EffectiveConfig) -> Iterator[tuple[Steps, Any]]:
    """Every value of an effective config that is no object, or an empty one, with the steps to it."""
    yield from leaves(config.model_dump(mode="json"))


def origins(config: EffectiveConfig, layers: Layers, catalog: Catalog) -> dict[str, str]:
    """By path: where it stands in words, such as `own`, `same as X`, `config.json defaults`, `built-in` or `--set`."""
    given = config.model_dump(mode="json", include=set(ENTRIES), exclude_unset=True)
    found = {}
    for steps, value in values(config):
        top = str(steps[0])
        if top == "experiment":
            origin = OWN
        elif top == "reference_gpus":
            origin = DEFAULTS if top in catalog.defaults.model_fields_set else BUILT_IN
        elif top in ENTRIES:
            origin = CATALOG if value is not None and has(given, steps) else BUILT_IN
        else:
            origin = layers.origin((*_WRITTEN.get(top, (top,)), *steps[1:]))
        found[join(*steps)] = origin
    return found


def leaves(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Every value in `value`, which stands under `steps`, that is no object, or an empty one."""
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from leaves(below, (*steps, key))
    else:
        yield steps, value
