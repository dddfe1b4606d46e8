"""What happened to an experiment: the attempts of its stages, and the edits of its entry, for `show` and `history`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from registry.console import Grid
from registry.history import State
from registry.json_path import ABSENT
from registry.merge import Change
from registry.people import described
from registry.schema import STAGES


def history_of(state: State, name: str) -> dict[str, Any]:
    """Everything that happened to an experiment, as JSON values: `attempts` of its stages and `edits` of its entry."""
    return {"attempts": list(_attempts(state, name)), "edits": [_edit(edit) for edit in state.edits.get(name, ())]}


def as_grid(history: Mapping[str, Any]) -> Grid:
    """`history_of` in the order of its timestamps; of one second the edits first: what is run was made before."""
    rows = [[e["timestamp"], "", f"edit {e['number']}", e["event"], e["author"], e["remark"]] for e in history["edits"]]
    rows += [
        [a["timestamp"], a["stage"], f"{a['attempt']}.{a['restart']}", a["event"], a["who"], a["remark"]]
        for a in history["attempts"]
    ]
    return Grid(["time (UTC)", "stage", "attempt", "event", "by", "what"], sorted(rows, key=lambda row: row[0]))


def _attempts(state: State, name: str) -> Iterator[dict[str, Any]]:
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


def _edit(edit: Mapping[str, Any]) -> dict[str, Any]:
    """An edit with its changes as values; the side of a change that was or is nothing is left out."""
    changes = [Change.from_json(body) for body in edit.get("changes", ())]
    said = [_told(change) for change in changes]
    gone = edit.get("removed", {}).items()
    removed = [f"results of {stage} up to attempt {number} removed" for stage, number in gone]
    by = "in the file" if edit["by"] == "hand" else edit.get("why", "")
    remarks = filter(None, [*said, *removed, *edit.get("conflicts", ()), by])
    return {**edit, "changes": [_values(change) for change in changes], "remark": "; ".join(remarks)}


def _told(change: Change) -> str:
    """One line about a change; a note that was added in full, of an experiment that came or went just that."""
    if not change.path and ABSENT in (change.old, change.new):
        return "experiment made" if change.old is ABSENT else "experiment removed"
    if change.path == ("notes",) and isinstance(change.new, list):
        before = change.old if isinstance(change.old, list) else []
        added = [note for note in change.new if note not in before]
        if len(change.new) == len(before) + len(added):
            return "; ".join(
                str(note["text"]) if isinstance(note, dict) and "text" in note else str(note) for note in added
            )
    return described(change)


def _values(change: Change) -> dict[str, Any]:
    sides = {"old": change.old, "new": change.new}
    return {"path": list(change.path), **{side: value for side, value in sides.items() if value is not ABSENT}}
