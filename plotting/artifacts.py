"""Where a result's files are on this machine: as recorded, or in a copy of the runs below CACHE_DIR.

A laptop has a copy of the cluster's `runs` folder at best. The end of a run directory's path names experiment, stage
and fingerprint (`runs/NAME/eval/0123456789ab`), so what lies there is of that very run and nothing is guessed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from registry.errors import MissingError
from registry.paths import is_here
from registry.schema import Stage

_TAIL = 4  # runs, experiment, stage, fingerprint


def located(entry: Mapping[str, Any], field: str) -> Path | None:
    """The file or folder that a result names under `field`, where it is here; null where it is not, or not named."""
    recorded = entry.get(field)
    if not isinstance(recorded, str) or not recorded:
        return None
    candidates = [Path(recorded), *_copies(entry, recorded)]
    return next((path for path in candidates if path.is_absolute() and is_here(path)), None)


def needed(experiment: str, stage: Stage, entry: Mapping[str, Any], field: str) -> Path:
    """`located`; raises `MissingError` that says which file is missing and where a copy of it would be found."""
    found = located(entry, field)
    if found is not None:
        return found
    recorded = entry.get(field)
    if not recorded:
        noun = field.removesuffix("_path").replace("_", " ")
        raise MissingError(
            f"{experiment}: its {stage} result names no file of {noun} (another program recorded it), "
            "so that what needs one cannot be made"
        )
    copies = [path for path in _copies(entry, str(recorded)) if path != Path(str(recorded))]
    where = f"; copy it there, or to {copies[0]}" if copies else "; copy it there, or set CACHE_DIR to a copy of runs/"
    raise MissingError(f"{experiment}: {stage}: {recorded} is not on this machine{where}")


def _copies(entry: Mapping[str, Any], recorded: str) -> list[Path]:
    run_dir = PurePosixPath(str(entry.get("run_dir") or ""))
    cache = os.environ.get("CACHE_DIR")
    if not cache or len(run_dir.parts) <= _TAIL or run_dir.parts[-_TAIL] != "runs":
        return []
    if not PurePosixPath(recorded).is_relative_to(run_dir):
        return []
    tail = PurePosixPath(recorded).relative_to(run_dir)
    return [Path(cache).expanduser().absolute().joinpath(*run_dir.parts[-_TAIL:], tail)]
