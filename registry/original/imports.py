"""What importing another registry would do: which experiments are new, which are here already, what they need.

Pure: documents in, a plan out. Anything that must not be imported as it is raises `UsageError` before a byte is
written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registry.catalog import Catalog
from registry.document import FORMAT
from registry.errors import Meds1Error, UsageError, nearest
from registry.json_path import join
from registry.layers import build
from registry.names import check_name
from registry.people import shown
from registry.references import FIELDS, follow
from registry.resolve import catalog_keys

# Names a record of the registry that a result comes from; here it would be looked for in vain.
_RECORD = "record"


@dataclass(frozen=True)
class Lack:
    """A catalog entry that experiments name and the catalog does not have; `hint` holds the nearest legal names."""

    section: str
    key: str
    experiments: tuple[str, ...]
    hint: str

    @property
    def line(self) -> str:
        """All of it in one line."""
        first, more = self.experiments[0], len(self.experiments) - 1
        need = f"{first} and {more} more need" if more else f"{first} needs"
        return f"the catalog has no {join(self.section, self.key)}, which {need}{self.hint}"

    def to_json(self) -> dict[str, Any]:
        """All of it for `--json`."""
        names = list(self.experiments)
        return {"section": self.section, "key": self.key, "experiments": names, "message": self.line}


@dataclass(frozen=True)
class Import:
    """The experiments to create, as they will stand in `results.json`, and those that are here already, the same."""

    new: Mapping[str, dict[str, Any]]
    same: tuple[str, ...]


def plan_import(source: Mapping[str, Any], present: Mapping[str, Any], where: str) -> Import:
    """Compare the registry document `source` (called `where` in messages) with the experiments that are here.

    Raises `UsageError` when `source` is of a newer format, holds an illegal name or a broken reference, or disagrees
    with an experiment that is here; every such experiment is named.
    """
    incoming = source.get("experiments") or {}
    if int(source.get("format", FORMAT)) > FORMAT:
        raise UsageError(f"{where}: its format is newer than this code's; update the checkout")
    _refuse(where, _illegal_names(incoming))
    bodies = {name: _without_records(body) for name, body in incoming.items()}
    different = []
    for name, body in bodies.items():
        found = (
            first_difference(_without_records(present[name]), body, join("experiments", name))
            if name in present
            else ""
        )
        different += [f"{name} is here already and differs at {found}"] if found else []
    if different:
        raise UsageError(
            f"{where}: {'; '.join(different)}; rename it there, or make the two alike. Nothing was imported"
        )
    _refuse(where, _broken_references({**present, **bodies}, bodies))
    new = {name: body for name, body in bodies.items() if name not in present}
    return Import(new, tuple(name for name in bodies if name in present))


def first_difference(here: Any, there: Any, path: str) -> str:
    """The first JSON path at which two values differ, with both; empty when they are equal."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for key in dict.fromkeys([*here, *there]):
            if key not in here or key not in there:
                return f"{path}.{join(key)} (only {'there' if key in there else 'here'})"
            found = first_difference(here[key], there[key], f"{path}.{join(key)}")
            if found:
                return found
        return ""
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        pairs = enumerate(zip(here, there, strict=True))
        return next(filter(None, (first_difference(*pair, f"{path}[{i}]") for i, pair in pairs)), "")
    return "" if here == there else f"{path} ({shown(here)} here, {shown(there)} there)"


def lacks(experiments: Mapping[str, Any], names: Iterable[str], catalog: Catalog) -> list[Lack]:
    """The models and data sets that the experiments `names` need and the catalog does not have."""
    wanted: dict[tuple[str, str], dict[str, None]] = {}
    for name in names:
        layers, _ = build(experiments, catalog, name)
        for _, section, key in catalog_keys(layers):
            if isinstance(key, str) and key not in getattr(catalog, section):
                wanted.setdefault((section, key), {})[name] = None
    return [
        Lack(section, key, tuple(users), nearest(key, getattr(catalog, section)))
        for (section, key), users in sorted(wanted.items())
    ]


def _illegal_names(experiments: Mapping[str, Any]) -> Iterator[str]:
    for name in experiments:
        try:
            check_name(name)
        except Meds1Error as error:
            yield str(error)


def _broken_references(experiments: Mapping[str, Any], names: Mapping[str, Any]) -> Iterator[str]:
    for name in names:
        for field in FIELDS:
            try:
                follow(experiments, name, field)
            except UsageError as error:
                yield str(error)


def _refuse(where: str, problems: Iterator[str]) -> None:
    found = list(problems)
    if found:
        raise UsageError(f"{where}: {'; '.join(found)}. Nothing was imported")


def _without_records(body: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(body)
    if isinstance(body.get("results"), Mapping):
        kept["results"] = {
            stage: {key: value for key, value in entry.items() if key != _RECORD} if entry else entry
            for stage, entry in body["results"].items()
        }
    return kept
