"""Commands that change what the registry says beside results: new, note, tag, rm; and history, which shows it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from registry import edits
from registry.console import answering, confirmed
from registry.derive import derived, grid
from registry.errors import UsageError, no_experiment
from registry.events import as_grid, history_of
from registry.json_path import join
from registry.names import check_name
from registry.options import (
    Choice,
    ConfigFile,
    DryEdit,
    Files,
    Json,
    Name,
    RegistryFile,
    Stages,
    chosen,
    chosen_one,
    stages_of,
)
from registry.people import shown
from registry.resolve import effective
from registry.store import experiments_of, open_registry, results_of

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
    dry_run: DryEdit = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Make experiments from another one's config: one, or a grid."""
    with answering("new", as_json) as answer:
        opened, view = chosen_one(answer, Files(registry, config), base)
        experiments = experiments_of(view)
        bodies: dict[str, Any] = {}
        for suffix, values in grid(settings or []):
            said = ", ".join(f"{key}={shown(value)}" for key, value in values.items())
            body: dict[str, Any] = {"description": description or (f"{base} with {said}" if said else f"as {base}")}
            if tags:
                body["tags"] = tags
            if name + suffix in bodies:
                raise UsageError(
                    f"{name + suffix}: two experiments of the grid would have this name; make them one by one"
                )
            bodies[check_name(name + suffix)] = {**body, "config": derived(experiments, base, values)}
        taken = [full for full in bodies if full in experiments]
        if taken:
            raise UsageError(f"{taken[0]}: there is such an experiment already; choose another name")
        document = {"experiments": {**experiments, **bodies}}
        for full in bodies:
            effective(document, opened.catalog, opened.catalog_path.parent, full)
        if dry_run:
            answer.data = {"would_create": bodies}
            answer.lines.append(json.dumps(bodies, indent=2, ensure_ascii=False))
            return
        edits.create(opened, bodies, f"new --from {base}")
        answer.data = {"created": bodies}
        answer.lines += [f"{full}: {body['description']}" for full, body in bodies.items()]


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
        opened, view = chosen_one(answer, Files(registry, config), name)
        if not isinstance(experiments_of(view)[name].get("notes"), list | None):
            raise UsageError(f"{join('experiments', name, 'notes')}: must be a list; put what is there in brackets")
        answer.data = edits.add_note(opened, name, text)
        answer.lines.append(f"{name}: noted")


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
        both = sorted(set(add or []) & set(remove or []))
        if both:
            raise UsageError(f"--add and --remove both say {both[0]}; say one")
        opened, _, selected = chosen(answer, Files(registry, config), Choice(names))
        answer.data = edits.change_tags(opened, selected, add or [], remove or [])
        answer.lines += [f"{name}: {', '.join(tags) or 'no tags'}" for name, tags in answer.data.items()]


def rm(  # noqa: PLR0913 - one parameter per option of the command line
    name: Name,
    stages: Stages = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: DryEdit = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Remove an experiment with its results, or with --stage only results; the history keeps them."""
    with answering("rm", as_json) as answer:
        opened, view = chosen_one(answer, Files(registry, config), name)
        only = stages_of(stages) if stages else None
        have = [stage for stage, entry in results_of(view, name).items() if entry]
        gone = [stage for stage in have if only is None or stage in only]
        if only and not gone:
            raise UsageError(f"{name}: has no result of {', '.join(only)}; there is nothing to remove")
        if only is None:
            edits.check_removable(view, name)
        results = f"the results of {', '.join(gone)}" if gone else "no results"
        what = results if only else f"the experiment with {results}"
        answer.data = {"experiment": name, "results": gone, "config": only is None, "removed": False}
        if dry_run:
            answer.lines.append(f"{name}: would remove {what}")
            return
        if not yes and not confirmed(f"{name}: remove {what}? Files of runs stay until `meds1 gc`. [y/N] "):
            raise UsageError(f"{name}: nothing removed")
        edits.remove(opened, name, only)
        answer.data["removed"] = True
        answer.lines.append(f"{name}: removed {what}")


def history(
    name: Annotated[str, typer.Argument(help="Name of an experiment, also of one that is removed.")],
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Show what happened to an experiment: attempts, and edits by whom."""
    with answering("history", as_json) as answer:
        view = open_registry(registry, config).read()
        answer.warnings.extend(view.warnings)
        known = {*experiments_of(view), *view.state.edits, *view.state.history}
        if name not in known:
            raise no_experiment(name, known)
        answer.data = history_of(view.state, name)
        answer.lines.append(as_grid(answer.data))
