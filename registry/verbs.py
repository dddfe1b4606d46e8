"""Commands that read the registry: list, show; and rebuild, which mends its file."""

from __future__ import annotations

import json

from registry.console import Grid, answering
from registry.fold import rebuild as rebuild_file
from registry.options import Choice, ConfigFile, Files, Json, Name, Names, RegistryFile, Tag, chosen
from registry.schema import STAGES
from registry.store import experiments_of, open_registry, results_of
from registry.unknown import unknown_fields


def list_experiments(
    names: Names = None,
    tag: Tag = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """List experiments with their descriptions and tags."""
    with answering("list", as_json) as answer:
        _, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        answer.warnings += unknown_fields(view.document, selected)
        answer.data = []
        for name in selected:
            body, results = experiments_of(view)[name], results_of(view, name)
            have = [
                stage
                for stage in STAGES
                if (results.get(stage) or {"status": None}).get("status", "completed") == "completed"
            ]
            tags = body.get("tags") or []
            answer.data.append({"name": name, "tags": tags, "results": have, "description": body.get("description")})
        rows = [[d["name"], ", ".join(d["tags"]), ", ".join(d["results"]), d["description"] or ""] for d in answer.data]
        answer.lines.append(Grid(["experiment", "tags", "results", "description"], rows))


def show(name: Name, as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """Show one experiment: config, results, history, notes."""
    with answering("show", as_json) as answer:
        _, view, (selected,) = chosen(answer, Files(registry, config), Choice([name]))
        answer.warnings += unknown_fields(view.document, [selected])
        history = {
            stage: [
                {
                    "attempt": h.attempt,
                    "restart": h.restart,
                    "event": h.event,
                    "timestamp": h.timestamp,
                    "fingerprint": h.fingerprint[:12],
                    "overridden": h.overridden,
                }
                for h in view.state.headers(selected, stage)
            ]
            for stage in STAGES
        }
        answer.data = {**experiments_of(view)[selected], "history": history}
        answer.lines.append(json.dumps(answer.data, indent=2, ensure_ascii=False))


def rebuild(as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """Write the last good state and every record in place of a torn results.json."""
    with answering("rebuild", as_json) as answer:
        opened = open_registry(registry, config)
        rebuilt = rebuild_file(opened.paths)
        aside = str(rebuilt.aside) if rebuilt.aside else None
        answer.data = {"rebuilt": rebuilt.done, "set_aside": aside}
        done = f"rebuilt; the torn file is {aside}" if aside else "rebuilt; the file was gone"
        answer.lines.append(done if rebuilt.done else f"{opened.paths.file} is sound; nothing to do")
