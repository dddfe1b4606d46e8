"""Commands that care for a registry: gc, doctor, reproduce."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry.console import Grid, answering
from registry.errors import StageFailure, counted
from registry.options import ConfigFile, DryEdit, Json, Name, RegistryFile
from registry.schema import Stage
from registry.sizes import readable
from registry.store import open_registry

if TYPE_CHECKING:
    from registry.care.gc import Item, Kept

Yes = Annotated[bool, typer.Option("--yes", help="Delete what is listed; without it nothing is.")]
NewName = Annotated[str | None, typer.Option("--name", help="Name of the new experiment; default: NAME-reproduced.")]
OneStage = Annotated[Stage | None, typer.Option("--stage", help="The stage to reproduce; default: the last completed.")]


def gc(yes: Yes = False, as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """List what no current result refers to, with its size; delete it with --yes."""
    with answering("gc", as_json) as answer:
        from registry.care.gc import delete, find

        opened = open_registry(registry, config)
        found = find(opened)
        items = _measured(found.items)
        total = sum(item.bytes for item in items)
        answer.data = {
            "items": [{**_said(item), "deleted": False} for item in items],
            "kept": [{"path": str(kept.path), "reason": kept.reason} for kept in found.kept],
            "bytes": total,
            "deleted_bytes": 0,
        }
        rows = [[readable(item.bytes), item.kind, str(item.path), item.reason] for item in items]
        answer.lines.append(Grid(["size", "what", "path", "why"], rows, right=(0,)) if rows else "nothing to collect")
        answer.lines += _kept(found.kept)
        if not items:
            return
        if not yes:
            answer.lines.append(f"{readable(total)} in {counted(len(items), 'item')}; `meds1 gc --yes` deletes them")
            return
        by_path = {body["path"]: body for body in answer.data["items"]}
        for item, error in delete(opened, items):
            if error is not None:
                answer.errors.append(error)
                continue
            by_path[str(item.path)]["deleted"] = True
            answer.data["deleted_bytes"] += item.bytes
        deleted = sum(body["deleted"] for body in by_path.values())
        answer.lines.append(
            f"deleted {deleted} of {counted(len(items), 'item')}, {readable(answer.data['deleted_bytes'])}"
        )


def doctor(as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """Examine the registry and where it lies; print every path in use."""
    with answering("doctor", as_json) as answer:
        from registry.care.doctor import examine, paths_in_use

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
        opened = open_registry(registry, config)
        checks = list(examine(opened))
        answer.data = {"checks": [asdict(check) for check in checks], "paths": paths_in_use(opened)}
        rows = [[check.level, check.name, "; ".join(filter(None, (check.message, check.todo)))] for check in checks]
        answer.lines.append(Grid(["", "check", "what was found"], rows))
        answer.lines.append(Grid(["path", "where"], [list(item) for item in paths_in_use(opened).items()]))
        problems = [check.name for check in checks if check.level == "problem"]
        if problems:
            answer.errors.append(StageFailure(f"problems found: {', '.join(problems)}"))


def reproduce(  # noqa: PLR0913 - one parameter per option of the command line
    name: Name,
    new_name: NewName = None,
    stage: OneStage = None,
    dry_run: DryEdit = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Make a new experiment with the config of a recorded result.

    It says what differs here and now: code, environment, catalog, and which inputs of the fingerprints.
    """
    with answering("reproduce", as_json) as answer:
        from registry.care.reproduce import reproduction
        from registry.edits import create

        opened = open_registry(registry, config)
        view = opened.read()
        answer.warnings.extend(view.warnings)
        found = reproduction(opened, view, name, stage, new_name)
        answer.data = {**asdict(found), "created": False}
        if not dry_run:
            create(opened, {found.name: found.body}, f"reproduces {name}: {found.stage}, attempt {found.attempt}")
            answer.data["created"] = True
        verb = "would have" if dry_run else "has"
        answer.lines.append(f"{found.name}: {verb} the config of {name}: {found.stage}, attempt {found.attempt}")
        answer.lines += [f"differs: {kind}: {line}" for kind, lines in found.differences.items() for line in lines]
        for each, changes in found.stages.items():
            same = f"fingerprint as recorded: `meds1 run {found.name}` reuses the result"
            answer.lines.append(f"{each}: {'; '.join(changes) if changes else same}")


def _kept(kept: Sequence[Kept]) -> list[str]:
    """One line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for one in kept:
        by_reason.setdefault(one.reason, []).append(str(one.path))
    return [
        f"kept {len(paths)}: {reason}: {paths[0]}{', ...' if len(paths) > 1 else ''}"
        for reason, paths in by_reason.items()
    ]


def _measured(items: Sequence[Item]) -> list[Item]:
    """The items with their sizes; a progress bar on a terminal, for a walk over a slow file system takes a while."""
    from rich.console import Console
    from rich.progress import track

    from registry.care.gc import measured

    screen = Console(stderr=True)
    shown = track(items, "measuring", console=screen, transient=True, disable=not sys.stderr.isatty())
    return [measured(item) for item in shown]


def _said(item: Item) -> dict[str, Any]:
    return {"kind": item.kind, "path": str(item.path), "reason": item.reason, "bytes": item.bytes}
