"""Read a registry with all its records: the file as people left it, overlaid with what records say.

Reading takes no lock and works on a read-only mount. Records are found in the inbox, in the archive, and in the run
directories of attempts that could not write the registry's folder.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from registry.contents import Contents
from registry.document import Document, content, load_registry
from registry.errors import MissingError, StageFailure
from registry.history import Header, State, absorb, overlay, plain
from registry.merge import Change, Conflict, applied, differences
from registry.paths import RegistryPaths, attempt_dir, records_in
from registry.people import as_people_left_it, author_of, requested, results_digest, told, with_results_kept
from registry.records import TERMINAL, DamagedRecordError, Record, UnreadableRecordError, parse_record, record_name
from registry.schema import Stage
from registry.state import load_state

_TRIES = 5


@dataclass(frozen=True)
class View:
    """A registry at one moment: the overlaid document, the history, what a person should know, and what files hold."""

    document: Document
    state: State
    warnings: tuple[str, ...]
    contents: Contents = field(default_factory=Contents.from_environment)


@dataclass(frozen=True)
class Reading:
    """What a fold needs beside the view.

    `waiting` are the records (name -> file) that have to go into the archive, `by_hand` is what people changed in the
    file since the last fold, and `conflicts` are the changes that it prevailed over.
    """

    view: View
    raw: bytes
    waiting: dict[str, Path]
    by_hand: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]

    def is_behind(self, file: Path) -> bool:
        """Whether what looks like an edit may be a fold that replaced the file while this was read."""
        return bool(self.by_hand) and content(file) != self.raw


def read(paths: RegistryPaths) -> View:
    """The registry with every saved record in it."""
    with _uncollected():
        for _ in range(_TRIES):
            found = reading(paths, *load_registry(paths.file))
            if not found.is_behind(paths.file):
                break
    return found.view


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which looks through all that is read again and again, and finds it in use."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load_record(paths: RegistryPaths, experiment: str, stage: Stage, header: Header) -> Record:
    """Read the whole record that a header stands for."""
    name = record_name(experiment, stage, header)
    try:
        return _load(paths, name)
    except DamagedRecordError as error:
        raise StageFailure(f"{paths.applied / name}: {error}; restore it from a backup") from None
    except UnreadableRecordError as error:
        raise MissingError(f"{error}; it must be open to all who use the registry") from None


def reading(paths: RegistryPaths, document: Document, raw: bytes) -> Reading:
    """Overlay `document`, which `raw` holds, with all records."""
    # The inbox is listed before the archive, and both before the state is read, so that a record which a fold moves
    # meanwhile is seen in one of them.
    inbox, archived = _names(paths.inbox), _names(paths.applied)
    file = document.get("experiments") or {}
    state, warnings = load_state(paths, file, raw)
    last, first = state.experiments, not state.versions
    waiting = {name: paths.inbox / name for name in inbox}
    records, told_of = _unknown(paths, state, [*waiting, *(name for name in archived if name not in waiting)], waiting)
    warnings += told_of + _absorb(paths, state, records)
    strays = {path.name: path for path in _strays(state)}
    found, told_of = _unknown(paths, state, list(strays), strays)
    warnings += told_of + _absorb(paths, state, found)
    known = state.known()
    for name in archived:  # a stray that another user's folder did not let go of
        strays.pop(name, None)
    waiting = {name: path for name, path in {**strays, **waiting}.items() if _id(name) in known}
    if first:  # the file as it is found is the first version
        state.document = {**document, "experiments": plain(file, state)}
        state.versions = [{"number": 1, "results": results_digest(file), "changes": []}]
    experiments, conflicts, notes = as_people_left_it(plain(file, state), results_digest(file), state)
    experiments, restored = with_results_kept(experiments, state)
    # With the state lost nobody knows which of the archived edits the file has seen: they are history, also where a
    # copy of one waits again.
    due = list(requested([record for record in records if not first or record.file_name not in archived]))
    # A fold that died before it wrote the state has left what commands asked for in the file: not a person's doing.
    done = differences(last, applied(last, due)[0])
    by_hand = [] if first else [change for change in differences(last, experiments) if change not in done]
    experiments, more = applied(experiments, due)
    whole = {**document, "experiments": overlay(experiments, file, state)}
    conflicts += more
    warnings += [*notes, *restored, *(told(conflict, state, author_of(paths.file, state)) for conflict in conflicts)]
    return Reading(View(whole, state, tuple(warnings)), raw, waiting, tuple(by_hand), tuple(conflicts))


def _absorb(paths: RegistryPaths, state: State, records: list[Record]) -> list[str]:
    return absorb(state, records, lambda name, stage, header: _load(paths, record_name(name, stage, header)))


def _unknown(
    paths: RegistryPaths, state: State, names: list[str], waiting: dict[str, Path]
) -> tuple[list[Record], list[str]]:
    """The records among `names` that the state does not know, and a line for each that is damaged."""
    known = state.known()
    records, warnings = [], []
    for name in names:
        if _id(name) in known:
            continue
        path = waiting.get(name)
        try:
            records.append(_load(paths, name, path))
        except DamagedRecordError as error:
            warnings.append(f"{path or paths.applied / name}: {error}; left where it is")
        except UnreadableRecordError as error:
            warnings.append(f"{error}; left for another time")
    return records, warnings


def _id(name: str) -> str:
    return name.rsplit("~", 1)[-1].removesuffix(".json")


def _strays(state: State) -> Iterator[Path]:
    """Records that could not be saved in the registry: looked for while an attempt has no last word, or failed last."""
    for stages in state.history.values():
        for headers in stages.values():
            last = {header.attempt: header.event for header in headers}
            for header in headers:
                ended = last[header.attempt] == "completed" or (
                    last[header.attempt] in TERMINAL and header.attempt != headers[-1].attempt
                )
                if header.run_dir and not ended:
                    folder = records_in(attempt_dir(Path(header.run_dir), header.attempt))
                    with contextlib.suppress(MissingError):  # another machine's, or another user's own folder
                        yield from (folder / name for name in _names(folder))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MissingError(f"{folder}: cannot be read: {error.strerror}; it must be open to all who use it") from None


def _load(paths: RegistryPaths, name: str, first: Path | None = None) -> Record:
    for path in filter(None, (first, paths.inbox / name, paths.applied / name)):
        try:
            return parse_record(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UnreadableRecordError(f"{path}: cannot be read: {error.strerror}") from None
    raise DamagedRecordError("gone from the inbox and the archive")
