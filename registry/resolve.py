"""From a registry document and a catalog to an effective config, or to everything that stands in its way."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from registry.catalog import Catalog, DatasetEntry, HubOrFile, ModelEntry
from registry.checking import checked, validate, without
from registry.curation_schema import HASHING, SimilarRows
from registry.document import Document, load
from registry.effective import EffectiveConfig
from registry.engines import misfits
from registry.errors import UsageError, no_experiment, shortened, suggestion
from registry.fields import API_ENGINES
from registry.json_path import Steps, join
from registry.layers import CATALOG, Layers, build, default_resources
from registry.parts import part_names
from registry.problems import ConfigError, Problem
from registry.query_set import wrong_queries
from registry.rewriting_schema import PLACES
from registry.schema import ExperimentConfig, Resources

E = TypeVar("E", bound=HubOrFile)

_VARIABLE = re.compile(r"\$\{(\w*)\}")


@dataclass(frozen=True)
class Resolution:
    """What an experiment resolves to: its layers, and every problem or, without any, the effective config."""

    layers: Layers
    problems: tuple[Problem, ...]
    config: EffectiveConfig | None

    def sound(self) -> EffectiveConfig:
        """The effective config; `ConfigError` with all problems when there is none."""
        if self.problems or self.config is None:
            raise ConfigError.of(self.problems)
        return self.config


def load_catalog(path: Path) -> Catalog:
    """Read and check `config.json`."""
    document, _ = load(path)
    return validate(Catalog, document, str(path))


def effective(
    document: Document, catalog: Catalog, catalog_dir: Path, name: str, overrides: Mapping[str, Any] | None = None
) -> EffectiveConfig:
    """The effective config of experiment `name`, with `overrides` (dotted path in its config -> value) applied.

    Raises `UsageError` for an unknown experiment or key, a bad reference, and anything that the models refuse.
    """
    return resolve(document, catalog, catalog_dir, name, overrides).sound()


def resolve(
    document: Document, catalog: Catalog, catalog_dir: Path, name: str, overrides: Mapping[str, Any] | None = None
) -> Resolution:
    """Resolve experiment `name`; `UsageError` for an unknown one and for an override that cannot be put anywhere."""
    experiments = document.get("experiments") or {}
    if name not in experiments:
        raise no_experiment(name, experiments)
    layers, problems = build(experiments, catalog, name, overrides)
    config, flaws = checked(ExperimentConfig, without(layers.merged, [(field,) for field in layers.unclear]))
    problems += [layers.problem(flaw.steps, flaw.message, flaw.mend) for flaw in flaws]
    problems += _contradictions(layers, catalog)
    problems += misfits(config, layers, catalog) if config else ()
    problems += _torn_groups(config, layers, catalog) if config else ()
    problems += wrong_queries(config, layers, catalog, catalog_dir) if config else ()
    if config is None or problems:
        return Resolution(layers, tuple(problems), None)
    try:
        found = _looked_up(name, config, catalog, catalog_dir)
        merge = _merge_resources(config, layers, catalog)
        return Resolution(layers, tuple(problems), found.model_copy(update={"merge_resources": merge}))
    except ConfigError as error:
        return Resolution(layers, (*problems, *error.problems), None)


def parse_overrides(settings: list[str]) -> dict[str, Any]:
    """Read `key=value` settings: values are JSON where they parse as JSON, else text."""
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting!r}: write it as key=value, such as eval.limit=20")
        overrides[key] = parse_value(text)
    return overrides


def parse_value(text: str) -> Any:
    """The value of a setting: JSON where it parses as JSON, else text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def expand(text: str, where: str) -> str:
    """Fill in `${NAME}` from the environment; a name that is not set is a `UsageError`. `where` is a catalog path."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            message = f"${{{match[1]}}} is not set in the environment"
            mend = f"export {match[1] or 'it'}, or write the path out"
            raise ConfigError.of([Problem(where, message, mend, file=CATALOG)])
        return found

    return _VARIABLE.sub(value, text)


def located(file_path: str, where: str, folder: Path) -> str:
    """The absolute path of a catalog entry's `file_path`; `folder` is the catalog's."""
    path = expand(file_path, where) if "${" in file_path else file_path
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))


def catalog_keys(layers: Layers) -> Iterator[tuple[Steps, str, Any]]:
    """Where an experiment names a catalog entry: the steps, the catalog's section and the key, whatever it is."""
    merged = layers.merged
    yield ("model_key",), "models", merged.get("model_key")
    datasets, curation = merged.get("datasets"), merged.get("curation")
    if isinstance(datasets, dict):
        yield ("datasets", "curate"), "train_datasets", datasets.get("curate")
        keys = datasets.get("eval")
        if isinstance(keys, list | tuple):
            for index, key in enumerate(keys):
                yield ("datasets", "eval", index), "eval_datasets", key
        else:
            yield ("datasets", "eval"), "eval_datasets", keys
    if isinstance(curation, dict):
        yield from _keys_of_curation(curation)
    for part, field, section in (("judge", "model_key", "models"), ("few_shot", "dataset", "train_datasets")):
        settings = merged.get("eval")
        if isinstance(settings, dict) and isinstance(settings.get(part), dict):
            yield ("eval", part, field), section, settings[part].get(field)


def _keys_of_curation(curation: Mapping[str, Any]) -> Iterator[tuple[Steps, str, Any]]:
    difficulty, decontamination = curation.get("difficulty"), curation.get("decontamination")
    if isinstance(difficulty, dict):
        yield ("curation", "difficulty", "model_key"), "models", difficulty.get("model_key")
    if isinstance(decontamination, dict) and isinstance(decontamination.get("against"), list | tuple):
        for index, key in enumerate(decontamination["against"]):
            yield ("curation", "decontamination", "against", index), "eval_datasets", key
    for steps in PLACES.values():
        call: Any = {"curation": curation}
        for step in steps:
            call = call.get(step) if isinstance(call, dict) else None
        if isinstance(call, dict):
            yield (*steps, "model_key"), "models", call.get("model_key")
    if curation.get("embedding_model") != HASHING:
        yield ("curation", "embedding_model"), "models", curation.get("embedding_model")


def _contradictions(layers: Layers, catalog: Catalog) -> list[Problem]:
    """What no model can see: keys that the catalog lacks, and fields that need one another."""
    problems = []
    for steps, section, key in catalog_keys(layers):
        entries = getattr(catalog, section)
        if isinstance(key, str) and key not in entries:
            message = f"{shortened(key)} is not in the catalog's {section}"
            legal = {*entries, HASHING} if steps[-1] == "embedding_model" else entries
            problems.append(layers.problem(steps, message, suggestion(key, legal)))
    merged, unclear = layers.merged, layers.unclear
    if merged.get("training_params") is not None and merged.get("curation") is None and "curation" not in unclear:
        message = "has training_params but no curation, so no data to train on"
        mend = "add curation or remove training_params"
        problems.append(layers.problem(("training_params",), message, mend))
    entry = catalog.models.get(str(merged.get("model_key")))
    if entry is not None and entry.is_served:
        for field in ("training_params", "curation"):  # curation counts tokens with the model's tokenizer
            if merged.get(field) is not None:
                message = f"is behind an API, so {field} cannot use it"
                problems.append(layers.problem(("model_key",), message, "name a model that has weights"))
    datasets = merged.get("datasets")
    named = datasets.get("curate") if isinstance(datasets, dict) else None
    if merged.get("curation") is not None and named is None and "datasets" not in unclear:
        message = "has curation but datasets.curate names no data set of the catalog's train_datasets"
        mend = suggestion("", catalog.train_datasets)
        problems.append(layers.problem(("datasets", "curate"), message, mend))
    return problems


def _torn_groups(config: ExperimentConfig, layers: Layers, catalog: Catalog) -> Iterator[Problem]:
    """A global batch of GRPO that does not hold whole groups of completions."""
    params = config.training_params
    if params is None or params.grpo is None:
        return
    size, group = params.global_batch(catalog.defaults.reference_gpus), params.grpo.num_generations
    if size % group:
        message = f"a global batch of {size} completions does not hold whole groups of {group}"
        mend = f"set training_params.total_batch_size to a multiple of {group}"
        yield layers.problem(("training_params", "grpo", "num_generations"), message, mend)


def _merge_resources(config: ExperimentConfig, layers: Layers, catalog: Catalog) -> Resources | None:
    """What the merge of a sharded curation asks for: as one that calls no model, which its shards have done.

    What the selection chose is rewritten in the merge: where that loads a model, it asks for all that a shard does.
    """
    if config.curation is None or config.curation.shards == 1:
        return None
    if config.curation.rewriter is not None and config.curation.rewriter.engine not in API_ENGINES:
        return config.slurm.curation
    own = (layers.written.get("slurm") or {}).get("curation") or {}
    without_model = default_resources(catalog, calls_model=False)["curation"]
    return Resources.model_validate({**without_model, **own, "gpus": without_model["gpus"]})


def _looked_up(name: str, config: ExperimentConfig, catalog: Catalog, folder: Path) -> EffectiveConfig:
    datasets = config.datasets
    eval_keys = (datasets.eval,) if isinstance(datasets.eval, str) else datasets.eval or ()
    weigher = config.curation.difficulty.model_key if config.curation and config.curation.difficulty else None
    judge = config.eval.judge.model_key if config.eval.judge else None
    shots = config.eval.few_shot.dataset if config.eval.few_shot else None
    embedder = config.curation.embedder if config.curation else None
    calls = config.curation.calls if config.curation else {}
    curate, models, training_sets = datasets.curate, catalog.models, catalog.train_datasets
    return EffectiveConfig(
        experiment=name,
        model_key=config.model_key,
        model=catalog_entry(models, config.model_key, "models", folder),
        prompting=config.prompting,
        train_dataset_key=curate,
        train_dataset=None if curate is None else catalog_entry(training_sets, curate, "train_datasets", folder),
        eval_datasets={key: catalog_entry(catalog.eval_datasets, key, "eval_datasets", folder) for key in eval_keys},
        curation=config.curation,
        difficulty_model_key=weigher,
        difficulty_model=None if weigher is None else catalog_entry(models, weigher, "models", folder),
        training=config.training_params,
        reference_gpus=catalog.defaults.reference_gpus,
        eval=config.eval,
        judge_model=None if judge is None else catalog_entry(models, judge, "models", folder),
        few_shot_dataset=None if shots is None else catalog_entry(training_sets, shots, "train_datasets", folder),
        benchmarks=_benchmarks(config, catalog, folder),
        **_queries(config, catalog, folder),
        embedding_model=None if embedder is None else catalog_entry(models, embedder, "models", folder),
        called_models={role: catalog_entry(models, call.model_key, "models", folder) for role, call in calls.items()},
        slurm=config.slurm,
    )


def _benchmarks(config: ExperimentConfig, catalog: Catalog, folder: Path) -> dict[str, DatasetEntry]:
    """What the curation's decontamination checks against; nothing where there is no such filter."""
    check = config.curation.decontamination if config.curation else None
    if check is None:
        return {}
    keys = catalog.eval_datasets if check.against is None else check.against
    return {key: catalog_entry(catalog.eval_datasets, key, "eval_datasets", folder) for key in keys}


def _queries(config: ExperimentConfig, catalog: Catalog, folder: Path) -> dict[str, Any]:
    if not isinstance(config.curation, SimilarRows):
        return {}
    key = config.curation.queries
    section = "train_datasets" if key in catalog.train_datasets else "eval_datasets"
    return {"query_dataset": catalog_entry(getattr(catalog, section), key, section, folder), "query_section": section}


def catalog_entry(entries: Mapping[str, E], key: str, section: str, folder: Path) -> E:
    """The entry `key` with absolute paths, and `${NAME}` read from the environment; `UsageError` when there is none.

    `entries` are the catalog's of `section`, `folder` is where the catalog lies.
    """
    if key not in entries:
        raise UsageError(f"{shortened(key)} is not in the catalog's {section}; {suggestion(key, entries)}")
    entry = entries[key]
    paths = {field: getattr(entry, field, None) for field in ("file_path", "plugin")}
    update = {
        field: located(path, join(section, key, field), folder) for field, path in paths.items() if path is not None
    }
    if isinstance(entry, ModelEntry) and entry.base_url is not None:
        update["base_url"] = expand(entry.base_url, join(section, key, "base_url"))
    if isinstance(entry, DatasetEntry) and entry.merge is not None:
        part_names(entries, key, section)
        return entry.model_copy(update={"merge": {p: catalog_entry(entries, p, section, folder) for p in entry.merge}})
    return entry.model_copy(update=update)
