"""From a registry document and a catalog to an effective config, and from a pydantic error to one clear line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from registry.catalog import Catalog, HubOrFile
from registry.document import Document, load
from registry.effective import EffectiveConfig
from registry.errors import UsageError, nearest
from registry.references import FIELDS, follow
from registry.schema import ExperimentConfig, StageResources

M = TypeVar("M", bound=BaseModel)
E = TypeVar("E", bound=HubOrFile)

# Fields of the original project's registries that this version reads but cannot run yet.
NOT_BUILT = {
    "curation": ("extract", "perturbation", "restore"),
    "eval": ("repetitions",),
}
_VARIABLE = re.compile(r"\$\{(\w*)\}")


def load_catalog(path: Path) -> Catalog:
    """Read and check `config.json`."""
    document, _ = load(path)
    return validate(Catalog, document, str(path))


def validate(model: type[M], data: Any, where: str) -> M:
    """Build `model` from `data`; `UsageError` with the path of the first problem, and the nearest legal name."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UsageError(explain(error, model, where)[0]) from None


def explain(error: ValidationError, model: type[BaseModel], where: str) -> list[str]:
    """One line for each problem that pydantic found."""
    lines = []
    for problem in error.errors():
        steps = [str(step) for step in problem["loc"]]
        path = ".".join([where, *steps])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{path}: unknown field{nearest(steps[-1], _fields(model, steps[:-1]))}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            given = problem["input"]
            shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) or given is None else ""
            lines.append(f"{path}: {message}{shown}")
    return lines


def effective(
    document: Document, catalog: Catalog, catalog_dir: Path, name: str, overrides: Mapping[str, Any] | None = None
) -> EffectiveConfig:
    """The effective config of experiment `name`, with `overrides` (dotted path in its config -> value) applied.

    Raises `UsageError` for an unknown experiment or key, a bad reference, and anything that the models refuse.
    """
    experiments = document.get("experiments") or {}
    if name not in experiments:
        raise UsageError(f"no experiment {name!r} in the registry{nearest(name, experiments)}")
    raw = _followed(experiments, name)
    for path, value in (overrides or {}).items():
        _assign(raw, path.split("."), value, name)
    config = validate(ExperimentConfig, _with_defaults(raw, catalog, name), f"experiments.{name}.config")
    if config.training_params is not None and config.curation is None:
        raise UsageError(
            f"{name}: has training_params but no curation, so no data to train on; "
            "add curation or remove training_params"
        )
    return _looked_up(name, config, catalog, catalog_dir)


def parse_overrides(settings: list[str]) -> dict[str, Any]:
    """Read `key=value` settings: values are JSON where they parse as JSON, else text."""
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting!r}: write it as key=value, such as eval.limit=20")
        try:
            overrides[key] = json.loads(text)
        except json.JSONDecodeError:
            overrides[key] = text
    return overrides


def _followed(experiments: Mapping[str, Any], name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(json.dumps(experiments[name].get("config") or {}))
    for field in FIELDS:
        if field in config:
            config[field] = json.loads(json.dumps(follow(experiments, name, field)[0]))
    return _modern(config, name)


def _modern(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Read the original project's spellings, and refuse what this version would have to ignore."""
    curation = config.get("curation")
    stray = config.pop("format", None)
    if isinstance(curation, dict):
        old = curation.pop("huatuo_format", None)
        if old is False and not stray and "format" not in curation:
            raise UsageError(
                f"experiments.{name}.config.curation.huatuo_format: false names no format; give curation.format instead"
            )
        if "format" not in curation and (stray or old):
            curation["format"] = stray or "huatuo"
    for section, fields in NOT_BUILT.items():
        for field in fields:
            # null, false and nothing at all mean the same: there is nothing to be done that could be left out
            if isinstance(config.get(section), dict) and config[section].pop(field, None):
                raise UsageError(
                    f"experiments.{name}.config.{section}.{field}: not built yet in this version; remove it for now"
                )
    return config


def _with_defaults(raw: dict[str, Any], catalog: Catalog, name: str) -> dict[str, Any]:
    filled = dict(raw)
    for field, defaults in (
        ("curation", catalog.defaults.curation),
        ("training_params", catalog.defaults.training_params),
        ("eval", catalog.defaults.eval),
    ):
        if field == "eval" and filled.get("eval") is None:
            filled["eval"] = {}
        if isinstance(filled.get(field), dict):
            filled[field] = _filled(filled[field], defaults)
    own = filled.get("slurm") or {}
    if not isinstance(own, dict) or not all(isinstance(part, dict | None) for part in own.values()):
        raise UsageError(f"experiments.{name}.config.slurm: must be an object of objects, one per stage")
    filled["slurm"] = {
        stage: {**catalog.slurm.get(stage, {}), **(own.get(stage) or {})}
        for stage in {*StageResources.model_fields, *own}
    }
    return filled


def _filled(own: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`own` with the defaults of the fields that it leaves out, also inside the objects that both have."""
    filled = {**defaults, **own}
    for field, value in own.items():
        default = defaults.get(field)
        if isinstance(value, dict) and isinstance(default, dict):
            filled[field] = _filled(value, default)
    return filled


def _looked_up(name: str, config: ExperimentConfig, catalog: Catalog, folder: Path) -> EffectiveConfig:
    datasets = config.datasets
    eval_keys = (datasets.eval,) if isinstance(datasets.eval, str) else datasets.eval or ()
    if config.curation is not None and datasets.curate is None:
        raise UsageError(f"{name}: has curation but datasets.curate names no data set of the catalog's train_datasets")
    where = f"experiments.{name}.config"
    judge = config.curation.difficulty.model_key if config.curation and config.curation.difficulty else None
    return EffectiveConfig(
        experiment=name,
        model_key=config.model_key,
        model=_entry(catalog.models, config.model_key, f"{where}.model_key", "models", folder),
        prompting=config.prompting,
        train_dataset_key=datasets.curate,
        train_dataset=_optional(
            catalog.train_datasets, datasets.curate, f"{where}.datasets.curate", "train_datasets", folder
        ),
        eval_datasets={
            key: _entry(catalog.eval_datasets, key, f"{where}.datasets.eval", "eval_datasets", folder)
            for key in eval_keys
        },
        curation=config.curation,
        difficulty_model_key=judge,
        difficulty_model=_optional(catalog.models, judge, f"{where}.curation.difficulty.model_key", "models", folder),
        training=config.training_params,
        reference_gpus=catalog.defaults.reference_gpus,
        eval=config.eval,
        slurm=config.slurm,
    )


def _optional(entries: Mapping[str, E], key: str | None, where: str, section: str, folder: Path) -> E | None:
    return None if key is None else _entry(entries, key, where, section, folder)


def _entry(entries: Mapping[str, E], key: str, where: str, section: str, folder: Path) -> E:
    if key not in entries:
        raise UsageError(f"{where}: {key!r} is not in the catalog's {section}{nearest(key, entries)}")
    entry = entries[key]
    if entry.file_path is None:
        return entry
    path = folder / Path(expand(entry.file_path, f"catalog {section}.{key}.file_path")).expanduser()
    return entry.model_copy(update={"file_path": os.path.normpath(path)})


def expand(text: str, where: str) -> str:
    """Fill in `${NAME}` from the environment; a name that is not set is a `UsageError`."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise UsageError(f"{where}: ${{{match[1]}}} is not set in the environment")
        return found

    return _VARIABLE.sub(value, text)


def _assign(config: dict[str, Any], path: list[str], value: Any, name: str) -> None:
    spot = config
    for step in path[:-1]:
        inner = spot.get(step) if step in ("curation", "training_params") else spot.setdefault(step, {})
        if inner is None:
            raise UsageError(f"{name}: --set {'.'.join(path)}: {step} does not apply to this experiment")
        if not isinstance(inner, dict):
            raise UsageError(f"{name}: --set {'.'.join(path)}: {step} is a plain value")
        spot = inner
    spot[path[-1]] = value


def _fields(model: type[BaseModel], steps: list[str]) -> list[str]:
    """The legal field names of the model that lies under `steps`."""
    here: Any = model
    for step in steps:
        found = here.model_fields.get(step) if isinstance(here, type) and issubclass(here, BaseModel) else None
        if found is None:
            continue  # a key of a mapping, or an index
        here = _model_in(found.annotation)
        if here is None:
            return []
    return list(here.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
