"""Check JSON against a pydantic model and say everything that is wrong with it, not only what is seen first.

Pydantic skips a model's own checks while one of its fields is wrong. Here what is wrong is left out and the rest is
checked again, until nothing new is found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ValidationError

from registry.errors import shortened, suggestion
from registry.json_path import ABSENT, Step, Steps, below, join
from registry.problems import ConfigError, Problem
from registry.references import FIELDS, PREFIX

M = TypeVar("M", bound=BaseModel)
Kind = Literal["value", "unknown", "missing", "rule"]


@dataclass(frozen=True)
class Flaw:
    """One thing that a model refuses: the steps to it from the model's root, what and what to do about it.

    A `rule` is a check of ours between several fields; it stands at the object that they are in.
    """

    steps: Steps
    message: str
    mend: str
    kind: Kind = "value"


def checked(model: type[M], data: Any) -> tuple[M | None, list[Flaw]]:
    """Build `model` from `data`; with flaws, from what is left without the flawed fields, if that can be built."""
    flaws: dict[Steps, Flaw] = {}
    while True:
        try:
            return model.model_validate(data), list(flaws.values())
        except ValidationError as error:
            found = _flaws(error, model, data)
        fresh = [flaw for flaw in found if flaw.steps not in flaws]
        if not fresh:
            return None, list(flaws.values())
        flaws |= {flaw.steps: flaw for flaw in fresh}
        data = without(data, [flaw.steps for flaw in fresh])


def validate(model: type[M], data: Any, where: str) -> M:
    """Build `model` from `data`, else raise a `ConfigError` with all its flaws; `where` is the file they are in."""
    built, flaws = checked(model, data)
    if built is None or flaws:
        raise ConfigError.of([Problem(join(*flaw.steps), flaw.message, flaw.mend, file=where) for flaw in flaws])
    return built


def without(data: Any, paths: Iterable[Steps]) -> Any:
    """A copy of JSON `data` that lacks what lies under `paths`; what lies in a list takes the whole list along."""
    for path in paths:
        data = _without(data, path)
    return data


def _without(data: Any, path: Steps) -> Any:
    if not path or not isinstance(data, Mapping) or path[0] not in data:
        return data
    step, rest = path[0], path[1:]
    if rest and isinstance(data[step], Mapping):
        return {**data, step: _without(data[step], rest)}
    return {key: value for key, value in data.items() if key != step}


def _flaws(error: ValidationError, model: type[BaseModel], data: Any) -> list[Flaw]:
    """One flaw for each place: the branches of a union that were tried in vain are told as one."""
    by_place: dict[Steps, list[Mapping[str, Any]]] = {}
    for problem in cast(list[dict[str, Any]], error.errors()):
        by_place.setdefault(_real(problem, data), []).append(problem)
    # A list with a wrong item is no text either: the branch that got furthest says what is wrong.
    shallow = {steps[:length] for steps in by_place for length in range(len(steps))}
    return [_flaw(branches, steps, model) for steps, branches in by_place.items() if steps not in shallow]


def _real(problem: Mapping[str, Any], data: Any) -> Steps:
    """The location without the names of union branches, which pydantic puts between the steps."""
    steps: list[Step] = []
    here = data
    for index, step in enumerate(problem["loc"], 1):
        inner = below(here, step)
        if inner is not ABSENT or (problem["type"] == "missing" and index == len(problem["loc"])):
            steps.append(step)
            here = inner
    return tuple(steps)


# What pydantic calls by names of Python, in those of JSON.
_PLAIN = {
    "tuple_type": "Input should be a list",
    "dict_type": "Input should be an object",
    "model_type": "Input should be an object",
}


def _flaw(branches: list[Mapping[str, Any]], steps: Steps, model: type[BaseModel]) -> Flaw:
    first = branches[0]
    kind, given = first["type"], first["input"]
    legal = _Legal(_schema(model), frozenset(str(step) for step in first["loc"]))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _of_tag(first, steps)
    if kind == "extra_forbidden":
        return Flaw(steps, "unknown field", legal.named(str(steps[-1]), legal.fragment(steps[:-1])), "unknown")
    if first["loc"][-1:] == ("[key]",):
        keys = re.findall(r"'([^']*)'", first.get("ctx", {}).get("expected", ""))
        return Flaw(steps, "unknown field", suggestion(str(given), keys), "unknown")
    fragment = legal.fragment(steps)
    if kind == "missing":
        return Flaw(steps, "Field required", f"add it: {_legal(fragment)}", "missing")
    if kind == "value_error":
        # Said by a check of ours, which names the remedy itself.
        return Flaw(steps, first["msg"].removeprefix("Value error, "), "", "rule")
    said = dict.fromkeys(_PLAIN.get(problem["type"], problem["msg"]) for problem in branches)
    message = " or ".join(part.removeprefix("Input should be ") if index else part for index, part in enumerate(said))
    return Flaw(steps, f"{message}{_shown(given)}", _mend(given, fragment, steps))


def _of_tag(problem: Mapping[str, Any], steps: Steps) -> Flaw:
    """The field that says which model an object is holds none of its values, or is not there."""
    field = problem["ctx"]["discriminator"].strip("'")
    if problem["type"] == "union_tag_not_found":
        return Flaw((*steps, field), "Field required", "add it", "missing")
    legal = re.findall(r"'([^']*)'", problem["ctx"]["expected_tags"])
    return Flaw(
        (*steps, field), f"unknown {field} {shortened(problem['ctx']['tag'])}", suggestion(problem["ctx"]["tag"], legal)
    )


def _shown(given: Any) -> str:
    if isinstance(given, str):
        return f" (got {shortened(given)})"
    return f" (got {json.dumps(given)})" if isinstance(given, int | float | None) else ""


def _mend(given: Any, fragment: Mapping[str, Any], steps: Steps) -> str:
    if isinstance(given, str) and given.lower().startswith(PREFIX):
        if steps and steps[-1] in FIELDS:
            return f"write it as {PREFIX + given[len(PREFIX) :].strip()!r}, in small letters"
        return f"only {', '.join(FIELDS)} can be the same as another experiment's"
    legal = _enum(fragment)
    if legal:
        return suggestion(str(given), legal)
    return f"put {_legal(fragment)}"


def _enum(fragment: Mapping[str, Any]) -> list[str]:
    values = [value for branch in fragment.get("anyOf", [fragment]) for value in branch.get("enum", ())]
    return [str(value) for value in [*values, *([fragment["const"]] if "const" in fragment else [])]]


_WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "null": "null",
    "array": "a list",
}
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "pattern": "that matches {}",
}


def _legal(fragment: Mapping[str, Any]) -> str:
    """The legal values of a field in words, from its JSON Schema."""
    if "anyOf" in fragment:
        return " or ".join(dict.fromkeys(_legal(branch) for branch in fragment["anyOf"]))
    if _enum(fragment):
        return " or ".join(repr(value) for value in _enum(fragment))
    word = _WORDS.get(fragment.get("type", "object"), "a value")
    if "examples" in fragment:
        return f"{word} such as {' or '.join(map(str, fragment['examples']))}"
    limits = [text.format(_number(fragment[key])) for key, text in _LIMITS.items() if key in fragment]
    return f"{word} {' and '.join(limits)}" if limits else word


def _number(limit: Any) -> str:
    return f"{limit:g}" if isinstance(limit, int | float) else str(limit)


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


@dataclass(frozen=True)
class _Legal:
    """What a model's JSON Schema says of a place; `tags` choose between models that a field tells apart."""

    schema: Mapping[str, Any]
    tags: frozenset[str]

    def fragment(self, steps: Steps) -> dict[str, Any]:
        """The part that describes the place under `steps`; an empty one for an unknown place."""
        here = dict(self.schema)
        for step in steps:
            here = _below(self._objects(here), step)
        return self._referenced(here)

    def named(self, word: str, holder: dict[str, Any]) -> str:
        """What an unknown field may be: the nearest names, of an object that says so all of them as well."""
        branches = self._objects(holder)
        legal = [name for branch in branches for name in branch.get("properties", ())]
        near, every = suggestion(word, legal), f"legal: {', '.join(sorted(legal))}"
        wants_all = any(branch.get("name_all_fields") for branch in branches)
        return f"{near} ({every})" if wants_all and near != every else near

    def _objects(self, fragment: dict[str, Any]) -> list[dict[str, Any]]:
        here = self._referenced(fragment)
        return [self._referenced(branch) for branch in here.get("anyOf", [here])]

    def _referenced(self, fragment: dict[str, Any]) -> dict[str, Any]:
        models = fragment.get("discriminator", {}).get("mapping", {})
        reference = next((models[tag] for tag in models if tag in self.tags), fragment.get("$ref"))
        if reference is None:
            return fragment
        definition: dict[str, Any] = self.schema["$defs"][reference.rsplit("/", 1)[-1]]
        return definition


def _below(branches: list[dict[str, Any]], step: Step) -> dict[str, Any]:
    for branch in branches:
        if step in branch.get("properties", {}):
            found: dict[str, Any] = branch["properties"][step]
            return found
        below = branch.get("items" if isinstance(step, int) else "additionalProperties")
        if isinstance(below, dict):
            return below
        if isinstance(step, int) and step < len(branch.get("prefixItems", ())):
            item: dict[str, Any] = branch["prefixItems"][step]
            return item
    return {}
