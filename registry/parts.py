"""The entries of which a data set of the catalog is put together (`merge`)."""

from __future__ import annotations

from collections.abc import Mapping

from registry.catalog import DatasetEntry, HubOrFile
from registry.errors import shortened, suggestion
from registry.json_path import join
from registry.layers import CATALOG
from registry.problems import ConfigError, Problem


def part_names(entries: Mapping[str, HubOrFile], key: str, section: str) -> list[str]:
    """The keys of the entries whose rows `key` has, in order: its own, or those of all that it merges.

    `entries` are the catalog's of `section`, as it is written. Raises `ConfigError`, which names the merging entry, for
    a part that is not there, a circle, and a part that would bring its rows twice.
    """
    found: list[str] = []
    _collect(entries, (key,), section, found)
    return found


def _collect(entries: Mapping[str, HubOrFile], chain: tuple[str, ...], section: str, found: list[str]) -> None:
    entry = entries[chain[-1]]
    if not isinstance(entry, DatasetEntry) or entry.merge is None:
        if chain[-1] in found:
            message = f"{' -> '.join(chain[1:])} is in it twice"
            raise _error(section, chain[0], message, "let each part come in once: its rows would count twice")
        found.append(chain[-1])
        return
    if isinstance(entry.merge, dict):
        raise _error(section, chain[-1], "must be a list of keys", f"name entries of {section}")
    for name in entry.merge:
        if name in chain:
            message = f"{' -> '.join((*chain, name))} is a circle"
            raise _error(section, chain[-1], message, "a data set cannot be a part of itself")
        if name not in entries:
            others = [known for known in entries if known not in chain]
            message = f"{shortened(name)} is not in the catalog's {section}"
            raise _error(section, chain[-1], message, suggestion(name, others))
        _collect(entries, (*chain, name), section, found)


def _error(section: str, key: str, message: str, mend: str) -> ConfigError:
    return ConfigError.of([Problem(join(section, key, "merge"), message, mend, file=CATALOG)])
