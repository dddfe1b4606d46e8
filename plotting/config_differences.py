"""In what the effective configs of experiments differ, as paths of an experiment's config, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plotting.runs import Run
from registry.effective import EffectiveConfig
from registry.json_path import Steps, join

# Entries of the catalog are told by their keys.
_SHOWN = {"model_key", "prompting", "curation", "eval", "reference_gpus"}


@dataclass(frozen=True)
class ConfigDifference:
    """A path of the config and its value in each run, by experiment; null where a run has no such field."""

    path: str
    values: Mapping[str, Any]


def are_effective(runs: Sequence[Run]) -> bool:
    """Whether the effective configs can be compared; else it is what is written, without the catalog's defaults."""
    return all(run.config is not None for run in runs)


def named(config: EffectiveConfig) -> dict[str, Any]:
    """What decides the outcomes of an experiment, by the paths of its config: no catalog entries, no resources."""
    body = config.model_dump(mode="json", include=_SHOWN)
    training = config.training.model_dump(mode="json") if config.training else None
    datasets = {"curate": config.train_dataset_key, "eval": list(config.eval_datasets)}
    return {**body, "datasets": datasets, "training_params": training}


def config_differences(runs: Sequence[Run]) -> list[ConfigDifference]:
    """The fields that are not the same in all runs, in the config's order.

    Where only some runs have an object (a base model has no curation), that is one difference, and the fields inside
    are compared among those that have it.
    """
    names = [run.experiment for run in runs]
    if not are_effective(runs):
        return _differences((), {run.experiment: {**run.written, "slurm": None} for run in runs}, names)
    return _differences((), {run.experiment: named(run.config) for run in runs if run.config}, names)


def _differences(steps: Steps, found: Mapping[str, Any], names: Sequence[str]) -> list[ConfigDifference]:
    found = {name: None if value in ({}, []) else value for name, value in found.items()}  # nothing is given
    values = list(found.values())
    if all(value == values[0] for value in values):
        return []
    objects = {name: value for name, value in found.items() if isinstance(value, Mapping)}
    differences = []
    if len(objects) < len(found):
        differences.append(ConfigDifference(join(*steps), {name: found.get(name) for name in names}))
    for key in dict.fromkeys(key for value in objects.values() for key in value):
        inner = {name: value.get(key) for name, value in objects.items()}
        differences += _differences((*steps, key), inner, names)
    return differences
