"""An experiment's effective config as a table: every value, where it comes from, and the default it differs from."""

from __future__ import annotations

import json
from typing import Any

from plotting.report.stages import flat
from plotting.runs import Run
from registry.json_path import ABSENT, join
from registry.layers import OWN, SET, Layers
from registry.origins import ENTRIES, origins, values
from registry.reading import View
from registry.resolve import resolve
from registry.secrets import masked_json
from registry.store import Registry

_LAST = ("slurm", "merge_resources")


def config_rows(opened: Registry, view: View, run: Run) -> list[dict[str, Any]]:
    """Rows of path, value, origin, default (of config.json, where it has another one) and `changed`.

    Of an experiment whose config cannot be read (`run.problem` says why) it is what is written. The fields of the
    catalog's entries are left out: they are named by their keys, and config.json holds them. Resources come last.
    """
    if run.config is None:
        told = {"origin": "as written", "default": "", "changed": True, "last": False}
        return [{"path": path, "content": value, "value": value, **told} for path, value in flat(run.written)]
    found = resolve(view.document, opened.catalog, opened.catalog_path.parent, run.experiment)
    origin_of = origins(run.config, found.layers, opened.catalog)
    rows = []
    for steps, value in values(run.config):
        path, top = join(*steps), str(steps[0])
        if top in ENTRIES or top == "experiment":
            continue
        origin = origin_of[path]
        default = _default(found.layers, steps)
        rows.append(
            {
                "path": path,
                "content": value,
                "value": _shown(value),
                "origin": origin,
                "default": "" if default is ABSENT or default == value else _shown(default),
                "changed": origin in (OWN, SET) or origin.startswith("same as "),
                "last": top in _LAST,
            }
        )
    return sorted(rows, key=lambda row: bool(row["last"]))


def _default(layers: Layers, steps: tuple[Any, ...]) -> Any:
    place: Any = layers.defaults
    for step in ("training_params", *steps[1:]) if steps[0] == "training" else steps:
        if not isinstance(place, dict) or step not in place:
            return ABSENT
        place = place[step]
    return place


def _shown(value: Any) -> str:
    return json.dumps(masked_json(value), ensure_ascii=False)
