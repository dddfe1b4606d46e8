"""Files that several people and processes share: replaced in one step, flushed to disk, open to the folder's group.

Whoever may write in the folder of `results.json` may write in `.registry/`, whatever the umask of the one who made it:
new files and folders take the permissions of the folder that they are in, not those of a process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_READ_AND_WRITE = 0o666
TEMPORARY = ".tmp-"
_TRIES = 3
_WRITERS = 8
_UMASK = threading.Lock()


class ChangedMeanwhileError(Exception):
    """The file is not what its reader saw any more."""


def write_durably(path: Path, content: bytes, expected: bytes | None = None) -> None:
    """Put `content` under `path` in one step: private temporary file, fsync, rename, fsync of the folder.

    With `expected`, only while the file still holds these bytes: they are compared right before the rename, and
    `ChangedMeanwhileError` leaves the file as somebody else wrote it.

    A rename that reports an error may have happened all the same (NFS repeats a lost answer): the final name decides.
    A file that is replaced keeps its permissions, so that a group that shares it can go on editing it.
    """
    _write(path, content, expected)
    flush_folder(path.parent)


def write_shared(path: Path, content: bytes) -> None:
    """Write a file that only its writer writes, open to the folder's group; a loss of power may undo it."""
    mode = mode_for(path)
    with open(path, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)


def write_all_durably(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Put many files into `folder` by name, each in one step, with one flush of the folder for all of them.

    The first error is raised after every file has been tried.
    """
    with ThreadPoolExecutor(_WRITERS) as writers:  # flushes at the same time cost a disk little more than one
        done = [writers.submit(_write, folder / name, content, None) for name, content in contents.items()]
    flush_folder(folder)
    for one in done:
        one.result()


def _write(path: Path, content: bytes, expected: bytes | None) -> None:
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        with open(temporary, "xb") as file:
            os.fchmod(file.fileno(), mode_for(path))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if expected is not None and path.read_bytes() != expected:
            raise ChangedMeanwhileError
        try:
            os.replace(temporary, path)
        except OSError:
            if not (path.exists() and path.read_bytes() == content):
                raise
    finally:
        with contextlib.suppress(OSError):  # gone in the rename; else what matters has been raised already
            temporary.unlink()


def read_whole(path: Path) -> bytes:
    """The file's bytes; on NFS, one that another host replaces at this moment answers ESTALE and is opened again."""
    for _ in range(_TRIES):
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return path.read_bytes()


def make_folder(path: Path, lasting: bool = True) -> None:
    """Make `path` and what is missing above it, each with the permissions of the folder that it is made in.

    Unless `lasting`, a loss of power may undo it.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        mode = stat.S_IMODE(folder.parent.stat().st_mode)
        # Not made and then changed: a process that dies in between would lock the group out.
        with _umask_of_nothing():
            try:
                folder.mkdir(mode)
            except FileExistsError:
                if not folder.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
        if lasting:
            flush_folder(folder.parent)


def replace_folder(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`; one that is there is set aside first: no rename replaces it."""
    aside = path.with_name(f".{path.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        os.replace(path, aside)
    os.replace(new, path)
    shutil.rmtree(aside, ignore_errors=True)


def current_umask() -> int:
    """The process's umask, which can only be read by changing it."""
    with _umask_of_nothing() as umask:
        return umask


@contextlib.contextmanager
def _umask_of_nothing() -> Iterator[int]:
    """A umask of 0 within the block; gives the one before it.

    The umask is the whole process's: of two threads that changed it at once, one would put back the other's 0 for good.
    """
    with _UMASK:
        umask = os.umask(0)
        try:
            yield umask
        finally:
            os.umask(umask)


def flush_folder(folder: Path) -> None:
    """Make the names in `folder` last through a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system whose folders need no flush says so in this way
            raise
    finally:
        os.close(descriptor)


def mode_for(path: Path) -> int:
    """The permissions of a file that is written: its own, or for a new one those of its folder."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return stat.S_IMODE(path.parent.stat().st_mode) & _READ_AND_WRITE
