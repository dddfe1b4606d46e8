"""Commands that look into configs: config, validate."""

from __future__ import annotations

import json

from registry.console import Grid, answering
from registry.errors import UsageError
from registry.json_path import join
from registry.names import check_name
from registry.options import Choice, ConfigFile, Files, Json, Name, RegistryFile, Set, chosen
from registry.origins import origins, values
from registry.problems import ConfigError
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
        opened, view, (selected,) = chosen(answer, Files(registry, config), Choice([name]))
        check_name(selected)
        folder = opened.catalog_path.parent
        found = resolve(view.document, opened.catalog, folder, selected, parse_overrides(settings or []))
        if found.problems or found.config is None:
            raise ConfigError.of(found.problems)
        origin = origins(found.config, found.layers, opened.catalog)
        answer.data = {"config": found.config.model_dump(mode="json"), "origins": origin}
        rows = [
            [path, json.dumps(value, ensure_ascii=False), origin[path]]
            for path, value in ((join(*steps), value) for steps, value in values(found.config))
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
            count = len(found.problems)
            answer.errors.append(UsageError(f"{count} problem{'s' * (count > 1)} found"))
        else:
            answer.lines = [f"{found.experiments} experiments: no problem found"]
