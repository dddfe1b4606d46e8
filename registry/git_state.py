"""The state of a git clone: commit, branch, whether it has uncommitted changes, and these as a patch.

Files that people fill with keys never count and are never read. Untracked files count (git's ignored ones do not):
code that is not yet added decides a result as well. A clean clone costs one call of git.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.secrets import masked

log = logging.getLogger("meds1")

# Files that people fill with keys or that every fold changes: never in a diff, never a reason to call the tree dirty.
PRIVATE = ("config.sh", "config.local.sh", "results.json")
_EVERYTHING_ELSE = (
    ".",
    *(f":(exclude,top){name}" for name in PRIVATE),
    ":(exclude,top,glob)**/.env*",
    ":(exclude,top,glob)**/.env*/**",
)
# A user's own settings of git must not change what a diff looks like.
_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
_FILE_LIMIT = 2**20
_TOTAL_LIMIT = 16 * 2**20
_KEY_MARK = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_SECONDS = 30


class GitError(Exception):
    """git did not answer; the message says why."""


@dataclass(frozen=True)
class Code:
    """What `git_state` says, and the files that commit and patch together bring back, by their paths below the root.

    `left_out` are the untracked ones that a patch cannot hold.
    """

    state: dict[str, Any]
    files: tuple[str, ...]
    left_out: tuple[str, ...]


def code_of(root: Path) -> Code:
    """The code of the clone at `root` as it is now; `GitError` when git cannot say."""
    state, untracked = _status(root)
    tracked = _names(_git(root, ["ls-files", "-z", "--", *_EVERYTHING_ELSE]))
    fit = [name for name in untracked if belongs_in_patch(root / name)]
    # Also a file that is deleted and not yet committed is listed.
    there = sorted({name for name in tracked if os.path.lexists(root / name)} | set(fit))
    return Code(state, tuple(there), tuple(sorted(set(untracked) - set(fit))))


def clone_of(path: Path) -> Path | None:
    """The clone that a file or folder lies in."""
    return next((folder for folder in (path, *path.parents) if (folder / ".git").exists()), None)


def git_state(root: Path, diff: Path | None = None) -> dict[str, Any]:
    """`commit`, `branch` and `dirty` of the clone at `root`; of a dirty one the patch is written to `diff`.

    Then `diff` and `diff_sha256` name the patch and `left_out` the untracked files that it names without their content
    (binary, over 1 MiB, or with a private key in them). Where git cannot say, `unknown` says why: provenance never
    costs a result.
    """
    if not (root / ".git").exists():  # an enclosing clone knows nothing of this code
        return {"unknown": f"{root} is no git clone"}
    try:
        found, untracked = _status(root)
        if found["dirty"] and diff is not None:
            found.update(_saved(root, found["commit"], untracked, diff))
    except GitError as error:
        log.warning("the state of the code in %s is not recorded: %s", root, error)
        return {"unknown": str(error)}
    return found


def _status(root: Path) -> tuple[dict[str, Any], list[str]]:
    """The state without its patch, and the untracked files by their path below `root`."""
    raw = _git(root, ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--", *_EVERYTHING_ELSE])
    head: dict[str, str] = {}
    changed, untracked = 0, []
    entries = iter(raw.decode(errors="surrogateescape").split("\0"))
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            key, _, value = rest.partition(" ")
            head[key] = value
        elif kind == "?":
            untracked.append(rest)
        elif kind:
            changed += 1
            if kind == "2":  # a renamed file is followed by its old path
                next(entries, None)
    commit = head.get("branch.oid", "")
    state = {
        "commit": None if commit == "(initial)" else commit,
        "branch": head.get("branch.head"),
        "dirty": bool(changed or untracked),
    }
    return state, untracked


def _saved(root: Path, commit: str | None, untracked: Sequence[str], path: Path) -> dict[str, Any]:
    patch = _git(root, [*_DIFF, commit, "--", *_EVERYTHING_ELSE]) if commit else b""
    more, left_out = _new_files(root, untracked)
    content = masked((patch + more).decode(errors="surrogateescape")).encode(errors="surrogateescape")
    try:
        path.write_bytes(content)
    except OSError as error:  # a full disk, say
        log.warning("%s: the uncommitted changes of %s could not be saved: %s", path, root, error.strerror)
        return {"diff": None, "diff_lost": error.strerror}
    said = {"diff": str(path), "diff_sha256": hashlib.sha256(content).hexdigest()}
    return {**said, "left_out": left_out} if left_out else said


def _new_files(root: Path, names: Iterable[str]) -> tuple[bytes, list[str]]:
    """The patch that adds untracked files, and those that it leaves out."""
    patch, left_out = b"", []
    for name in names:
        if len(patch) > _TOTAL_LIMIT or not belongs_in_patch(root / name):
            left_out.append(name)
        else:
            patch += _git(root, [*_DIFF, "--no-index", "--", os.devnull, name], right=(0, 1))
    return patch, left_out


def belongs_in_patch(path: Path) -> bool:
    """Whether a file that git does not know is taken along: text of at most 1 MiB without a private key in it."""
    if path.is_symlink() or not path.is_file():
        return False
    keys = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if keys and path.resolve() == Path(keys).resolve():
        return False
    with contextlib.suppress(OSError):
        if path.stat().st_size <= _FILE_LIMIT:
            content = path.read_bytes()
            return b"\0" not in content and _KEY_MARK.search(content) is None
    return False


def _names(raw: bytes) -> list[str]:
    return [name for name in raw.decode(errors="surrogateescape").split("\0") if name]


def _git(root: Path, arguments: Sequence[str], right: Sequence[int] = (0,)) -> bytes:
    # The code in `root` runs with this user's rights whoever owns it, so its clone may as well be asked.
    command = ["git", "-c", f"safe.directory={root}", *arguments]
    # Without optional locks, a job never stands in the way of somebody's commit.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=_SECONDS, check=False)
    except OSError as error:
        raise GitError(f"git: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git {arguments[0]} took longer than {_SECONDS} s") from None
    if done.returncode not in right:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise GitError(f"git {arguments[0]}: {said[0]}")
    return done.stdout
