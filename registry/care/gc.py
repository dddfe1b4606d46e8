"""What nothing refers to any more: run directories, checkpoints, code, hashes, broken links, temporary files.

Whether a run directory may go is judged in `registry.care.judge`, code and submissions in `registry.care.code`. Links
are never followed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from registry.attempt import sole_user
from registry.care.code import code_garbage, delete_snapshots
from registry.care.garbage import ASIDE, Garbage, Item, Kept, age, undeleted
from registry.care.judge import DAY, Judge, RunDir, judge, run_dirs
from registry.durable import TEMPORARY
from registry.errors import Meds1Error, StageFailure
from registry.paths import OutputPaths, RegistryPaths, is_here
from registry.store import Registry

SCRATCH = ".doctor-"
_TEMPORARY = re.compile(rf"({re.escape(TEMPORARY)}|{re.escape(SCRATCH)})[0-9a-f]{{32}}")


def find(registry: Registry) -> Garbage:
    """Look through the output folders and the registry's own. Sizes are 0 until `measured`."""
    judged = judge(registry)
    items, kept = [], []
    for run_dir in run_dirs(registry.outputs.cache / "runs"):
        if run_dir.path.name.startswith(ASIDE):
            if age(run_dir.path) > DAY:
                items.append(Item("left half deleted", run_dir.path, "an earlier gc was ended while it deleted this"))
            continue
        owner = judged.owner_of(run_dir.path)
        why = None if owner else judged.why_kept(run_dir)
        if why:
            kept.append(Kept(run_dir.path, why))
        elif owner is None:
            items.append(Item("run directory", run_dir.path, "no current result refers to it", run_dir=run_dir))
        elif _left_checkpoints(judged, run_dir):
            items.append(Item("checkpoints", run_dir.path / "checkpoints", f"{owner} has completed"))
    items += _stale_hashes(OutputPaths.hashes_in(registry.outputs.cache))
    items += _broken_links(registry.outputs, [item.path for item in items if item.run_dir])
    items += leftovers(registry.paths)
    code = code_garbage(judged)
    return Garbage((*items, *code.items), (*kept, *code.kept))


def measured(item: Item) -> Item:
    """The item with the space that it takes on disk; a file with several names in it counts once."""
    return replace(item, bytes=sum(_sizes(item.path, set())))


def delete(registry: Registry, items: Sequence[Item]) -> Iterator[tuple[Item, Meds1Error | None]]:
    """Delete items one by one; with each comes why it stays after all, or null.

    Run directories are first moved aside, each in one step; then the registry is read again, and what an attempt has
    begun to need meanwhile is put back.
    """
    aside: list[tuple[Item, Path]] = []
    for item in items:
        if item.run_dir is None:
            continue
        try:
            aside.append((item, _set_aside(item)))
        except Meds1Error as error:
            yield item, error
    judged = judge(registry) if aside else None
    for item, path in aside:
        assert judged is not None
        assert item.run_dir is not None
        why = judged.owner_of(item.path) or judged.why_kept(replace(item.run_dir, path=path))
        yield item, _put_back(item, path, why) if why else _removed(path)
    yield from delete_snapshots(registry, [item for item in items if item.kind == "code snapshot"])
    for item in items:
        if item.run_dir is None and item.kind != "code snapshot":
            yield item, _removed(item.path)


def leftovers(paths: RegistryPaths) -> list[Item]:
    """Temporary files and folders, over a day old, of processes that were killed while they wrote to the registry."""
    found = [path for path in paths.file.parent.glob(f"{TEMPORARY}*") if _TEMPORARY.fullmatch(path.name)]
    for folder, folders, files in os.walk(paths.root):
        temporary = [name for name in (*folders, *files) if _TEMPORARY.fullmatch(name)]
        folders[:] = [name for name in folders if name not in temporary]
        found += [Path(folder) / name for name in temporary]
    return [Item("temporary file", path, "its writer is gone") for path in found if age(path) > DAY]


def _left_checkpoints(judged: Judge, run_dir: RunDir) -> bool:
    """Whether a completed training left checkpoints that no attempt goes on with and no result names."""
    folder = run_dir.path / "checkpoints"
    if run_dir.stage != "training" or folder.is_symlink() or not folder.is_dir():
        return False
    if judged.owner_of(folder) or judged.why_untouched(run_dir):
        return False
    headers = judged.view.state.headers(run_dir.experiment, run_dir.stage)
    own = [header for header in headers if header.fingerprint[:12] == run_dir.path.name]
    return bool(own) and own[-1].event == "completed"


def _stale_hashes(folder: Path) -> Iterator[Item]:
    """Remembered hashes of files that are gone. One that does not say of which file it is stays."""
    for memo in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            of = json.loads(memo.read_bytes()).get("path")
            if isinstance(of, str) and not os.path.lexists(of):
                yield Item("content hash", memo, f"{of} is gone")


def _broken_links(outputs: OutputPaths, collected: list[Path]) -> Iterator[Item]:
    """Links into run directories that lead nowhere, or will once `collected` is gone."""
    runs = outputs.cache / "runs"
    for folder in (outputs.output, outputs.cache / "ckpts", outputs.cache / "eval"):
        for link in sorted(folder.iterdir()) if folder.is_dir() else []:
            if not link.is_symlink():
                continue
            target = Path(os.path.normpath(folder / os.readlink(link)))
            if not target.is_relative_to(runs):
                continue
            if any(target.is_relative_to(path) for path in collected):
                yield Item("broken link", link, f"leads into {target}, which goes")
            elif not is_here(target):
                yield Item("broken link", link, f"leads to {target}, which is gone")


def _sizes(path: Path, seen: set[tuple[int, int]]) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError):  # somebody else deletes as well
        status = path.lstat()
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield status.st_blocks * 512
        if path.is_dir() and not path.is_symlink():
            for child in path.iterdir():
                yield from _sizes(child, seen)


def _set_aside(item: Item) -> Path:
    assert item.run_dir is not None
    aside = item.path.with_name(f"{ASIDE}{uuid.uuid4().hex}")
    with sole_user(item.path, item.run_dir.experiment):
        try:
            item.path.rename(aside)
        except OSError as error:
            raise undeleted(item.path, error) from None
    return aside


def _put_back(item: Item, aside: Path, why: str) -> StageFailure:
    if item.path.exists():
        return StageFailure(f"{item.path}: is in use again ({why}); what it held before is in {aside}")
    aside.rename(item.path)
    return StageFailure(f"{item.path}: stays: {why}")


def _removed(path: Path) -> StageFailure | None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        return undeleted(path, error)
    return None
