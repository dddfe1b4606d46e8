"""The storm over this project's registry: writers claim, save, acknowledge and fold; every lock there is to break."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.registry.journal import Follower, Journal
from benchmarks.registry.locks import LockKind, use_lock
from benchmarks.registry.outcome import Outcome, Spread, Weather
from benchmarks.registry.storm import GoOn, Look, Tick, Wish, blow, torn
from registry.document import render
from registry.errors import Meds1Error
from registry.paths import RegistryPaths
from registry.records import Record, claim_attempt
from registry.schema import STAGES, Stage
from registry.store import Registry, experiments_of

FOLD_CHANCE = 0.125  # after a save
_EXPERIMENTS = 16

Slot = tuple[str, Stage]


def storm_of_records(folder: Path, lock: LockKind, wish: Wish, tick: Tick) -> Outcome:
    """Storm a fresh registry in `folder` whose folds take this `lock`, then count what is lost."""
    for name in ("lab", "journals", "bare"):
        (folder / name).mkdir(parents=True)
    body = {"config": {"model_key": "tiny", "datasets": {"eval": "exam"}}}
    lab, journals = _lab(folder), folder / "journals"
    lab.paths.file.write_bytes(render({"experiments": {_name(i): body for i in range(_EXPERIMENTS)}}))

    def writer(number: int, go_on: GoOn) -> None:
        use_lock(lock)
        _write(lab, Journal(journals, number), folder / "bare", go_on)

    weather = blow(wish, writer, [lambda: lambda: torn(lab.paths.file), lambda: _overlay(lab, journals)], tick)
    return counted(folder, f"records and fold, lock {lock}", weather)


def _lab(folder: Path) -> Registry:
    return Registry(RegistryPaths(folder / "lab" / "results.json"), folder / "lab" / "config.json")


def _name(index: int) -> str:
    return f"experiment-{index:02d}"


def _write(lab: Registry, journal: Journal, bare: Path, go_on: GoOn) -> None:
    """Save, acknowledge and fold without end. Beside every save stands a bare write of the same bytes, in turns."""
    while go_on():
        name, stage = _name(random.randrange(_EXPERIMENTS)), random.choice(STAGES)
        record = _record(name, stage, claim_attempt(lab.paths.attempts(name, stage)))
        first = random.random() < 0.5
        if first:
            journal.say(bare=_bare(record, bare))
        start = time.perf_counter()
        lab.save(record)
        seconds = time.perf_counter() - start
        journal.say(id=record.id, experiment=name, stage=stage, attempt=record.attempt, save=seconds)
        if not first:
            journal.say(bare=_bare(record, bare))
        if random.random() < FOLD_CHANCE:
            report = lab.fold()
            journal.say(fold=report.applied, skipped=report.skipped)


def _record(name: str, stage: Stage, attempt: int) -> Record:
    """A completed record of some 3 kB."""
    metrics = {f"measure_{i}": random.random() for i in range(60)}
    return Record(
        experiment=name,
        stage=stage,
        event="completed",
        attempt=attempt,
        restart=0,
        fingerprint=f"{attempt:064x}",
        inputs={"stage": stage, "version": 1, "seed": attempt},
        result={"timestamp": "2026-11-20T17:00:00Z", "metrics": metrics, "run_dir": f"runs/{name}/{stage}/{attempt}"},
        provenance={"host": "node-07", "packages": {f"package-{i}": "1.2.3" for i in range(10)}},
    )


def _bare(record: Record, folder: Path) -> float:
    """Seconds of a write, fsync and rename of the record's bytes."""
    content = record.to_bytes()
    temporary, final = folder / f".tmp-{record.id}", folder / record.file_name
    start = time.perf_counter()
    with open(temporary, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, final)
    return time.perf_counter() - start


def _overlay(lab: Registry, journals: Path) -> Look:
    """A reader by the registry's own `read`: it must see all that was acknowledged before it began."""
    follower, acknowledged = Follower(journals), set[str]()

    def look() -> str | None:
        acknowledged.update(line["id"] for line in follower.news() if "id" in line)
        try:
            view = lab.read()
        except (Meds1Error, ValueError, KeyError, OSError) as error:
            return f"read: {error!r}"
        if view.warnings:
            return f"read: {view.warnings[0]}"
        missing = acknowledged - view.state.known()
        return f"read: {len(missing)} acknowledged records are not there" if missing else None

    return look


def counted(folder: Path, what: str, weather: Weather) -> Outcome:
    """Fold the stormed registry once more, then hold the journals against its history, its archive and its file."""
    lab, lines = _lab(folder), list(Follower(folder / "journals").news())
    saved = [line for line in lines if "id" in line]
    report = lab.fold()
    view = lab.read()
    stored, experiments = _stored(lab.paths), json.loads(lab.paths.file.read_bytes())["experiments"]
    kept, right = stored.keys() & view.state.known(), settled(stored, experiments)
    lost = [line for line in saved if line["id"] not in kept or (line["experiment"], line["stage"]) not in right]
    sound = torn(lab.paths.file) is None and not report.warnings and experiments == experiments_of(view)
    return Outcome(
        what=what,
        weather=weather,
        acknowledged=len(saved),
        lost=len(lost),
        valid=sound,
        folds=sum("fold" in line and line["skipped"] is None for line in lines),
        save=Spread.of([line["save"] for line in saved]),
        bare=Spread.of([line["bare"] for line in lines if "bare" in line]),
    )


def _stored(paths: RegistryPaths) -> dict[str, dict[str, Any]]:
    """All records that are on the disk, by id, read as plain JSON."""
    folders = (folder for folder in (paths.inbox, paths.applied) if folder.exists())
    records = (json.loads(path.read_bytes()) for folder in folders for path in folder.glob("[!.]*.json"))
    return {record["id"]: record for record in records}


def settled(stored: Mapping[str, Mapping[str, Any]], experiments: Mapping[str, Any]) -> set[Slot]:
    """The stages whose entry in the file is that of the newest attempt, by a model that is a dict."""
    newest: dict[Slot, Mapping[str, Any]] = {}
    for record in sorted(stored.values(), key=lambda record: int(record["attempt"])):
        newest[record["experiment"], record["stage"]] = record
    entries = {slot: (experiments[slot[0]].get("results") or {}).get(slot[1]) or {} for slot in newest}
    return {
        slot
        for slot, record in newest.items()
        if entries[slot].get("record") == record["id"] and entries[slot]["metrics"] == record["result"]["metrics"]
    }
