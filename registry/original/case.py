"""What the search for contradictions is about: one stage's result, and what is found to be wrong with it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registry.json_path import join
from registry.schema import STAGES, Stage
from registry.status import ended_as


@dataclass(frozen=True)
class Contradiction:
    """Two things that a registry says and that cannot both be true.

    `path` and `other` are JSON paths in the registry, or files; `other` is empty where a value is wrong by itself.
    `experiment` is null for what belongs to none.
    """

    experiment: str | None
    path: str
    value: Any
    other: str
    other_value: Any
    message: str
    remedy: str

    @property
    def what(self) -> str:
        """Both values, and why they cannot both be true."""
        other = f" ({self.other}: {shown(self.other_value)})" if self.other else ""
        return f"{shown(self.value)} {self.message}{other}"

    @property
    def line(self) -> str:
        """All of it in one line for people."""
        return f"{self.path}: {self.what}; {self.remedy}"

    def to_json(self) -> dict[str, Any]:
        """All of it for `--json`."""
        return {
            "experiment": self.experiment,
            "path": self.path,
            "value": self.value,
            "other": self.other,
            "other_value": self.other_value,
            "message": self.line,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Result:
    """A completed stage: the entry under `results` of its experiment."""

    experiment: str
    stage: Stage
    entry: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The entry's JSON path."""
        return join("experiments", self.experiment, "results", self.stage)

    @property
    def mend(self) -> str:
        """How this result is made anew."""
        return f"run `meds1 run {self.experiment} --stage {self.stage} --force`"

    @property
    def paths(self) -> dict[str, str]:
        """The files and folders that the entry names, by field."""
        return {field: text for field, text in self.entry.items() if is_path(field, text)}

    @property
    def reused(self) -> bool:
        """Whether it is another experiment's result by intent."""
        return bool(self.entry.get("reused_from"))


def results_of_document(document: Mapping[str, Any]) -> dict[str, dict[Stage, Result]]:
    """The completed results by experiment and stage; null and failed ones are left out."""
    found: dict[str, dict[Stage, Result]] = {}
    for name, body in (document.get("experiments") or {}).items():
        results = body.get("results") or {}
        found[name] = {
            stage: Result(name, stage, results[stage])
            for stage in STAGES
            if ended_as(results.get(stage)) == "completed"
        }
    return found


def is_path(field: str, value: object) -> bool:
    """Whether a field of a result names a file or folder."""
    return field.endswith(("_path", "_file", "_dir")) and isinstance(value, str) and bool(value)


def is_here(path: str) -> bool:
    """Whether an absolute path exists on this machine; a relative one has no known place, so it does not."""
    return os.path.isabs(path) and os.path.exists(path)


def numbers_in(path: str) -> Mapping[str, Any]:
    """The JSON object in a file of the original project; `ValueError` with the reason when it holds none."""
    try:
        with open(path, encoding="utf-8") as file:
            body = json.load(file)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(body, dict):
        raise ValueError("is not a JSON object")
    return body


def number(value: object) -> float | None:
    """A finite number of JSON that a float can hold, null for anything else."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return value if math.isfinite(value) else None  # Python reads NaN, Infinity and integers of any length
    except OverflowError:
        return None


def part(body: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """The object under a field, an empty one for anything else."""
    found = body.get(field)
    return found if isinstance(found, Mapping) else {}


def mappings(body: Mapping[str, Any], *fields: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Those of the fields that are objects with something in them."""
    for field in fields:
        inner = body.get(field)
        if isinstance(inner, Mapping) and inner:
            yield field, inner


def shown(value: object) -> str:
    """A value for a message."""
    return json.dumps(value, ensure_ascii=False)
