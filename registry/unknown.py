"""Fields of a registry that this version does not know: kept when it is only looked at, and named.

Only names are looked at, so that it costs next to nothing: what the fields hold is checked by `meds1 validate` and by
whatever resolves the experiment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from registry.curation_schema import AnyCuration
from registry.json_path import Steps, join
from registry.schema import ExperimentConfig
from registry.written import Experiment, RegistryFile

# Old spellings that are read, by the field of a config that they stand in: they are known.
_OLD = {"curation": ("huatuo_format",)}

Known = dict[str, "Known | None"]


def unknown_fields(document: Mapping[str, Any], names: list[str]) -> list[str]:
    """One line for each unknown field of the registry itself and of the experiments `names`.

    A field that several of them have is told once, with their number.
    """
    found: dict[Steps, list[str]] = {}
    top = {field.alias or name for name, field in RegistryFile.model_fields.items()}
    lines = [f"{join(field)}: unknown field; it is kept" for field in document if field not in top]
    for name in names:
        for steps in _unknown(document["experiments"][name], _known(), ()):
            found.setdefault(steps, []).append(name)
    for steps, holders in found.items():
        others = f" (as in {len(holders) - 1} more)" if len(holders) > 1 else ""
        place = join("experiments", holders[0], *steps)
        lines.append(f"{place}: unknown field{others}; it is kept, `meds1 validate` names the nearest legal one")
    return lines


def _unknown(body: Mapping[str, Any], known: Known, steps: Steps) -> Iterator[Steps]:
    for field, value in body.items():
        if field not in known:
            yield (*steps, field)
            continue
        below = known[field]
        if below is not None and isinstance(value, Mapping):
            yield from _unknown(value, below, (*steps, field))


@cache
def _known() -> Known:
    config = {**_fields(ExperimentConfig), "format": None}
    config["curation"] = _fields(AnyCuration)
    config |= {field: {**(config[field] or {}), **dict.fromkeys(old)} for field, old in _OLD.items()}
    return {**dict.fromkeys(Experiment.model_fields), "config": config}


def _fields(model: type[BaseModel]) -> Known:
    return {name: _below(field.annotation) for name, field in model.model_fields.items()}


def _below(annotation: Any) -> Known | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _fields(annotation)
    found = (_below(argument) for argument in get_args(annotation))
    return next((known for known in found if known is not None), None)
