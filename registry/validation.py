"""Check a whole registry and its catalog in one pass: every problem, where it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from registry.catalog import Catalog
from registry.document import load
from registry.errors import Meds1Error
from registry.fold import View
from registry.names import check_name
from registry.resolve import explain
from registry.store import Registry, experiments_of


@dataclass(frozen=True)
class Problem:
    """One thing to mend: which experiment (or the catalog), and the line that says what."""

    where: str
    message: str


def problems(registry: Registry, view: View) -> list[Problem]:
    """Every problem of the catalog, or, with a sound catalog, of every experiment."""
    body, _ = load(registry.catalog_path)
    try:
        Catalog.model_validate(body)
    except ValidationError as error:
        return [Problem("catalog", line) for line in explain(error, Catalog, str(registry.catalog_path))]
    found = []
    for name in experiments_of(view):
        try:
            check_name(name)
            registry.effective(view, name)
        except Meds1Error as error:
            found.append(Problem(name, str(error)))
    return found
