"""Is this a good place for a registry, and is the one that is here sound? Changes nothing, leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.care import probes
from registry.care.checks import Check, contents
from registry.care.gc import SCRATCH
from registry.care.mounts import mount_of
from registry.hub_cache import cache_root
from registry.paths import CHECKOUT, RegistryPaths
from registry.store import Registry


def examine(registry: Registry) -> Iterator[Check]:
    """All checks, one after the other, as they are done."""
    paths = registry.paths
    yield _file_system(paths)
    yield from _probed(paths)
    yield from contents(registry)


def paths_in_use(registry: Registry) -> dict[str, str]:
    """Every path that commands here use, by what it is for."""
    local = CHECKOUT / "config.local.sh"
    return {
        "registry": str(registry.paths.file),
        "records": str(registry.paths.root),
        "catalog": str(registry.catalog_path),
        "checkout": str(CHECKOUT),
        "config.local.sh": str(local) if local.exists() else "none",
        "CACHE_DIR": os.environ.get("CACHE_DIR", "not set"),
        "MED_S1K_OUTPUT": os.environ.get("MED_S1K_OUTPUT", "not set"),
        "MEDS1_ROOT": os.environ.get("MEDS1_ROOT", "not set"),
        "hub cache": str(cache_root()),
        "environment": sys.prefix,
        "python": sys.executable,
    }


def _file_system(paths: RegistryPaths) -> Check:
    name, mount = "file system", mount_of(paths.file.parent)
    if mount is None:
        return Check(name, "warning", "this machine does not say what is mounted where", "look with `mount`")
    said = f"{mount.kind} at {mount.point} ({mount.options})"
    if mount.read_only:
        return Check(name, "warning", f"{said}: read-only here", "run stages where it can be written")
    if mount.volatile:
        return Check(name, "warning", f"{said}: its files do not last", "keep the registry on a disk")
    if mount.local_locks:
        todo = "nothing is lost without locks; mount without nolock and local_lock to save folds some work"
        return Check(name, "warning", f"{said}: locks do not reach other hosts", todo)
    return Check(name, "ok", f"{said}, {'over the network' if mount.network else 'of this machine'}")


@contextmanager
def _scratch(paths: RegistryPaths) -> Iterator[Path]:
    """A folder on the registry's file system that is gone afterwards."""
    parent = paths.root if paths.root.is_dir() else paths.file.parent
    folder = parent / f"{SCRATCH}{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _probed(paths: RegistryPaths) -> Iterator[Check]:
    try:
        with _scratch(paths) as folder:
            for name, probe in _PROBES.items():
                try:
                    yield probe(name, folder)
                except (OSError, probes.ProbeError) as error:
                    what = error.strerror if isinstance(error, OSError) else str(error)
                    yield Check(name, "problem", f"cannot be tried: {what}", "ask who runs this file system")
    except OSError as error:
        where = error.filename or paths.root
        todo = "run this where the registry is written; reading works without it"
        yield Check("writing", "warning", f"{where}: {error.strerror}: {', '.join(_PROBES)} were not tried", todo)


def _lock(kind: probes.LockKind, name: str, folder: Path) -> Check:
    found = probes.locking(folder, kind)
    if found.exclusive and found.released:
        return Check(name, "ok", "keeps a second process out, and ends with its holder")
    lacking = "does not keep a second process out" if not found.exclusive else "outlives its holder"
    return Check(
        name, "warning", lacking, "no result is lost by it; two attempts in one run directory are not kept apart"
    )


def _claims(name: str, folder: Path) -> Check:
    twice = probes.folders_claimed_twice(folder)
    if twice:
        return Check(name, "problem", f"{twice} folders were made by two processes or none", "move the registry")
    return Check(name, "ok", "a folder goes to exactly one of two processes")


def _renames(name: str, folder: Path) -> Check:
    reads, torn = probes.torn_reads(folder)
    if torn:
        return Check(name, "problem", f"{torn} of {reads} reads met a file that was not whole", "move the registry")
    return Check(name, "ok", f"{reads} reads of a file that was being replaced, all whole")


def _flush(name: str, folder: Path) -> Check:
    return Check(name, "ok", f"file and folder in {probes.flush_seconds(folder) * 1000:.1f} ms")


def _clock(name: str, folder: Path) -> Check:
    offset = probes.clock_offset(folder)
    said = f"new files are stamped {offset:+.3f} s off this machine's clock"
    if abs(offset) > 60:
        return Check(name, "warning", said, "no result depends on it, but times mislead; set the clocks (NTP)")
    return Check(name, "ok", said)


def _visibility(name: str, folder: Path) -> Check:
    median, longest = probes.visibility(folder)
    return Check(
        name, "ok", f"a new file is listed after {median * 1000:.1f} ms, at most {longest * 1000:.1f}, on this host"
    )


_PROBES: dict[str, Callable[[str, Path], Check]] = {
    "lock (flock)": lambda name, folder: _lock("flock", name, folder),
    "lock (fcntl)": lambda name, folder: _lock("lockf", name, folder),
    "claims (mkdir)": _claims,
    "rename": _renames,
    "flush (fsync)": _flush,
    "clock": _clock,
    "visibility": _visibility,
}
