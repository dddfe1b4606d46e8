"""A read-only copy of the checkout's code as it is now, for jobs that start later.

It holds what git would see: tracked files as they are, and untracked ones that are not ignored, as far as a patch can
hold them (text of at most 1 MiB). So it is the commit and the recorded patch, no more and no less. Files that people
fill with keys never enter (`registry.git_state.PRIVATE`), and a file with the value of a known key is refused. In a
checkout that is no clone every such file that is not hidden is taken.

A copy is stored once per content and commit, under `<id>/`. It is made in a folder of its own and renamed in one step;
`<id>.used` beside it says when it was last handed out.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.code_state import MANIFEST, PATCH, discard, manifest
from registry.durable import TEMPORARY, make_folder
from registry.errors import MissingError, StageFailure, UsageError
from registry.git_state import PRIVATE, Code, GitError, belongs_in_patch, code_of, git_state
from registry.paths import CHECKOUT, used_mark
from registry.provenance import now, user_name
from registry.secrets import key_in

log = logging.getLogger("meds1")
_MIB = 2**20
_TOTAL_LIMIT = 64 * _MIB
_NO_CODE = ("__pycache__", "run", "wandb")  # folders of a checkout that is no clone; `run` is the demo's
_READ_ONLY = 0o555


@dataclass(frozen=True)
class _File:
    """One file of the code: its content, or where it leads as a link."""

    content: bytes
    kind: str  # "file", "program" or "link"


def code_root(live: bool, store: Path) -> Path:
    """Where a job that is submitted now finds its code: a snapshot in `store`, or with `live` this checkout itself.

    Code that is itself a snapshot is handed on as it is.
    """
    return CHECKOUT if live or manifest(CHECKOUT) is not None else snapshot(CHECKOUT, store)


def snapshot(checkout: Path, store: Path) -> Path:
    """The folder in `store` with the code of `checkout` as it is now; made unless it is there.

    `UsageError` for code that is too large or holds a key, `MissingError` when git cannot say what the code is, and
    `StageFailure` when the copy cannot be written.
    """
    code = _code(checkout)
    try:
        files = _read(checkout, code)
        name = _name(code, files)
        folder = store / name
        make_folder(store)
        _mark_used(used_mark(folder))  # before the look: what gc finds marked it puts back
        if not (folder / MANIFEST).is_file():
            _make(folder, checkout, code, files)
    except OSError as error:
        raise StageFailure(
            f"{error.filename or store}: the code cannot be copied: {error.strerror}; check CACHE_DIR and its "
            "permissions, or submit with --live"
        ) from None
    return folder


def _code(checkout: Path) -> Code:
    try:
        if (checkout / ".git").exists():
            return code_of(checkout)
    except GitError as error:
        raise MissingError(f"{checkout}: {error}; mend the clone, or submit with --live") from None
    found = {path: belongs_in_patch(checkout / path) for path in _walked(checkout)}
    left_out = tuple(path for path, fits in found.items() if not fits)
    return Code({"unknown": f"{checkout} is no git clone"}, tuple(path for path in found if found[path]), left_out)


def _walked(checkout: Path) -> Iterator[str]:
    """The files of a checkout that is no clone, but for hidden and private ones and for what runs leave behind."""
    for folder, folders, files in os.walk(checkout):
        top = Path(folder).relative_to(checkout)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NO_CODE)
        for name in sorted(files):
            path = str(top / name)
            if not name.startswith(".") and path not in PRIVATE:
                yield path


def _read(checkout: Path, code: Code) -> dict[str, _File]:
    files: dict[str, _File] = {}
    total = 0
    for path in code.files:
        with contextlib.suppress(FileNotFoundError):  # deleted since git was asked
            status = (checkout / path).lstat()
            if stat.S_ISDIR(status.st_mode):  # a submodule
                continue
            total += status.st_size
            if total > _TOTAL_LIMIT:
                largest = max(code.files, key=lambda name: _size(checkout / name))
                raise UsageError(
                    f"{checkout}: its code takes more than {_TOTAL_LIMIT // _MIB} MiB, which are copied for jobs "
                    f"(the largest file is {largest}); take data out of the clone, or submit with --live"
                )
            files[path] = _file(checkout, path, status)
    return files


def _file(checkout: Path, path: str, status: os.stat_result) -> _File:
    if stat.S_ISLNK(status.st_mode):
        return _File(os.fsencode(os.readlink(checkout / path)), "link")
    content = (checkout / path).read_bytes()
    key = key_in(content)
    if key is not None:
        raise UsageError(
            f"{checkout / path} holds the value of {key}, which must not be copied: read it from the environment, or "
            "submit with --live"
        )
    return _File(content, "program" if status.st_mode & stat.S_IXUSR else "file")


def _size(path: Path) -> int:
    return path.lstat().st_size if os.path.lexists(path) else 0


def _name(code: Code, files: Mapping[str, _File]) -> str:
    """The same code at another commit is another snapshot: the commit is recorded with every result."""
    listed = [[path, file.kind, hashlib.sha256(file.content).hexdigest()] for path, file in sorted(files.items())]
    identity = [code.state.get("commit"), code.state.get("branch"), listed]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _mark_used(mark: Path) -> None:
    mode = stat.S_IMODE(mark.parent.stat().st_mode) & 0o666
    with open(mark, "ab") as file:
        with contextlib.suppress(PermissionError):  # another user's: open to his group already
            os.fchmod(file.fileno(), mode)
        os.utime(file.fileno())


def _make(folder: Path, checkout: Path, code: Code, files: Mapping[str, _File]) -> None:
    if code.left_out:
        log.warning("the jobs' copy of the code is without what no patch can hold: %s", ", ".join(code.left_out))
    temporary = folder.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    mode = stat.S_IMODE(folder.parent.stat().st_mode)
    try:
        temporary.mkdir(mode=0o700)
        for path, file in files.items():
            _write(temporary / path, file, mode)
        said = _manifest(folder.name, checkout, git_state(checkout, temporary / PATCH))
        _write(temporary / MANIFEST, _File(json.dumps(said, indent=2).encode() + b"\n", "file"), mode)
        if (temporary / PATCH).exists():
            (temporary / PATCH).chmod(mode & 0o444)
        for inner, _, _ in os.walk(temporary):
            os.chmod(inner, mode & _READ_ONLY)
        temporary.chmod(mode)  # a closed folder cannot be renamed on every file system
        os.sync()  # a loss of power must not leave empty files under the final name
        _rename(temporary, folder)
    finally:
        discard(temporary)


def _manifest(name: str, checkout: Path, git: dict[str, Any]) -> dict[str, Any]:
    git.pop("diff", None)  # lies beside the manifest
    return {"id": name, "made": now(), "user": user_name(), "checkout": str(checkout), "git": git}


def _write(path: Path, file: _File, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.kind == "link":
        os.symlink(os.fsdecode(file.content), path)
        return
    path.write_bytes(file.content)
    path.chmod(mode & (0o555 if file.kind == "program" else 0o444))


def _rename(temporary: Path, folder: Path) -> None:
    mode = stat.S_IMODE(temporary.stat().st_mode)
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return  # somebody else has made the same copy meanwhile
    folder.chmod(mode & _READ_ONLY)
