"""The state of the code that runs: of its clone, or of the clone that its snapshot was made from.

A snapshot is a read-only copy of a checkout, made when a job is submitted (`slurm.snapshot`). It has no `.git`: the
manifest in it keeps the git state of that moment, and a patch beside it the uncommitted changes.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from registry.git_state import git_state

log = logging.getLogger("meds1")
MANIFEST, PATCH = "SNAPSHOT.json", "SNAPSHOT.diff"


def manifest(root: Path) -> dict[str, Any] | None:
    """What the snapshot at `root` says of itself; null when this is a checkout."""
    try:
        found: dict[str, Any] = json.loads((root / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    return found


def discard(folder: Path) -> None:
    """Delete a snapshot, whose folders are closed; `OSError` when it is somebody else's."""
    if folder.is_dir():
        for inner, _, _ in os.walk(folder):
            os.chmod(inner, 0o700)
        shutil.rmtree(folder)


def code_state(root: Path, diff: Path | None = None) -> dict[str, Any]:
    """`git_state` of the code at `root`; of a snapshot that of its origin, with the snapshot's id as `snapshot`.

    The patch is copied to `diff` in both cases: a result must not need the snapshot, which may be collected.
    """
    said = manifest(root)
    if said is None:
        return git_state(root, diff)
    found = {**said["git"], "snapshot": said["id"]}
    if "diff_sha256" not in found or diff is None:
        return found
    try:
        diff.write_bytes((root / PATCH).read_bytes())
    except OSError as error:  # a full disk, say
        log.warning("%s: the patch of the code could not be saved: %s", diff, error.strerror)
        return {**found, "diff": None, "diff_lost": error.strerror}
    return {**found, "diff": str(diff)}
