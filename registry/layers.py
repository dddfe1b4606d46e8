"""An experiment's config in layers, before the models see it: defaults, what is written or referred to, `--set`.

Each value of the result can be asked where it comes from. That is told from the very layers that the effective config
is made of; nothing is resolved twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.catalog import Catalog
from registry.checking import checked
from registry.curation_schema import CURATIONS, fields_of
from registry.errors import UsageError
from registry.json_path import ABSENT, Steps, below, join, split, startswith
from registry.problems import ConfigError, Problem
from registry.references import FIELDS, follow, target
from registry.rewriting_schema import needs_rewriter
from registry.schema import STAGES

OWN, BUILT_IN, SET, CATALOG = "own", "built-in", "--set", "catalog"
DEFAULTS, RESOURCES = "config.json defaults", "config.json slurm"
CPU_RESOURCES, NO_MODEL = "config.json slurm.curation_cpu", "built-in for curation without a model"
_WITHOUT_MODEL = {"gpus": 0}
Config = dict[str, Any]


@dataclass(frozen=True)
class Layers:
    """The layers of one experiment's config.

    `written` is what the registry says, references followed and old spellings read, with `--set` over it; `merged`
    has the catalog's `defaults` below it. `source` has the experiment that each referenced field was found in.
    `unclear` are fields that are left out of both because nobody can say what they should be. `without_model` is the
    catalog's `slurm.curation_cpu` where it lies over `slurm.curation`: for a curation that calls no model; else null.
    """

    name: str
    written: Config
    merged: Config
    defaults: Mapping[str, Any]
    source: Mapping[str, str]
    overrides: tuple[Steps, ...]
    unclear: frozenset[str]
    without_model: Mapping[str, Any] | None

    def origin(self, steps: Steps) -> str:
        """Where the value under `steps` (a path in an experiment's config) comes from."""
        if has(self.written, steps):
            if any(startswith(steps, override) for override in self.overrides):
                return SET
            other = self.source.get(str(steps[0]))
            return OWN if other is None else f"same as {other}"
        if has(self.defaults, steps) and has(self.merged, steps):
            return self._of_resources(steps) if steps[0] == "slurm" else DEFAULTS
        return BUILT_IN

    def _of_resources(self, steps: Steps) -> str:
        if self.without_model is None or steps[:2] != ("slurm", "curation"):
            return RESOURCES
        if has(self.without_model, steps[2:]):
            return CPU_RESOURCES
        return NO_MODEL if has(_WITHOUT_MODEL, steps[2:]) else RESOURCES

    def problem(self, steps: Steps, message: str, mend: str) -> Problem:
        """A problem at `steps`, placed where to mend it: here, in the experiment referred to, or in the catalog."""
        origin = self.origin(steps)
        if origin in (DEFAULTS, RESOURCES, CPU_RESOURCES):
            path = steps if steps[0] == "slurm" else ("defaults", *steps)
            path = ("slurm", "curation_cpu", *steps[2:]) if origin == CPU_RESOURCES else path
            return Problem(join(*path), message, mend, file=CATALOG)
        holder = self.source.get(str(steps[0]), self.name) if origin != SET else self.name
        return Problem(join("experiments", holder, "config", *steps), message, mend, holder)


def build(
    experiments: Mapping[str, Any], catalog: Catalog, name: str, overrides: Mapping[str, Any] | None = None
) -> tuple[Layers, list[Problem]]:
    """The layers of experiment `name`, and what is wrong with its references and old spellings.

    `overrides` map a path in its config to a value; one that cannot be put there is a `UsageError`. Nothing that is
    given is changed.
    """
    written, source, problems = _followed(experiments, name)
    unclear = {field for field in FIELDS if field not in source and target(written.get(field)) is not None}
    problems += _modernised(written, source, name)
    paths = [assign(written, experiments, name, path, value) for path, value in (overrides or {}).items()]
    if not _are_objects(written.get("slurm")):
        place = join("experiments", name, "config", "slurm")
        problems.append(Problem(place, "must be an object of objects", "give one for each stage", name))
        unclear.add("slurm")
    unclear -= {path[0] for path in paths}
    for field in unclear:
        written.pop(field, None)
    if written.get("slurm"):
        written["slurm"] = {stage: part for stage, part in written["slurm"].items() if part is not None}
    calls_model = _calls_model(written.get("curation"), catalog)
    defaults = _defaults(catalog, written.get("curation"), calls_model)
    without_model = None if calls_model else catalog.slurm.get("curation_cpu", {})
    merged = _merged(written, defaults)
    return Layers(name, written, merged, defaults, source, tuple(paths), frozenset(unclear), without_model), problems


def assign(config: Config, experiments: Mapping[str, Any], name: str, path: str, value: Any) -> tuple[str, ...]:
    """Put `value` under `path` into `config`, a copy of experiment `name`'s, and return the steps of the path.

    A field that is the same as another experiment's is replaced by what it is, so that only the one place differs. The
    objects that the path leads through are copied: they belong to the registry. `UsageError` where nothing can be put.
    """
    steps = _steps(path)
    if len(steps) > 1 and steps[0] in FIELDS and target(config.get(steps[0])) is not None:
        config[steps[0]], _ = follow(experiments, name, steps[0])
    spot = config
    for step in steps[:-1]:
        absent: Config | None = None if spot is config and step in ("curation", "training_params") else {}
        inner = spot.get(step, absent)
        if inner is None and steps[0] == "slurm":  # null is nothing beyond the catalog's
            inner = {}
        if inner is None:
            raise UsageError(f"{name}: --set {path}: {step} does not apply to this experiment")
        if not isinstance(inner, dict):
            raise UsageError(f"{name}: --set {path}: {step} is a plain value")
        spot[step] = dict(inner)
        spot = spot[step]
    spot[steps[-1]] = value
    return steps


def _steps(path: str) -> tuple[str, ...]:
    """The steps of a `--set` path; `UsageError` for one that leads into a list."""
    steps = split(path)
    if any(isinstance(step, int) for step in steps):
        raise UsageError(f"--set {path}: set the whole list, such as a=[1,2], not one place in it")
    return tuple(str(step) for step in steps)


def _followed(experiments: Mapping[str, Any], name: str) -> tuple[Config, dict[str, str], list[Problem]]:
    """The config with its references replaced by what they lead to; one that leads nowhere stays as it is."""
    config = dict(experiments[name].get("config") or {})
    source: dict[str, str] = {}
    problems: list[Problem] = []
    for field in FIELDS:
        if target(config.get(field)) is None:
            continue
        try:
            config[field], chain = follow(experiments, name, field)
        except ConfigError as error:
            problems += error.problems
            continue
        source[field] = chain[-1]
    return config, source, problems


def _modernised(config: Config, source: Mapping[str, str], name: str) -> list[Problem]:
    """Read the original project's spellings in place, and name what this version would have to ignore."""
    problems = []
    stray = config.pop("format", None)
    if isinstance(config.get("curation"), dict):
        config["curation"] = dict(config["curation"])
        problems += _read_format(config["curation"], stray, source.get("curation", name))
    return problems


def _read_format(curation: Config, stray: object, holder: str) -> list[Problem]:
    old = curation.pop("huatuo_format", None)
    if "format" in curation:
        return []
    if stray or old:
        curation["format"] = stray or "huatuo"
    elif old is False:
        place = join("experiments", holder, "config", "curation", "huatuo_format")
        return [Problem(place, "false names no format", "give curation.format instead", holder)]
    return []


def _are_objects(own: object) -> bool:
    return own is None or (isinstance(own, dict) and all(isinstance(part, dict | None) for part in own.values()))


def default_resources(catalog: Catalog, calls_model: bool) -> Config:
    """The catalog's resources of each stage, for an experiment whose curation calls a model, or does not."""
    found: Config = {stage: catalog.slurm.get(stage, {}) for stage in STAGES}
    if not calls_model:
        own = {**_WITHOUT_MODEL, **catalog.slurm.get("curation_cpu", {})}
        found["curation"] = _filled(own, found["curation"])
    return found


def _defaults(catalog: Catalog, curation: object, calls_model: bool) -> Config:
    known = catalog.defaults
    return {
        "curation": _curation_defaults(catalog, curation),
        "training_params": known.training_params,
        "eval": known.eval,
        "slurm": default_resources(catalog, calls_model),
    }


def _calls_model(curation: object, catalog: Catalog) -> bool:
    """Whether a curation needs a GPU, as far as can be told; what is wrong with its fields is said elsewhere."""
    if not isinstance(curation, dict):
        return True
    model = CURATIONS.get(str(curation.get("method")))
    if model is None:
        return True
    config, _ = checked(model, _filled(curation, _curation_defaults(catalog, curation)))
    return config is None or config.calls_model


def _curation_defaults(catalog: Catalog, curation: object) -> Config:
    """The catalog's defaults of the fields that the curation's method has; a rewriter only where one is needed.

    One of the curation's own that names another model takes nothing from the default one, whose engine is not its own.
    """
    own = curation if isinstance(curation, dict) else {}
    defaults = catalog.defaults.curation
    fields = fields_of(own.get("method"))
    rewriter, default = own.get("rewriter"), defaults.get("rewriter")
    another = False
    if isinstance(rewriter, dict) and isinstance(default, dict):
        another = rewriter.get("model_key", default.get("model_key")) != default.get("model_key")
    if another or not needs_rewriter({**defaults, **own}):
        fields = fields - {"rewriter"}
    return {field: value for field, value in defaults.items() if field in fields}


def _merged(written: Config, defaults: Mapping[str, Any]) -> Config:
    """Defaults fill what an object leaves out and never make a stage that is not there; eval and slurm always are."""
    merged = dict(written)
    if merged.get("eval") is None:
        merged["eval"] = {}
    merged["slurm"] = {**{stage: {} for stage in STAGES}, **(written.get("slurm") or {})}
    for field, default in defaults.items():
        if isinstance(merged.get(field), dict):
            merged[field] = _filled(merged[field], default)
    return merged


def _filled(own: Config, defaults: Mapping[str, Any]) -> Config:
    """`own` with the defaults of the fields that it leaves out, also inside the objects that both have."""
    filled = {**defaults, **own}
    for field, value in own.items():
        default = defaults.get(field)
        if isinstance(value, dict) and isinstance(default, dict):
            filled[field] = _filled(value, default)
    return filled


def has(config: Any, steps: Steps) -> bool:
    """Whether `config` has something under `steps`, be it null."""
    here = config
    for step in steps:
        here = below(here, step)
    return here is not ABSENT
