"""Commands that look into configs: config, validate."""

from __future__ import annotations

import json

from registry.console import Grid, answering
from registry.errors import UsageError, counted
from registry.json_path import join
from registry.names import check_name
from registry.options import ConfigFile, Files, Json, Name, RegistryFile, Set, chosen_one
from registry.origins import origins, values
from registry.resolve import parse_overrides, resolve
from registry.store import open_registry


def show_config(
    name: Name,
    settings: Set = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Show the effective config, and where each value comes from."""
    with answering("config", as_json) as answer:
        opened, view = chosen_one(answer, Files(registry, config), name)
        check_name(name)
        folder = opened.catalog_path.parent
        found = resolve(view.document, opened.catalog, folder, name, parse_overrides(settings or []))
        effective = found.sound()
        origin = origins(effective, found.layers, opened.catalog)
        answer.data = {"config": effective.model_dump(mode="json"), "origins": origin}
        rows = [
            [path, json.dumps(value, ensure_ascii=False), origin[path]]
            for path, value in ((join(*steps), value) for steps, value in values(effective))
        ]
        answer.lines.append(Grid(["path", "value", "origin"], rows))


def validate(as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """Check the whole registry and the catalog; name every problem."""
    with answering("validate", as_json) as answer:
        from registry.validation import check

        found = check(open_registry(registry, config))
        answer.warnings.extend(str(warning) for warning in found.warnings)
        answer.data = {"problems": [problem.to_json() for problem in found.problems]}
        answer.lines = [str(problem) for problem in found.problems]
        if found.problems:
            answer.errors.append(UsageError(f"{counted(len(found.problems), 'problem')} found"))
        else:
            answer.lines = [f"{counted(found.experiments, 'experiment')}: no problem found"]
