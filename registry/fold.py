"""Fold records into `results.json`: write what a reading of the registry gives back into its file.

Folding is idempotent; any command may do it, all may skip it: nothing is lost while the records are there. The lock
only spares work; two folds at once leave at worst a state file that the next fold completes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from registry.canonical import sha256
from registry.document import FORMAT, Document, load_registry, render, respelled
from registry.durable import ChangedMeanwhileError, flush_folder, make_folder, write_durably
from registry.errors import MissingError, UsageError, listed
from registry.history import add_edit, plain
from registry.json_path import ABSENT
from registry.merge import differences
from registry.paths import RegistryPaths
from registry.people import author_of, edit_record, results_digest, told
from registry.provenance import now
from registry.reading import Reading, reading
from registry.state import load_state, state_bytes

LOCK_SECONDS = 30
_TRIES = 8
_PAUSE = 0.02  # seconds at most before the second try; twice as long before each further one
_VERSIONS = 100


@dataclass(frozen=True)
class FoldReport:
    """What a fold did: how many records it applied, or why it left them to the next one."""

    applied: int
    skipped: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Rebuilt:
    """Whether the file had to be rebuilt, and where the torn one was set aside, if there was one."""

    done: bool
    aside: Path | None


def fold(paths: RegistryPaths) -> FoldReport:
    """Write the view back. Raises only for a file that a person must mend; records stay safe in either case."""
    try:
        make_folder(paths.root)
        with _lock(paths.lock):
            return _fold(paths)
    except Timeout:
        return FoldReport(0, f"{paths.lock} was held for {LOCK_SECONDS} s", ())
    except OSError as error:
        return FoldReport(0, f"{error.filename or paths.root}: {error.strerror or error}", ())


def rebuild(paths: RegistryPaths) -> Rebuilt:
    """Write the last good state with every record in place of a file that does not parse or is gone."""
    try:
        load_registry(paths.file)
    except (UsageError, MissingError):
        last, _ = load_state(paths, {}, b"")
        if not last.experiments:
            raise UsageError(
                f"{paths.file}: there is no last good state in {paths.root}; restore the file by hand"
            ) from None
        aside = None
        if paths.file.exists():
            aside = paths.file.with_name(f"{paths.file.name}.torn-{now().replace(':', '')}")
            write_durably(aside, paths.file.read_bytes())
        write_durably(paths.file, render(reading(paths, last.document, b"").view.document))
        return Rebuilt(True, aside)
    return Rebuilt(False, None)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    lock = FileLock(path, timeout=LOCK_SECONDS, mode=0o664, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise
    except OSError:
        pass  # a file system without locks: the fold does without
    try:
        yield
    finally:
        lock.release()


def _fold(paths: RegistryPaths) -> FoldReport:
    for turn in range(_TRIES):
        if turn:  # somebody else writes just now; where there are no locks it may be all others at once
            time.sleep(random.uniform(0, _PAUSE * 2**turn))
        document, raw = load_registry(paths.file)
        if int(document.get("format", FORMAT)) > FORMAT:
            return FoldReport(0, f"{paths.file} has a newer format: update the checkout", ())
        found = reading(paths, document, raw)
        warnings = list(found.view.warnings)
        gone = [change.path[0] for change in found.by_hand if len(change.path) == 1 and change.new is ABSENT]
        if gone:
            said = f"deleted by hand: {listed(gone)}; `meds1 history NAME` keeps what was there"
            warnings.append(f"{paths.file}: {said}")
        folded = found.view.state.file == hashlib.sha256(raw).hexdigest()
        content = _new_content(document, raw, found, folded)
        if found.is_behind(paths.file):
            continue
        _keep_hand_edits(paths, found)
        if content != raw:
            if not folded and render(document) != raw:
                warnings.append(f"{paths.file}: brought into canonical form (two-space indent) once")
            try:
                write_durably(paths.file, content, expected=raw)
            except ChangedMeanwhileError:
                continue
        _write_state(paths, found, content)
        _archive(paths, found.waiting)
        return FoldReport(len(found.waiting), None, tuple(warnings))
    return FoldReport(0, f"{paths.file} changed under the fold {_TRIES} times", ())


def _keep_hand_edits(paths: RegistryPaths, found: Reading) -> None:
    """Record what people changed in the file: who, when, from what to what, and what it prevailed over."""
    state = found.view.state
    author = author_of(paths.file, state)
    for name in dict.fromkeys(change.path[0] for change in found.by_hand):
        changes = [change.to_json() for change in found.by_hand if change.path[0] == name]
        # The same edit, met by two folds at once or again after a crash, is one record.
        identity = sha256([state.versions[-1]["number"], name, changes])[:32]
        if any(edit["id"] == identity for edit in state.edits.get(name, ())):
            continue
        result = {
            "author": author,
            "by": "hand",
            "changes": [{**body, "path": body["path"][1:]} for body in changes],
            "conflicts": [told(one, state, author) for one in found.conflicts if one.change.path[0] == name],
        }
        record = replace(edit_record(paths, name, "config", result), id=identity)
        make_folder(paths.applied)
        write_durably(paths.applied / record.file_name, record.to_bytes())
        add_edit(state, record)


def _new_content(document: Document, raw: bytes, found: Reading, folded: bool) -> bytes:
    """The file with the view in it; `folded` says that it is as the last fold left it, in canonical form."""
    before, now = document.get("experiments") or {}, found.view.document["experiments"]
    if folded and list(before) == list(now):
        return respelled(raw, before, now)
    return render(found.view.document)


def _write_state(paths: RegistryPaths, found: Reading, content: bytes) -> None:
    state, before = found.view.state, found.view.state.experiments
    experiments = found.view.document["experiments"]
    state.document = {**found.view.document, "experiments": plain(experiments, state)}
    digest, changes = results_digest(experiments), differences(before, state.experiments)
    last = state.versions[-1]
    if changes or digest != last["results"]:
        steps = [change.to_json() for change in changes]
        version = {"number": last["number"] + 1, "results": digest, "changes": steps}
        state.versions = [*state.versions, version][-_VERSIONS:]
    state.file, state.inode = hashlib.sha256(content).hexdigest(), paths.file.stat().st_ino
    whole = state_bytes(state)
    if not paths.state.exists() or paths.state.read_bytes() != whole:
        write_durably(paths.state, whole)


def _archive(paths: RegistryPaths, waiting: dict[str, Path]) -> None:
    if not waiting:
        return
    make_folder(paths.applied)
    for name, path in waiting.items():
        if path.parent == paths.inbox:
            with contextlib.suppress(FileNotFoundError):  # another fold was here first
                os.rename(path, paths.applied / name)
        else:
            write_durably(paths.applied / name, path.read_bytes())
            with contextlib.suppress(OSError):  # another user's folder: known from now on, it does no harm there
                path.unlink()
    flush_folder(paths.applied)
