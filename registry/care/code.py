"""Which snapshots of the code, and which submissions' folders, no attempt refers to any more.

A snapshot is needed by the attempts in flight that were submitted with it; those that have ended have recorded commit
and patch. What was handed out within a day stays: a submission may be under way.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.care.garbage import ASIDE, Garbage, Item, Kept, age, undeleted
from registry.care.judge import DAY, Judge, folders_in, judge, run_dirs
from registry.code_state import MANIFEST, discard
from registry.errors import StageFailure
from registry.paths import attempt_dir, used_mark
from registry.store import Registry


@dataclass(frozen=True)
class _Needed:
    """Snapshots, and folders of attempts, by real path, with the reason why they are needed.

    `unclear` says why nobody can tell of some attempt what it needs.
    """

    paths: dict[str, str]
    unclear: str | None

    def why(self, path: Path) -> str | None:
        return self.paths.get(os.path.realpath(path)) or self.unclear


def code_garbage(judged: Judge) -> Garbage:
    """Snapshots and submissions that can go, and the old ones that stay."""
    needed, outputs = _needed(judged), judged.registry.outputs
    items, kept = [], []
    for folder in folders_in(outputs.snapshots):
        if not _is_old(folder):
            continue
        if folder.name.startswith("."):
            items.append(Item("code snapshot", folder, "whoever made or deleted it was ended"))
        elif why := needed.why(folder):
            kept.append(Kept(folder, why))
        else:
            items.append(Item("code snapshot", folder, "no attempt in flight runs it"))
    for folder in folders_in(outputs.submissions):
        if age(folder) <= DAY:
            continue
        if whys := list(filter(None, map(needed.why, _attempts_of(folder)))):
            kept.append(Kept(folder, whys[0]))
        else:
            items.append(Item("submission", folder, "its attempts have ended"))
    return Garbage(tuple(items), tuple(kept))


def delete_snapshots(registry: Registry, items: Sequence[Item]) -> Iterator[tuple[Item, StageFailure | None]]:
    """Delete snapshots one by one; with each comes why it stays after all, or null.

    All are moved aside first, each in one step; what a submission has begun to need meanwhile is put back.
    """
    aside: list[tuple[Item, Path, int]] = []
    for item in items:
        try:
            aside.append((item, *_set_aside(item.path)))
        except OSError as error:
            yield item, undeleted(item.path, error)
    needed = _needed(judge(registry)) if aside else None
    for item, path, mode in aside:
        assert needed is not None
        # A submission marks a snapshot before it looks for it: either it found this one and the mark is new, or it
        # found none and has made another.
        why = needed.why(item.path) or ("a submission takes it" if _is_marked(item.path) else None)
        yield item, _put_back(item.path, path, mode, why) if why else _removed(item.path, path)


def _needed(judged: Judge) -> _Needed:
    paths: dict[str, str] = {}
    for run_dir in run_dirs(judged.registry.outputs.cache / "runs"):
        try:
            for number, job, why in judged.in_use(run_dir):
                text = f"{run_dir.experiment}: {run_dir.stage}: {why}"
                paths[os.path.realpath(attempt_dir(run_dir.path, number))] = text
                if job.get("code"):
                    paths[os.path.realpath(job["code"])] = text
        except (OSError, ValueError) as error:
            return _Needed(paths, f"what the attempts in {run_dir.path} need cannot be read: {error}")
    return _Needed(paths, None)


def _attempts_of(submission: Path) -> list[Path]:
    with os.scandir(submission) as entries:
        return [Path(entry.path) for entry in entries if entry.is_symlink()]


def _is_old(snapshot: Path) -> bool:
    return age(snapshot) > DAY and not _is_marked(snapshot)


def _is_marked(snapshot: Path) -> bool:
    mark = used_mark(snapshot)
    return mark.exists() and age(mark) <= DAY


def _set_aside(path: Path) -> tuple[Path, int]:
    """Move a snapshot to another name; returns that and the permissions that it had."""
    mode = stat.S_IMODE(path.stat().st_mode)
    aside = path.with_name(f"{ASIDE}{uuid.uuid4().hex}")
    path.chmod(mode | stat.S_IWUSR)  # a closed folder cannot be renamed on every file system
    path.rename(aside)
    return aside, mode


def _put_back(path: Path, aside: Path, mode: int, why: str) -> StageFailure | None:
    if (path / MANIFEST).exists():  # made anew meanwhile
        return _removed(path, aside)
    aside.rename(path)
    path.chmod(mode)
    return StageFailure(f"{path}: stays: {why}")


def _removed(path: Path, aside: Path) -> StageFailure | None:
    try:
        discard(aside)
    except OSError as error:
        return undeleted(aside, error)
    with suppress(OSError):  # a submission may use it again
        if not path.exists() and not _is_marked(path):
            used_mark(path).unlink()
    return None
