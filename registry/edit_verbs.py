"""Commands that change what the registry says beside results: new, note, tag, rm; and history, which shows it."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from registry import edits
from registry.console import Answer, Grid, answering
from registry.errors import UsageError
from registry.history import State
from registry.merge import Change
from registry.names import check_name
from registry.options import Choice, ConfigFile, DryRun, Files, Json, Name, RegistryFile, Stages, chosen, stages_of
from registry.reading import shown
from registry.resolve import assign, effective, parse_value
from registry.schema import STAGES
from registry.store import Registry, experiments_of

NewName = Annotated[str, typer.Argument(help="Name of the new experiment; of a grid, what the names begin with.")]
Names = Annotated[list[str], typer.Argument(help="Experiments, by name or glob.")]


def new(  # noqa: PLR0913 - one parameter per option of the command line
    name: NewName,
    base: Annotated[str, typer.Option("--from", help="The experiment whose config it takes over.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, repeatable; key=v1,v2,... makes a grid.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for, in one line.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A tag; repeatable.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Make experiments from another one's config: one, or a grid."""
    with answering("new", as_json) as answer:
        opened, view, (source,) = chosen(answer, Files(registry, config), Choice([base]))
        document = view.document
        bodies: dict[str, Any] = {}
        for suffix, values in _grid(settings or []):
            full = check_name(name + suffix)
            own = json.loads(json.dumps(experiments_of(view)[source].get("config") or {}))
            for key, value in values.items():
                assign(own, experiments_of(view), source, key, value)
            said = ", ".join(f"{key}={shown(value)}" for key, value in values.items())
            body = {"description": description or f"{source} with {said}" if said else description or f"as {source}"}
            bodies[full] = {**body, **({"tags": tags} if tags else {}), "config": own}
        whole = {**document, "experiments": {**experiments_of(view), **bodies}}
        for full in bodies:
            if full in experiments_of(view):
                raise UsageError(f"{full}: there is such an experiment already; choose another name")
            effective(whole, opened.catalog, opened.catalog_path.parent, full)
        if not dry_run:
            edits.create(opened, bodies, f"new --from {source}")
        answer.data = {"created" if not dry_run else "would_create": bodies}
        answer.lines += [f"{full}: {body['description']}" for full, body in bodies.items()]
        if dry_run:
            answer.lines.append(json.dumps(bodies, indent=2, ensure_ascii=False))


def note(
    name: Name,
    text: Annotated[str, typer.Argument(help="The note.")],
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Add a note to an experiment, with author and time."""
    with answering("note", as_json) as answer:
        if not text.strip():
            raise UsageError(f"{name}: the note is empty")
        opened, _, (selected,) = chosen(answer, Files(registry, config), Choice([name]))
        answer.data = edits.add_note(opened, selected, text)
        answer.lines.append(f"{selected}: noted")


def tag(
    names: Names,
    add: Annotated[list[str] | None, typer.Option("--add", help="A tag to add; repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="A tag to take away; repeatable.")] = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Add tags to experiments, or take tags away."""
    with answering("tag", as_json) as answer:
        if not add and not remove:
            raise UsageError("say which: --add TAG or --remove TAG")
        if any(not word.strip() for word in [*(add or []), *(remove or [])]):
            raise UsageError("a tag must not be empty")
        opened, _, selected = chosen(answer, Files(registry, config), Choice(names))
        answer.data = edits.change_tags(opened, selected, add or [], remove or [])
        answer.lines += [f"{name}: {', '.join(tags) or 'no tags'}" for name, tags in answer.data.items()]


def rm(  # noqa: PLR0913 - one parameter per option of the command line
    name: Name,
    stages: Stages = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Remove an experiment with its results, or with --stage only results; the history keeps them."""
    with answering("rm", as_json) as answer:
        opened, view, (selected,) = chosen(answer, Files(registry, config), Choice([name]))
        only = stages_of(stages) if stages else None
        have = [stage for stage, entry in (experiments_of(view)[selected].get("results") or {}).items() if entry]
        gone = [stage for stage in have if only is None or stage in only]
        if only and not gone:
            raise UsageError(f"{selected}: has no result of {', '.join(only)}; there is nothing to remove")
        edits.check_removable(view, selected, only)
        results = f"the results of {', '.join(gone)}" if gone else "no results"
        what = results if only else f"the experiment with {results}"
        answer.data = {"experiment": selected, "results": gone, "config": only is None, "removed": not dry_run}
        if dry_run:
            answer.lines.append(f"{selected}: would remove {what}")
            return
        if not yes and not _confirmed(f"{selected}: remove {what}? Files of runs stay until `meds1 gc`. [y/N] "):
            raise UsageError(f"{selected}: nothing removed")
        edits.remove(opened, selected, only)
        answer.lines.append(f"{selected}: removed {what}")


def history(
    name: Annotated[str, typer.Argument(help="Name of an experiment, also of one that is removed.")],
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Show what happened to an experiment: attempts of its stages, edits by hand and by command."""
    with answering("history", as_json) as answer:
        from registry.store import open_registry

        view = open_registry(registry, config).read()
        answer.warnings.extend(view.warnings)
        state = view.state
        if name not in experiments_of(view) and not any(state.headers(name, s) for s in STAGES) and name not in state.edits:
            Choice([name])
            chosen(answer, Files(registry, config), Choice([name]))  # raises for an unknown name
        answer.data = {"attempts": list(attempts(state, name)), "edits": state.edits.get(name, [])}
        rows = [
            [a["timestamp"], a["stage"], f"{a['attempt']}.{a['restart']}", a["event"], a["who"], a["remark"]]
            for a in answer.data["attempts"]
        ]
        for edit in answer.data["edits"]:
            rows.append([edit["timestamp"], "", str(edit["number"]), edit["event"], edit["author"], _edited(edit)])
        rows.sort(key=lambda row: row[0])
        answer.lines.append(Grid(["time (UTC)", "stage", "attempt", "event", "by", "what"], rows))


def attempts(state: State, name: str) -> Iterator[dict[str, Any]]:
    """Every record of an experiment's stages, as JSON values; stages in order, then by attempt and restart."""
    for stage in STAGES:
        removed = state.removed(name, stage)
        for header in state.headers(name, stage):
            remarks = [
                header.fingerprint[:12],
                "with --set, kept as history" if header.overridden else "",
                "removed" if header.attempt <= removed else "",
            ]
            yield {
                "stage": stage,
                "attempt": header.attempt,
                "restart": header.restart,
                "event": header.event,
                "timestamp": header.timestamp,
                "fingerprint": header.fingerprint[:12],
                "overridden": header.overridden,
                "who": str(header.job.get("user", "")),
                "job": dict(header.job),
                "remark": "; ".join(filter(None, remarks)),
            }


def _edited(edit: dict[str, Any]) -> str:
    changes = [Change.from_json(body) for body in edit.get("changes", ())]
    said = [f"{'.'.join(change.path) or 'experiment'}: {shown(change.old)} -> {shown(change.new)}" for change in changes]
    removed = [f"results of {stage} up to attempt {number} removed" for stage, number in edit.get("removed", {}).items()]
    by = "in the file" if edit["by"] == "hand" else edit.get("why", "")
    return "; ".join(filter(None, [*said, *removed, *edit.get("conflicts", ()), by]))


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nobody to ask: use --yes")
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _grid(settings: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every combination of the settings' values, with the suffix of its name; one without suffix when none has several."""
    keys: dict[str, list[Any]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting!r}: write it as key=value, or key=v1,v2 for a grid")
        if key in keys:
            raise UsageError(f"--set {key}: given twice; write several values as {key}=v1,v2")
        keys[key] = _values(text)
    for combination in itertools.product(*keys.values()):
        values = dict(zip(keys, combination, strict=True))
        several = [(key, value) for key, value in values.items() if len(keys[key]) > 1]
        yield "".join(f"-{_short(key)}{_word(value)}" for key, value in several), values


def _values(text: str) -> list[Any]:
    """The values of one setting: a JSON value as a whole, else what the commas separate."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [parse_value(part) for part in text.split(",")]


def _short(key: str) -> str:
    """The initials of a key's last part: `training_params.learning_rate` is `lr`."""
    last = key.split(".")[-1]
    return "".join(word[0] for word in last.split("_")) if "_" in last else f"{last}="


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^A-Za-z0-9._+=@:-]+", "-", text.removeprefix("same as ")).strip("-")
