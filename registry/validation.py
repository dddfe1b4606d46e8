"""Check a whole registry and its catalog in one pass: every problem, where it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from registry.catalog import Catalog
from registry.document import load
from registry.errors import Meds1Error, nearest
from registry.names import check_name
from registry.reading import View
from registry.records import TERMINAL
from registry.resolve import explain
from registry.schema import STAGES
from registry.store import Registry, experiments_of

TOP_FIELDS = ("$schema", "format", "experiments")
EXPERIMENT_FIELDS = ("description", "tags", "notes", "config", "results")


@dataclass(frozen=True)
class Problem:
    """One thing to mend: which experiment (or the catalog), and the line that says what."""

    where: str
    message: str


def problems(registry: Registry, view: View) -> list[Problem]:
    """Every problem of the catalog, or, with a sound catalog, of the registry and the first of each experiment."""
    body, _ = load(registry.catalog_path)
    try:
        Catalog.model_validate(body)
    except ValidationError as error:
        return [Problem("catalog", line) for line in explain(error, Catalog, str(registry.catalog_path))]
    document, _ = load(registry.paths.file)
    found = [Problem("registry", line) for line in _unknown(document, TOP_FIELDS, str(registry.paths.file))]
    for name, experiment in experiments_of(view).items():
        found += [Problem(name, line) for line in _unknown(experiment, EXPERIMENT_FIELDS, f"experiments.{name}")]
        results = experiment.get("results") or {}
        found += [Problem(name, line) for line in _unknown(results, STAGES, f"experiments.{name}.results")]
        for stage, entry in results.items():
            word = (entry or {}).get("status", "completed")
            if word not in TERMINAL:
                where = f"experiments.{name}.results.{stage}.status"
                found.append(Problem(name, f"{where}: {word!r} is no end of a stage{nearest(word, TERMINAL)}"))
        try:
            check_name(name)
            registry.effective(view, name)
        except Meds1Error as error:
            found.append(Problem(name, str(error)))
    return found


def _unknown(body: Mapping[str, Any], legal: tuple[str, ...], where: str) -> Iterator[str]:
    for field in body:
        if field not in legal:
            yield f"{where}: unknown field {field!r}{nearest(field, legal)}"
