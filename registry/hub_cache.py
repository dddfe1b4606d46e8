"""What the local cache of the Hugging Face hub holds, read with the standard library alone.

`meds1 status` asks this for every experiment, so neither the network nor a heavy import is affordable here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from registry.catalog import HubOrFile

RepoType = Literal["model", "dataset"]

DEFAULT_REVISION = "main"


def cached_revision(entry: HubOrFile, repo_type: RepoType) -> str | None:
    """Return the commit (40 hex characters) that the local cache holds for `entry`, null for a file or when absent."""
    if entry.hf_path is None:
        return None
    folder = cache_root() / f"{repo_type}s--{entry.hf_path.replace('/', '--')}"
    revision = entry.revision or DEFAULT_REVISION
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        ref = folder / "refs" / revision
        if not ref.is_file():
            return None
        revision = ref.read_text(encoding="ascii").strip()
    return revision if (folder / "snapshots" / revision).is_dir() else None


def cache_root() -> Path:
    """Return the hub cache's folder, by the same environment variables as huggingface_hub."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.path.expandvars(os.environ[variable])).expanduser()
    cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(cache_home, "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"
