"""Read a registry with all its records, and fold the records into `results.json`.

Reading takes no lock and works on a read-only mount: the file, overlaid with what records say. Folding writes that
view back. It is idempotent, any command may do it, all may skip it: nothing is lost while the records are there.
The lock only spares work; two folds at once leave at worst a state file that the next fold completes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from registry.canonical import dumps, encoded
from registry.document import FORMAT, ChangedMeanwhileError, Document, load_registry, render, write_durably
from registry.errors import MissingError, StageFailure, UsageError
from registry.history import Header, State, absorb, overlay, without_recorded_results
from registry.paths import RegistryPaths
from registry.provenance import now
from registry.records import DamagedRecordError, Record, parse_record, record_name
from registry.schema import Stage

LOCK_SECONDS = 30
_TRIES = 20


@dataclass(frozen=True)
class View:
    """A registry as it stands: the overlaid document, the history, and what a person should know."""

    document: Document
    state: State
    warnings: tuple[str, ...]


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


@dataclass(frozen=True)
class _Reading:
    view: View
    raw: bytes
    fresh: tuple[Path, ...]


def read(paths: RegistryPaths) -> View:
    """The registry with every saved record in it."""
    document, raw = load_registry(paths.file)
    return _reading(paths, document, raw).view


def fold(paths: RegistryPaths) -> FoldReport:
    """Write the view back. Raises only for a file that a person must mend; records stay safe in either case."""
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
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
        last, _ = _state(paths)
        if not last.experiments:
            raise UsageError(
                f"{paths.file}: there is no last good state in {paths.root}; restore the file by hand"
            ) from None
        aside = None
        if paths.file.exists():
            aside = paths.file.with_name(f"{paths.file.name}.torn-{now().replace(':', '')}")
            aside.write_bytes(paths.file.read_bytes())
        write_durably(paths.file, render(_reading(paths, last.document, b"").view.document))
        return Rebuilt(True, aside)
    return Rebuilt(False, None)


def load_record(paths: RegistryPaths, experiment: str, stage: Stage, header: Header) -> Record:
    """Read the whole record that a header stands for."""
    name = record_name(experiment, stage, header)
    try:
        return _load(paths, name)
    except DamagedRecordError as error:
        raise StageFailure(f"{paths.applied / name}: {error}; restore it from a backup") from None


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with FileLock(path, timeout=LOCK_SECONDS, mode=0o664):
        yield


def _fold(paths: RegistryPaths) -> FoldReport:
    for _ in range(_TRIES):
        document, raw = load_registry(paths.file)
        if int(document.get("format", FORMAT)) > FORMAT:
            return FoldReport(0, f"{paths.file} has a newer format: update the checkout", ())
        reading = _reading(paths, document, raw)
        view, warnings = reading.view, list(reading.view.warnings)
        content = render(view.document)
        if content != raw:
            if render(document) != raw:
                warnings.append(f"{paths.file}: brought into canonical form (two-space indent) once")
            try:
                write_durably(paths.file, content, expected=raw)
            except ChangedMeanwhileError:
                continue
        view.state.document = without_recorded_results(view.document)
        _write_state(paths.state, view.state)
        _archive(paths, reading.fresh)
        return FoldReport(len(reading.fresh), None, tuple(warnings))
    return FoldReport(0, f"{paths.file} changed under the fold {_TRIES} times", ())


def _write_state(path: Path, state: State) -> None:
    body = state.to_json()
    # Not `dumps`: what comes back from here keeps the order of keys that people gave it.
    content = encoded(json.dumps({"sha256": hashlib.sha256(dumps(body)).hexdigest(), **body}, ensure_ascii=False))
    if not path.exists() or path.read_bytes() != content:
        write_durably(path, content)


def _archive(paths: RegistryPaths, fresh: tuple[Path, ...]) -> None:
    paths.applied.mkdir(exist_ok=True)
    for path in fresh:
        try:
            os.rename(path, paths.applied / path.name)
        except FileNotFoundError:
            continue  # another fold was here first


def _reading(paths: RegistryPaths, document: Document, raw: bytes) -> _Reading:
    # The inbox is listed before the archive, so that a record which a fold moves meanwhile is seen in either.
    inbox, archived = _names(paths.inbox), _names(paths.applied)
    waiting = set(inbox)
    state, warnings = _state(paths)
    known = {header.id for stages in state.history.values() for headers in stages.values() for header in headers}
    records: list[Record] = []
    fresh: list[Path] = []
    for name in dict.fromkeys([*inbox, *archived]):
        seen = name.rsplit("~", 1)[-1].removesuffix(".json") in known
        if name in waiting:
            fresh.append(paths.inbox / name)
        if seen:
            continue
        try:
            records.append(_load(paths, name))
        except DamagedRecordError as error:
            folder = paths.inbox if name in waiting else paths.applied
            warnings.append(f"{folder / name}: {error}; left where it is")
            fresh = [path for path in fresh if path.name != name]
    absorb(state, records, partial(load_record, paths))
    overlaid, notes = overlay(document, state)
    return _Reading(View(overlaid, state, (*warnings, *notes)), raw, tuple(fresh))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    except FileNotFoundError:
        return []


def _load(paths: RegistryPaths, name: str) -> Record:
    for folder in (paths.inbox, paths.applied):
        try:
            return parse_record((folder / name).read_bytes())
        except FileNotFoundError:
            continue
    raise DamagedRecordError("gone from the inbox and the archive")


def _state(paths: RegistryPaths) -> tuple[State, list[str]]:
    """The last fold's state; an empty one, to be rebuilt from the archive, when it is absent or damaged."""
    try:
        body: dict[str, Any] = json.loads(paths.state.read_bytes())
        if body.pop("sha256") == hashlib.sha256(dumps(body)).hexdigest():
            return State.from_json(body), []
    except FileNotFoundError:
        return State(), []
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return State(), [f"{paths.state}: damaged; rebuilt from the records"]
