"""Whether a run directory may be deleted. Whatever cannot be told keeps it, and the answer says why.

It may go when every attempt in it is known to be of this registry and to have ended, no current result names anything
in it, and the config has moved on, so that nobody could resume it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from registry.canonical import sha256
from registry.errors import Meds1Error
from registry.fingerprint import Fingerprints, Inputs
from registry.history import Header
from registry.paths import RegistryPaths, job_file, records_in
from registry.plan import gone_from_here
from registry.reading import View, load_record
from registry.schema import STAGES, Stage
from registry.status import ended_as, recorded_inputs
from registry.store import Registry, experiments_of, results_of

DAY = 86_400


@dataclass(frozen=True)
class RunDir:
    """A run directory, by the names in its path; it may have been moved aside to `path` since."""

    experiment: str
    stage: Stage
    path: Path


@dataclass(frozen=True)
class Judge:
    """A registry as it was when the judging began."""

    registry: Registry
    view: View
    needed: Mapping[str, str]  # a path that a current result names, or a folder above it -> whose result it is
    unread: frozenset[tuple[str, str]]  # stages with a record that could not be read
    _current: dict[tuple[str, Stage], tuple[str, ...] | str] = field(default_factory=dict)

    def owner_of(self, path: Path) -> str | None:
        """Whose current result names a path, or something in it."""
        return self.needed.get(str(path)) or self.needed.get(os.path.realpath(path))

    def why_kept(self, run_dir: RunDir) -> str | None:
        """Why a run directory stays even if no current result lies in it."""
        return self.why_untouched(run_dir) or self._why_resumable(run_dir)

    def why_untouched(self, run_dir: RunDir) -> str | None:
        """Why nothing in a run directory may be deleted."""
        try:
            jobs = _jobs(run_dir.path)
        except (OSError, ValueError) as error:
            return f"its attempts cannot be read: {error}"
        if not jobs:
            return "nothing in it says which registry it belongs to"
        for number, job in jobs.items():
            if os.path.realpath(str(job.get("registry"))) != os.path.realpath(self.registry.paths.file):
                return f"of another registry: {job.get('registry')}"
            if (job.get("experiment"), job.get("stage")) != (run_dir.experiment, run_dir.stage):
                return f"attempt {number} is of another experiment or stage"
        if (run_dir.experiment, run_dir.stage) in self.unread:
            return "a record of this stage cannot be read; see `meds1 doctor`"
        return next(filter(None, (self._why_alive(run_dir, number) for number in jobs)), None)

    def in_use(self, run_dir: RunDir) -> Iterator[tuple[int, dict[str, Any], str]]:
        """The attempts that may start or go on, with their `job.json` and the reason to think so.

        `OSError` or `ValueError` when one cannot be read.
        """
        headers = self.view.state.headers(run_dir.experiment, run_dir.stage)
        for number, job in _jobs(run_dir.path).items():
            own = [header for header in headers if header.attempt == number]
            if os.path.realpath(str(job.get("registry"))) != os.path.realpath(self.registry.paths.file):
                yield number, job, f"attempt {number} is of another registry: {job.get('registry')}"
            elif not own:
                yield number, job, f"attempt {number} has no record here (yet)"
            elif _may_run(own[-1]) or (own[-1].event == "intent" and own[-1].job.get("cluster") == "slurm"):
                # sbatch may have taken a job whose id was not recorded; it may wait in the queue for days
                yield number, job, f"attempt {number} is in flight, or not known to have ended"

    def _why_alive(self, run_dir: RunDir, attempt: int) -> str | None:
        headers = self.view.state.headers(run_dir.experiment, run_dir.stage)
        own = [header for header in headers if header.attempt == attempt]
        if not own:
            return f"attempt {attempt} has no record here (yet)"
        if _may_run(own[-1]):
            return f"attempt {attempt} is in flight, or not known to have ended"
        applied = self.registry.paths.applied
        if any(not (applied / name).exists() for name in _records(run_dir.path, attempt)):
            return f"attempt {attempt} has records that are not folded yet"
        for header in own:
            if header.event == "completed":
                try:
                    load_record(self.registry.paths, run_dir.experiment, run_dir.stage, header)
                except Meds1Error as error:
                    return str(error)
        return None

    def _why_resumable(self, run_dir: RunDir) -> str | None:
        current = self.current(run_dir.experiment, run_dir.stage)
        if isinstance(current, str):
            return f"whether it can be resumed cannot be told here: {current}"
        if any(_without_script(job.get("inputs") or {}) in current for job in _jobs(run_dir.path).values()):
            return "made with the config as it stands: an attempt would go on in it"
        return None

    def current(self, name: str, stage: Stage) -> tuple[str, ...] | str:
        """The fingerprints, scripts left out, that an attempt started now could have; or why there are none.

        There are two: with the hub's commits that are recorded, and with those of the cache, as `--force` takes them.
        """
        if (name, stage) not in self._current:
            self._current[name, stage] = self._fingerprints(name, stage)
        return self._current[name, stage]

    def _fingerprints(self, name: str, stage: Stage) -> tuple[str, ...] | str:
        if name not in experiments_of(self.view):
            return ()
        try:
            config = self.registry.effective(self.view, name)
            if not config.applies(stage):
                return ()
            recorded = recorded_inputs(results_of(self.view, name))
            anew = {key: value for key, value in recorded.items() if key != stage}
            found = (Fingerprints(config, self.view.contents, known).inputs(stage) for known in (recorded, anew))
            return tuple(_without_script(inputs) for inputs in found)
        except Meds1Error as error:
            return str(error)


def judge(registry: Registry) -> Judge:
    """Read the registry."""
    view = registry.read()
    needed: dict[str, str] = {}
    for name in experiments_of(view):
        for stage, entry in results_of(view, name).items():
            if ended_as(entry) == "completed":
                body = {key: value for key, value in entry.items() if key != "last_attempt"}
                for path in _paths_in(body):
                    _need(needed, path, f"{name}: {stage}")
    return Judge(registry, view, needed, _unread(registry.paths, view))


def folders_in(folder: Path) -> list[Path]:
    """The real folders in a folder, which need not be there; a link is none."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def run_dirs(runs: Path) -> Iterator[RunDir]:
    """Everything that lies where run directories lie."""
    for experiment in folders_in(runs):
        for stage in STAGES:
            for path in folders_in(experiment / stage):
                yield RunDir(experiment.name, stage, path)


def _need(needed: dict[str, str], path: str, owner: str) -> None:
    while path not in needed and path != os.sep:
        needed[path] = owner
        path = os.path.dirname(path)


def _paths_in(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("/"):
        yield os.path.normpath(value)
        yield os.path.realpath(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _paths_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _paths_in(item)


def _without_script(inputs: Inputs) -> str:
    return sha256({key: value for key, value in inputs.items() if key != "script"})


def _unread(paths: RegistryPaths, view: View) -> frozenset[tuple[str, str]]:
    """Stages of which a record is damaged or not readable here: their results may be other than what is shown."""
    known = view.state.known()
    found = set()
    for folder in (paths.inbox, paths.applied):
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(folder):
                parts = name.removesuffix(".json").split("~")
                if name.endswith(".json") and len(parts) == 5 and parts[-1] not in known:
                    found.add((parts[0], parts[1]))
    return frozenset(found)


def _may_run(header: Header) -> bool:
    if header.event == "intent":  # about to start, unless it is old
        try:
            return time.time() - datetime.fromisoformat(header.timestamp).timestamp() < DAY
        except ValueError:
            return True
    return header.event in ("submitted", "started") and not gone_from_here(header)


def _jobs(run_dir: Path) -> dict[int, dict[str, Any]]:
    """The `job.json` of every attempt; `OSError` or `ValueError` when one cannot be read."""
    attempts = [int(folder.name) for folder in folders_in(run_dir / "attempts")]
    return {number: json.loads(job_file(run_dir, number).read_bytes()) for number in attempts}


def _records(run_dir: Path, attempt: int) -> list[str]:
    folder = records_in(run_dir / "attempts" / str(attempt))
    return [path.name for path in folder.glob("*.json")] if folder.is_dir() else []
