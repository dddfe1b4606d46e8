"""What commands change beside results: experiments made and removed, notes, tags. Saved as records, like results.

A command never writes the file itself: its record says what it found and what it wants there, the fold does it. So a
person who edits the file at the same moment loses nothing, and neither does the command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from registry.attempt import fold_or_warn
from registry.errors import StageFailure, UsageError, listed
from registry.history import plain
from registry.json_path import ABSENT
from registry.merge import Change
from registry.names import check_name
from registry.people import edit_record
from registry.provenance import now, user_name
from registry.reading import View
from registry.records import EditEvent
from registry.references import FIELDS, target
from registry.schema import STAGES, Stage
from registry.store import Registry, experiments_of, refuse_newer, results_of


def create(registry: Registry, bodies: Mapping[str, Mapping[str, Any]], why: str) -> None:
    """Add experiments (name -> what stands in `results.json`), all or none; `UsageError` when one is there already.

    `why` says in the history where they come from.
    """
    experiments = experiments_of(_to_be_changed(registry))
    for name in bodies:
        check_name(name)
        if name in experiments:
            raise UsageError(f"{name}: there is such an experiment already; choose another name")
    for index, (name, body) in enumerate(bodies.items()):
        _save(registry, name, "config", [Change((), ABSENT, dict(body))], {"why": why, "index": index})
    fold_or_warn(registry)
    there = experiments_of(registry.read())
    for name, body in bodies.items():
        if any(there.get(name, {}).get(key) != value for key, value in body.items() if key != "results"):
            raise StageFailure(
                f"{name}: somebody else made an experiment of this name at the same time; see `meds1 show {name}`"
            )


def add_note(registry: Registry, name: str, text: str) -> dict[str, str]:
    """Append a note to an experiment; returns it with author and time."""
    body = _body(_to_be_changed(registry), name)
    note = {"text": text, "author": user_name(), "timestamp": now()}
    before = body.get("notes") or []
    if not isinstance(before, list):
        raise UsageError(f"{name}: its notes are no list; put them into [ ] in {registry.paths.file}, then note again")
    _save(registry, name, "note", [Change(("notes",), before, [*before, note])], {})
    fold_or_warn(registry)
    return note


def change_tags(
    registry: Registry, names: Sequence[str], add: Iterable[str], remove: Iterable[str]
) -> dict[str, list[str]]:
    """Add tags to experiments and remove others; returns the tags of each."""
    view = _to_be_changed(registry)
    tags = {}
    for name in names:
        before = _body(view, name).get("tags") or []
        tags[name] = [tag for tag in before if tag not in set(remove)]
        tags[name] += [tag for tag in dict.fromkeys(add) if tag not in tags[name]]
        if tags[name] != before:
            _save(registry, name, "config", [Change(("tags",), before, tags[name])], {})
    fold_or_warn(registry)
    return tags


def remove(registry: Registry, name: str, stages: tuple[Stage, ...] | None = None) -> None:
    """Take away an experiment with all its results, or only the results of `stages`; the history keeps what there was.

    `UsageError` while other experiments say "same as" it. Results of attempts that are still in flight never count.
    """
    view = _to_be_changed(registry)
    body = plain({name: _body(view, name)}, view.state)[name]
    if stages is None:
        check_removable(view, name)
        changes = [Change((), body, ABSENT)]
    else:
        foreign = body.get("results") or {}
        changes = [Change(("results", stage), foreign[stage], ABSENT) for stage in stages if stage in foreign]
    gone = {stage: _last_attempt(view, name, stage) for stage in stages or STAGES}
    _save(registry, name, "config", changes, {"removed": {stage: number for stage, number in gone.items() if number}})
    fold_or_warn(registry)
    if stages is None and name in experiments_of(registry.read()):
        raise StageFailure(
            f"{name}: was edited in the file at the same time, so it stays, without results; remove again"
        )


def check_removable(view: View, name: str) -> None:
    """Raise `UsageError` while other experiments say "same as" `name`."""
    users = [
        other
        for other, body in experiments_of(view).items()
        if other != name and any(target((body.get("config") or {}).get(field)) == name for field in FIELDS)
    ]
    if users:
        raise UsageError(f'{name}: {listed(users)} say "same as {name}"; give them values of their own first')


def _to_be_changed(registry: Registry) -> View:
    view = registry.read()
    refuse_newer(registry, view)
    return view


def _last_attempt(view: View, name: str, stage: Stage) -> int:
    return max((header.attempt for header in view.state.headers(name, stage)), default=0)


def _body(view: View, name: str) -> Mapping[str, Any]:
    results_of(view, name)  # raises for an unknown name
    body: Mapping[str, Any] = experiments_of(view)[name]
    return body


def _save(registry: Registry, name: str, event: EditEvent, changes: list[Change], more: Mapping[str, Any]) -> None:
    said = {"author": user_name(), "by": "command", "changes": [change.to_json() for change in changes], **more}
    registry.save(edit_record(registry.paths, name, event, said))
