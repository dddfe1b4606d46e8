"""Checks of what is in a registry and around it: records, permissions, space, output folders, Slurm. They only read."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.care.gc import leftovers
from registry.durable import current_umask
from registry.errors import Meds1Error, counted
from registry.hub_cache import cache_root
from registry.paths import RegistryPaths
from registry.records import DamagedRecordError, parse_record
from registry.state import load_state
from registry.store import Registry

Level = Literal["ok", "warning", "problem"]
_SHOWN = 3
_GIB = 2**30
_LONG_WAITING = 3600
_SLURM = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "srun")


@dataclass(frozen=True)
class Check:
    """What one check found, and what to do about it."""

    name: str
    level: Level
    message: str
    todo: str = ""


def contents(registry: Registry) -> Iterator[Check]:
    """All checks that need no probing."""
    paths = registry.paths
    yield _room("free space of the registry", paths.file.parent, 1)
    yield from _permissions(paths)
    yield from _files(registry)
    yield from _records(paths)
    yield _leftovers(paths)
    yield from _outputs()
    yield _slurm()


def _room(name: str, folder: Path, least_gib: float) -> Check:
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    inodes = f"{found.f_favail:,} files" if found.f_files else "files without a limit"
    said = f"{folder}: {free / _GIB:,.1f} GiB and {inodes} free"
    if free == 0 or (found.f_files and found.f_favail == 0):
        return Check(name, "problem", said, "free space: nothing can be saved there; `meds1 gc` lists what can go")
    if free < least_gib * _GIB or (found.f_files and found.f_favail < 10_000):
        return Check(name, "warning", said, "`meds1 gc` lists what can go")
    return Check(name, "ok", said)


def _permissions(paths: RegistryPaths) -> Iterator[Check]:
    name = "permissions"
    mine, group, owners = _barred(paths)
    umask = current_umask()
    if mine:
        todo = f"chmod, or ask the owner: chmod -R g+rwX {paths.root} {paths.file}"
        yield Check(name, "problem", f"not readable and writable for you: {_some(mine)}", todo)
    folder = paths.file.parent.stat()
    shared = bool(folder.st_mode & stat.S_IWGRP) or len(owners) > 1
    if not shared:
        place = paths.file.parent
        todo = f"to share it: chgrp -R GROUP {place}; chmod -R g+rwX {place}; chmod g+s {place} {paths.root}"
        yield Check(name, "ok", f"for one user (umask {umask:03o})", todo)
    elif group:
        todo = f"chmod -R g+rwX {paths.root} {paths.file} (as the owner of the files)"
        level: Level = "problem" if len(owners) > 1 else "warning"
        yield Check(name, level, f"closed to others of the group: {_some(group)}", todo)
    elif not folder.st_mode & stat.S_ISGID:
        todo = f"chmod g+s {paths.file.parent}, so that new files get its group"
        yield Check(name, "warning", f"open to the group {folder.st_gid}, but new files get their maker's group", todo)
    elif not mine:
        yield Check(name, "ok", f"open to the group {folder.st_gid} (umask {umask:03o}), {len(owners)} owners so far")


def _barred(paths: RegistryPaths) -> tuple[list[Path], list[Path], set[int]]:
    """What this user cannot use, what the group cannot use, and all owners."""
    mine, group, owners = [], [], set()
    for path in _all_in(paths):
        try:
            status = path.stat()
        except OSError:
            mine.append(path)
            continue
        owners.add(status.st_uid)
        needs, bits = os.R_OK, stat.S_IRGRP
        if path in (paths.file, paths.lock):
            needs, bits = os.R_OK | os.W_OK, stat.S_IRGRP | stat.S_IWGRP
        elif stat.S_ISDIR(status.st_mode):
            needs, bits = os.R_OK | os.W_OK | os.X_OK, stat.S_IRWXG
        if not os.access(path, needs):
            mine.append(path)
        # In a folder with the sticky bit only a file's owner can replace it.
        if status.st_mode & bits != bits or status.st_mode & stat.S_ISVTX:
            group.append(path)
    return mine, group, owners


def _all_in(paths: RegistryPaths) -> Iterator[Path]:
    if paths.file.exists():
        yield paths.file
    if paths.root.is_dir():
        # A claimed number is an empty folder: that it is there is all, nobody opens it.
        claims = set((paths.root / "attempts").glob("*/*/*"))
        yield from (paths.root, *(path for path in paths.root.rglob("*") if path not in claims))


def _files(registry: Registry) -> Iterator[Check]:
    try:
        view = registry.read()
        count = len(view.document.get("experiments") or {})
        yield Check("registry", "ok", counted(count, "experiment"))
        for warning in view.warnings:
            yield Check("registry", "warning", warning, "")
    except Meds1Error as error:
        yield Check("registry", "problem", str(error))
    try:
        _ = registry.catalog
        yield Check("catalog", "ok", str(registry.catalog_path))
    except Meds1Error as error:
        yield Check("catalog", "problem", str(error))


def _records(paths: RegistryPaths) -> Iterator[Check]:
    count, damaged = 0, []
    since: list[float] = []
    for folder in (paths.inbox, paths.applied):
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
            try:
                parse_record(path.read_bytes())
                since += [path.stat().st_mtime] if folder == paths.inbox else []
            except FileNotFoundError:
                continue  # a fold has moved it into the archive, which is looked at next
            except (OSError, DamagedRecordError):
                damaged.append(path)
            count += 1
    if damaged:
        yield Check("records", "problem", f"{len(damaged)} damaged: {_some(damaged)}", "restore them from a backup")
    else:
        yield Check("records", "ok", f"{count}, all sound")
    yield _waiting(since)
    state, warnings = load_state(paths, {}, b"")
    if warnings:
        yield Check("state", "warning", "; ".join(warnings), "the next fold writes it anew")
    else:
        yield Check("state", "ok", f"{len(state.known())} records known")


def _waiting(since: list[float]) -> Check:
    """`since` are the times at which the records were saved."""
    name = "records that wait"
    if not since:
        return Check(name, "ok", "none: all are in the file")
    hours = (time.time() - min(since)) / 3600
    said = f"{len(since)} are not in the file yet, for {hours:.1f} h"
    if hours * 3600 < _LONG_WAITING:
        return Check(name, "ok", said)
    return Check(
        name, "warning", said, "every command that changes the registry folds them; what keeps it is said then"
    )


def _leftovers(paths: RegistryPaths) -> Check:
    found = [item.path for item in leftovers(paths)]
    if found:
        return Check("leftovers", "warning", f"{len(found)} of killed writers: {_some(found)}", "meds1 gc --yes")
    return Check("leftovers", "ok", "none")


def _outputs() -> Iterator[Check]:
    for variable in ("CACHE_DIR", "MED_S1K_OUTPUT"):
        value = os.environ.get(variable)
        if not value:
            yield Check(variable, "warning", "not set, so no stage can run", "source config.sh")
            continue
        folder = Path(value).expanduser().absolute()
        above = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(above, os.W_OK | os.X_OK) or not above.is_dir():
            yield Check(variable, "problem", f"{folder}: cannot be written", "set it to a folder of yours")
        else:
            yield _room(variable, folder, 20)
    yield _room("hub cache", cache_root(), 20)


def _slurm() -> Check:
    there = [command for command in _SLURM if shutil.which(command)]
    missing = [command for command in _SLURM if command not in there]
    if not there:
        return Check("Slurm", "ok", "not on this machine: jobs run as background processes (--cluster local)")
    if missing:
        return Check("Slurm", "warning", f"lacks {', '.join(missing)}", "put Slurm's bin folder on the PATH")
    return Check("Slurm", "ok", f"{', '.join(there)} are there")


def _some(paths: list[Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:_SHOWN])
    return shown + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
