"""What people changed in `results.json`, and what commands ask for: who, what, and which of the two stands.

Pure functions but for `author_of`. The merge itself is `registry.merge`; here is what it is given.
"""

from __future__ import annotations

import hashlib
import json
import pwd
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from registry.history import State
from registry.json_path import ABSENT, join
from registry.merge import Change, Conflict, Experiments, applied, differences
from registry.paths import RegistryPaths
from registry.provenance import now
from registry.records import EditEvent, Record, claim_attempt


def as_people_left_it(file: Experiments, digest: str, state: State) -> tuple[Experiments, list[Conflict], list[str]]:
    """The file's experiments, merged with what it has missed when it was written from an old copy.

    A copy's age shows in its results. One that has people's edits in it is an editor's old buffer: what was changed
    since then stays. One without any is an old file put back on purpose.
    """
    base = _opened(state, digest, file)
    undone = differences(base, state.experiments)
    if not undone:
        return file, [], []
    if not differences(base, file):
        lines = [
            f"{join('experiments', *change.path)}: the file was put back to before its last change" for change in undone
        ]
        return file, [], lines
    merged, conflicts = applied(file, undone)
    return merged, conflicts, []


def _opened(state: State, digest: str, file: Experiments) -> Experiments:
    """The experiments of the version that the file was made from: the newest one with these results.

    Of several that differ only by what commands have added since (notes, tags, experiments), it is the one that is
    nearest to the file: results cannot tell them apart, and nobody deletes by hand what he has never seen.
    """
    base, opened, distance = state.experiments, None, 0
    for version in reversed(state.versions):
        if version["results"] == digest:
            away = sum(change.size for change in differences(base, file))
            if opened is None or away < distance:
                opened, distance = base, away
        steps = [Change.from_json(body) for body in version["changes"]]
        if opened is not None and (distance == 0 or not all(change.adds for change in steps)):
            break
        base, _ = applied(base, [change.undone() for change in reversed(steps)])
    return state.experiments if opened is None else opened


def with_results_kept(experiments: Experiments, state: State) -> tuple[Experiments, list[str]]:
    """An experiment with results that is gone from the file comes back: only `meds1 rm` removes a result."""
    notes, back = [], {}
    for name, results in state.results.items():
        if name in experiments or not results:
            continue
        if name in state.experiments:
            back[name] = state.experiments[name]
            notes.append(f"{name}: was gone from the registry but has results; brought back; `meds1 rm` removes")
        else:
            notes.append(f"{name}: has results but no entry in the registry; they show once it is added")
    return {**experiments, **back}, notes


def requested(records: list[Record]) -> Iterator[Change]:
    """The changes that commands ask for, each experiment's in their order; what is edited by hand is in the file."""
    edits = [record for record in records if record.stage is None and record.result.get("by") != "hand"]
    edits.sort(key=lambda record: (record.attempt, record.id))
    rank: dict[str, tuple[int, str]] = {}
    for record in edits:
        rank.setdefault(record.experiment, (record.result.get("index", 0), record.experiment))
    for record in sorted(edits, key=lambda record: rank[record.experiment]):
        for body in record.result.get("changes", ()):
            change = Change.from_json(body)
            yield Change((record.experiment, *change.path), change.old, change.new)


def results_digest(experiments: Experiments) -> str:
    """Which recorded results a file holds: two files with the same ones were written after the same fold."""
    held = [
        str(entry["record"])
        for body in experiments.values()
        for entry in (body.get("results") or {}).values()
        if entry and "record" in entry
    ]
    return hashlib.sha256("\n".join(sorted(held)).encode()).hexdigest()


def edit_record(paths: RegistryPaths, name: str, event: EditEvent, result: Mapping[str, Any]) -> Record:
    """A record of an edit under the experiment's next number; `result` says by whom, how and what."""
    return Record(
        experiment=name,
        stage=None,
        event=event,
        attempt=claim_attempt(paths.attempts(name, None)),
        restart=0,
        fingerprint="",
        inputs={},
        result={"timestamp": now(), **result},
        provenance={},
    )


def described(change: Change) -> str:
    """One line about a change: path, old and new value."""
    return f"{join(*change.path) or 'experiment'}: {shown(change.old)} -> {shown(change.new)}"


def told(conflict: Conflict, state: State, author: str) -> str:
    """One line about a conflict: both values and both authors."""
    change = conflict.change
    name, *path = change.path
    other = "a command"
    for edit in state.edits.get(name, ()):
        if any(body["path"] == path[: len(body["path"])] for body in edit.get("changes", ())):
            other = f"{edit['author']} ({edit['timestamp']})"
    where = join("experiments", *change.path)
    return (
        f"{where}: the file says {shown(conflict.there)} ({author}), {other} set {shown(change.new)}; the file's stands"
    )


def shown(value: Any) -> str:
    """A value in a message, at most 60 characters."""
    text = repr(value) if value is ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def author_of(file: Path, state: State) -> str:
    """Who wrote the file last, as far as the file system tells: an editor that writes in place leaves no name."""
    try:
        status = file.stat()
        owner = pwd.getpwuid(status.st_uid).pw_name
    except FileNotFoundError:
        return "unknown"
    except KeyError:
        owner = str(status.st_uid)
    in_place = status.st_ino == state.inode and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return f"{owner} or another who may write it" if in_place else owner
