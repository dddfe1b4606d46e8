"""Which checkpoints of a run directory are complete, and which of them a new attempt resumes from.

A checkpoint is complete when it holds a manifest, written last and atomically after all ranks have saved, and every
file that the manifest lists has its size. Whatever else lies there was cut short and is removed, and said.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "complete.json"
TRAINER_STATE = "trainer_state.json"  # transformers' name
KEEP = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint after `step` optimizer steps."""

    path: Path
    step: int


@dataclass(frozen=True, slots=True)
class Found:
    """The newest complete checkpoint, if any, and what is wrong with each newer one."""

    newest: Checkpoint | None
    incomplete: tuple[tuple[Path, str], ...]


def checkpoint_folder(run_dir: Path, world_size: int) -> Path:
    """Where a training on `world_size` processes keeps its checkpoints.

    FSDP's sharded checkpoints are read by any number of processes but one, and the other way round (transformers'
    `Trainer._load_from_checkpoint`), so the two kinds never meet in one folder.
    """
    return run_dir / "checkpoints" / ("sharded" if world_size > 1 else "whole")


def write_manifest(folder: Path, step: int) -> None:
    """Declare the checkpoint complete. Call on one rank, after all ranks have written."""
    files = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    temporary = folder / f"{MANIFEST}.tmp"
    with temporary.open("w", encoding="utf-8") as out:
        json.dump({"step": step, "files": files}, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, folder / MANIFEST)


def delete_old(folder: Path) -> None:
    """Keep the newest `KEEP` checkpoints of `folder` and those that hold the best weights known to one of them.

    Call on one rank, once the newest one has its manifest: until then an older one may be needed.
    """
    newest_first = sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True)
    best = {_best_known(path) for path in newest_first[:KEEP]}
    for path in newest_first[KEEP:]:
        if _step_of(path) not in best:
            shutil.rmtree(path)


def find_newest(folder: Path) -> Found:
    """Look for the newest complete checkpoint in `folder`, which need not exist."""
    incomplete: list[tuple[Path, str]] = []
    for path in sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True):
        found = defect(path)
        if found is None:
            return Found(Checkpoint(path, _step_of(path)), tuple(incomplete))
        incomplete.append((path, found))
    return Found(None, tuple(incomplete))


def defect(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None when it is complete."""
    if not (folder / MANIFEST).is_file():
        return "its saving was cut short"
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    for name, size in files.items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != size:
            return f"{name} is missing or cut"
    return None


def _step_of(path: Path) -> int:
    suffix = path.name.removeprefix("checkpoint-")
    return int(suffix) if suffix.isdigit() else -1


def _best_known(folder: Path) -> int | None:
    state = json.loads((folder / TRAINER_STATE).read_text(encoding="utf-8"))
    best: int | None = state.get("best_global_step")
    return best
