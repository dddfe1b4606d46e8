"""The folder of a report: made beside its place and swapped in when it is whole.

The folder that is being made is locked by its maker, so that what a killed one has left can be told from the work of
another one, and is cleared away.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plotting.report.scripts import CALL
from registry.durable import make_folder
from registry.errors import StageFailure, UsageError

MARK = "data/index.js"


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """Give a new folder to fill, which takes the place of `out` at the end; nothing changes where the body raises.

    `UsageError` where `out` is there and is no report, `StageFailure` where it cannot be written.
    """
    out = Path(os.path.realpath(out))  # where `out` is a link it stays one
    new, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    _refuse_foreign(out)
    try:
        make_folder(out.parent, lasting=False)
        with _locked(new, out):
            if old.is_dir() and not out.exists():  # killed between the two renames
                old.rename(out)
            try:
                yield new
                _refuse_foreign(out)
                shutil.rmtree(old, ignore_errors=True)
                if out.exists():
                    out.rename(old)
                new.rename(out)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise StageFailure(f"{out}: the report cannot be written: {error.strerror}; choose another --out") from None


def _refuse_foreign(out: Path) -> None:
    try:
        ours = (out / MARK).read_bytes().startswith(CALL.encode())
        foreign = not ours
    except FileNotFoundError:
        foreign = out.is_dir() and any(out.iterdir())
    except NotADirectoryError:
        foreign = True
    if foreign:
        raise UsageError(f"{out}: is there and is no report of meds1; choose another --out, or move it away")


@contextmanager
def _locked(new: Path, out: Path) -> Iterator[None]:
    """Make the empty folder `new` and hold its lock, which the system frees when this process dies."""
    new.mkdir(exist_ok=True)
    descriptor = os.open(new, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(descriptor), os.stat(new))
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:
            raise UsageError(f"{out}: another `meds1 report` is writing it; wait for it, or choose another --out")
        for left in new.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
    finally:
        os.close(descriptor)
