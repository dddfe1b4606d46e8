"""Which checkpoints of a run directory are complete, and which of them a new attempt resumes from.

A checkpoint is complete when it holds a manifest, written last and atomically after all ranks have saved and the system
has written everything to disk, and every file is as the manifest says. Whatever else lies there was cut short and is
removed, and said.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

from registry.durable import write_durably

MANIFEST = "complete.json"
TRAINER_STATE = "trainer_state.json"  # transformers' name
KEEP = 2
# Of larger files (shards of weights and of the optimizer's state) the size alone is looked at: reading them once more
# would take as long as saving them. They were flushed before the manifest was written.
CHECKED_BYTES = 2**20


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
    """Declare the checkpoint complete. Call on one rank, after all ranks have written and flushed."""
    files = {str(path.relative_to(folder)): _described(path) for path in _files(folder) if path.name != MANIFEST}
    write_durably(folder / MANIFEST, json.dumps({"step": step, "files": files}).encode())


def flush(folder: Path) -> None:
    """Wait until everything in `folder` is on disk. One process of every node calls it: each has its own cache."""
    for path in _files(folder):
        _flush(path)
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        _flush(path)


def delete_old(folder: Path) -> None:
    """Keep the newest `KEEP` checkpoints of `folder` and those that hold the best weights known to one of them.

    Call on one rank, once the newest one has its manifest: until then an older one may be needed.
    """
    newest_first = sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True)
    best = {_best_known(path) for path in newest_first[:KEEP] if defect(path) is None}
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
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except ValueError:
        return f"{MANIFEST} is damaged"
    for name, described in files.items():
        if not (folder / name).is_file() or _described(folder / name) != described:
            return f"{name} is missing or damaged"
    return None


def _step_of(path: Path) -> int:
    suffix = path.name.removeprefix("checkpoint-")
    return int(suffix) if suffix.isdigit() else -1


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _described(path: Path) -> list[int]:
    """The file's size in bytes and, of a small one, the checksum of its content."""
    size = path.stat().st_size
    return [size, zlib.crc32(path.read_bytes())] if size <= CHECKED_BYTES else [size]


def _flush(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _best_known(folder: Path) -> int | None:
    state = json.loads((folder / TRAINER_STATE).read_text(encoding="utf-8"))
    best: int | None = state.get("best_global_step")
    return best
