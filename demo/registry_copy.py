"""Copies the checkout's registry and catalog for the demo, so that no run touches those of the checkout.

Only experiments tagged `demo` are copied, without their results: those of earlier demo runs in the folder stay.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import UsageError

TAG = "demo"
RUN_PREFIX = "demo/run/"


@dataclass(frozen=True, slots=True)
class RegistryFiles:
    """The demo's own registry and catalog."""

    registry: Path
    catalog: Path


def copy_registry(checkout: Path, out: Path) -> RegistryFiles:
    """Write `results.json` and `config.json` into `out`, taken from `checkout`.

    Paths of the catalog that begin with `demo/run/` become relative to `out`. Raises `UsageError` when the checkout
    has no experiment tagged `demo`.
    """
    source = json.loads((checkout / "results.json").read_text(encoding="utf-8"))
    files = RegistryFiles(out / "results.json", out / "config.json")
    earlier = json.loads(files.registry.read_text(encoding="utf-8")) if files.registry.exists() else {}
    experiments = {
        name: _fresh(entry) | _results_of(earlier, name)
        for name, entry in source["experiments"].items()
        if TAG in entry.get("tags", [])
    }
    if not experiments:
        raise UsageError(f"{checkout / 'results.json'}: no experiment is tagged {TAG!r}; restore the shipped registry")
    _write(files.registry, source | {"experiments": experiments})
    _write(files.catalog, _moved(json.loads((checkout / "config.json").read_text(encoding="utf-8"))))
    return files


def _fresh(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "results"}


def _results_of(registry: dict[str, Any], name: str) -> dict[str, Any]:
    entry = registry.get("experiments", {}).get(name, {})
    return {"results": entry["results"]} if "results" in entry else {}


def _moved(catalog: dict[str, Any]) -> dict[str, Any]:
    return {section: _moved_entries(value) if isinstance(value, dict) else value for section, value in catalog.items()}


def _moved_entries(entries: dict[str, Any]) -> dict[str, Any]:
    return {
        name: entry | {"file_path": entry["file_path"].removeprefix(RUN_PREFIX)}
        if isinstance(entry, dict) and entry.get("file_path")
        else entry
        for name, entry in entries.items()
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
