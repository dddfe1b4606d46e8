"""Check a whole registry and its catalog in one pass: every problem, where it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from registry.catalog import Catalog, HubOrFile
from registry.checking import Flaw, checked, without
from registry.curation_schema import AnyCuration
from registry.document import FORMAT, Document, load
from registry.errors import UsageError, suggestion
from registry.json_path import join
from registry.layers import CATALOG, Layers
from registry.names import flaw as flaw_of_name
from registry.original.contradictions import contradictions
from registry.parts import part_names
from registry.paths import is_here, matching
from registry.problems import ConfigError, Problem
from registry.resolve import located, resolve
from registry.schema import CONFIG_FIELD, STAGES, EvalConfig, Resources, Stage
from registry.store import Registry
from registry.training_schema import TrainingParams
from registry.written import RegistryFile

SECTIONS = ("models", "train_datasets", "eval_datasets")
# What stands for a catalog entry that is a problem itself, so that not every experiment that uses it is one too.
_STAND_IN = {"file_path": ".", "max_length": 1}
_DEFAULTS: dict[str, type[BaseModel]] = {
    "curation": AnyCuration,
    "training_params": TrainingParams,
    "eval": EvalConfig,
}


@dataclass(frozen=True)
class Findings:
    """What to mend; and what may be as it should, such as a file that lies on another machine."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    experiments: int


def check(registry: Registry) -> Findings:
    """Everything that is wrong with the registry and its catalog.

    `MissingError` when one of the two files is not there, `UsageError` when the registry is no JSON. A catalog that is
    no JSON is a problem; what can be checked of the registry without it is checked.
    """
    document, warnings = _document(registry)
    problems = _shape(document, registry.paths.file)
    shapeless = {problem.path for problem in problems}
    experiments = document.get("experiments")
    sound = {name: _sound(body) for name, body in experiments.items()} if isinstance(experiments, dict) else {}
    if not any(path.startswith("experiments") for path in shapeless):
        warnings += [
            Problem(found.path, found.what, found.remedy, found.experiment)
            for found in contradictions(document, here=True)
        ]
    for name in sound:
        wrong = flaw_of_name(name)
        problems += [Problem(join("experiments", name), *wrong, experiment=name)] if wrong else []
    try:
        body, _ = load(registry.catalog_path)
    except UsageError as error:
        problems.append(Problem("", str(error)))
    else:
        catalog, found = _catalog(body)
        problems += found
        folder = registry.catalog_path.parent
        missing, absent = _files(catalog, folder)
        problems += [*missing, *_merges(catalog)]
        warnings += [*absent, *_displayed(catalog, sound)]
        for name in sound:
            if not shapeless & {join("experiments", name), join("experiments", name, "config")}:
                problems += _experiment(sound, name, catalog, folder)
    return Findings(_sorted(problems, sound, registry), _sorted(warnings, sound, registry), len(sound))


def _document(registry: Registry) -> tuple[Document, list[Problem]]:
    """The registry as it stands, or, when it is not of the shape that this needs, the file alone."""
    document, _ = load(registry.paths.file)
    try:
        view = registry.read()
    except UsageError:
        return document, []
    return view.document, [Problem("", warning) for warning in view.warnings]


def _sound(body: object) -> dict[str, Any]:
    """What of an experiment can be looked into."""
    if not isinstance(body, dict):
        return {}
    return {field: body[field] for field in ("config", "results") if isinstance(body.get(field), dict)}


def _shape(document: Document, file: Path) -> list[Problem]:
    _, flaws = checked(RegistryFile, document)
    found = []
    for flaw in flaws:
        inside = flaw.steps[0] == "experiments" and len(flaw.steps) > 1
        name, place = (str(flaw.steps[1]), None) if inside else (None, str(file))
        found.append(Problem(join(*flaw.steps), flaw.message, flaw.mend, name, place))
    number = document.get("format", FORMAT)
    if isinstance(number, int) and number > FORMAT:
        message = f"format {number} is newer than this code's {FORMAT}, which only reads it"
        found.append(Problem("format", message, "update the checkout", file=str(file)))
    return found


def _catalog(body: Document) -> tuple[Catalog, list[Problem]]:
    """The catalog without its flaws, stand-ins for its wrong entries, and what is wrong."""
    catalog, flaws = checked(Catalog, body)
    if flaws:
        entries = {flaw.steps[:2] for flaw in flaws if flaw.steps[0] in SECTIONS and len(flaw.steps) > 1}
        rest = without(body, [flaw.steps for flaw in flaws if flaw.steps[:2] not in entries])
        for section, key in entries:
            rest = {**rest, section: {**rest[section], key: _STAND_IN}}
        catalog, _ = checked(Catalog, rest)
    assert catalog is not None, "nothing that is left of a catalog is required"
    flaws += [flaw for field, model in _DEFAULTS.items() for flaw in _partial(model, ("defaults", field), catalog)]
    flaws += [flaw for stage in catalog.slurm for flaw in _partial(Resources, ("slurm", stage), catalog)]
    return catalog, [Problem(join(*flaw.steps), flaw.message, flaw.mend, file=CATALOG) for flaw in flaws]


def _partial(model: type[BaseModel], steps: tuple[str, str], catalog: Catalog) -> Iterator[Flaw]:
    """What is wrong with defaults by themselves: fields that they leave to the experiments are not.

    Of resources nothing is left to the experiments, so that also a rule is broken for all.
    """
    section, field = steps
    values = catalog.slurm[field] if section == "slurm" else getattr(catalog.defaults, field)  # type: ignore[index]
    for flaw in checked(model, values)[1]:
        if flaw.kind in ("value", "unknown") or (flaw.kind == "rule" and section == "slurm"):
            yield replace(flaw, steps=(*steps, *flaw.steps))


def _files(catalog: Catalog, folder: Path) -> tuple[list[Problem], list[Problem]]:
    """The paths of catalog entries that cannot be told, and those that lead to nothing here."""
    unknown: list[Problem] = []
    absent: list[Problem] = []
    for section in SECTIONS:
        entries: Mapping[str, HubOrFile] = getattr(catalog, section)
        for key, entry in entries.items():
            for field in ("file_path", "plugin"):
                written = getattr(entry, field, None)
                if written is None:
                    continue
                where = join(section, key, field)
                try:
                    path = located(written, where, folder)
                except ConfigError as error:
                    unknown += error.problems
                    continue
                is_data = field == "file_path" and section != "models"
                if not (matching(path) if is_data else is_here(path)):
                    absent.append(
                        Problem(where, f"{path} does not exist here", "make it, or correct the path", file=CATALOG)
                    )
    return unknown, absent


def _merges(catalog: Catalog) -> Iterator[Problem]:
    """Data sets that cannot be put together, also where no experiment uses them."""
    for section in SECTIONS:
        entries: Mapping[str, HubOrFile] = getattr(catalog, section)
        for key in entries:
            try:
                part_names(entries, key, section)
            except ConfigError as error:
                yield from error.problems


def _displayed(catalog: Catalog, experiments: Mapping[str, Any]) -> Iterator[Problem]:
    for name in catalog.display.experiments:
        if name not in experiments:
            where = join("display", "experiments", name)
            mend = suggestion(name, experiments)
            yield Problem(where, "no such experiment in the registry", mend, file=CATALOG)


def _experiment(experiments: Mapping[str, Any], name: str, catalog: Catalog, folder: Path) -> Iterator[Problem]:
    resolution = resolve({"experiments": experiments}, catalog, folder, name)
    yield from resolution.problems
    for stage, entry in experiments[name].get("results", {}).items():
        if entry and stage in STAGES and not _applies(stage, resolution.layers):
            field = "datasets.eval" if stage == "eval" else CONFIG_FIELD[stage]
            message = f"has a result, but the experiment's config has no {field}"
            mend = f"put {field} back, or remove the result with `meds1 rm {name} --stage {stage}`"
            yield Problem(join("experiments", name, "results", stage), message, mend, name)


def _applies(stage: Stage, layers: Layers) -> bool:
    field = CONFIG_FIELD[stage]
    value = layers.merged.get(field)
    if stage == "eval" and isinstance(value, dict):
        value = value.get("eval")
    return bool(value) or value == {} or field in layers.unclear


def _sorted(found: Iterable[Problem], experiments: Iterable[str], registry: Registry) -> tuple[Problem, ...]:
    """Each problem once, those of the two files as such first, then in the registry's order of experiments."""
    places = {name: index for index, name in enumerate(experiments, 1)}
    once = {}
    for problem in found:
        if problem.file == CATALOG:
            problem = replace(problem, file=str(registry.catalog_path))
        once[problem.file, problem.path, problem.message] = problem
    return tuple(sorted(once.values(), key=lambda problem: places.get(problem.experiment or "", 0)))
