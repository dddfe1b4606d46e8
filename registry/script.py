"""The script that a tracked run is started from: what tells it from others, and where it and its clone stand."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from registry.git_state import clone_of, git_state
from registry.paths import CHECKOUT
from registry.provenance import restart_count


def identity() -> dict[str, Any]:
    """The script's name and the SHA-256 of its content. A notebook or a prompt has no content to hash."""
    file = _file()
    if file is None:
        return {"name": "<interactive>", "sha256": None}
    return {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def provenance(folder: Path) -> dict[str, Any]:
    """Where the script lies and, if it has a clone of its own, the state of that; its patch goes into `folder`."""
    file = _file()
    root = clone_of(file.resolve().parent) if file else None
    said: dict[str, Any] = {"path": str(file) if file else None}
    if root is not None and root != CHECKOUT:
        said["git"] = git_state(root, folder / f"script-{restart_count()}.diff")
    return said


def _file() -> Path | None:
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).absolute() if file else None
