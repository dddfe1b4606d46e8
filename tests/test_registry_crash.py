"""Processes that die anywhere lose nothing that was saved: at every system call of a fold, and in a storm of kills."""

from __future__ import annotations

import builtins
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import registry.fold
from registry.document import load
from registry.paths import RegistryPaths
from registry.records import claim_attempt, save_record
from registry.schema import STAGES
from registry.store import Registry
from tests.registry_case import record, result_in_file, write_lab

FORK = multiprocessing.get_context("fork")
CALLS = ("open", "close", "fsync", "replace", "rename", "mkdir", "unlink", "chmod")
DEAD = 9
WRITERS = 8
STORM_SECONDS = 6.0


def die_at(step: int) -> None:
    """End this process at its `step`-th moment before or after a call that could change a file."""
    moments = iter(range(1, 1_000_000))

    def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if next(moments) == step:
                os._exit(DEAD)
            outcome = call(*arguments, **options)
            if next(moments) == step:
                os._exit(DEAD)
            return outcome

        return wrapped

    for name in CALLS:
        setattr(os, name, mortal(getattr(os, name)))
    builtins.open = mortal(builtins.open)


def crash_everywhere(template: Path, folder: Path, action: Callable[[Registry], Any]) -> Iterator[Registry]:
    """A copy of the lab for each moment at which `action` can die, after it has died there."""
    for step in range(1, 1_000):
        copy = folder / str(step)
        shutil.copytree(template, copy)
        lab = Registry(RegistryPaths(copy / "results.json"), copy / "config.json")

        def act(lab: Registry = lab, step: int = step) -> None:
            die_at(step)
            action(lab)
            os._exit(0)

        child = FORK.Process(target=act)
        child.start()
        child.join()
        yield lab
        if child.exitcode == 0:
            assert step > 10, "the action has no step to die at"
            return
        assert child.exitcode == DEAD
    raise AssertionError("the action does not end")


@pytest.fixture
def lab(tmp_path: Path) -> Registry:
    lab = write_lab(tmp_path / "lab")
    lab.save(record(1, stage="training", loss=0.1))
    lab.fold()
    lab.save(record(1, accuracy=0.1))
    lab.save(record(2, accuracy=0.2))
    lab.save(record(3, "failed", error="out of memory"))
    return lab


def test_a_fold_that_dies_anywhere_is_made_good_by_the_next(lab: Registry, tmp_path: Path) -> None:
    expected = lab.read().document
    for crashed in crash_everywhere(lab.paths.file.parent, tmp_path / "crashes", Registry.fold):
        load(crashed.paths.file)
        assert crashed.read().document == expected
        assert crashed.read().warnings == ()
        crashed.fold()
        assert json.loads(crashed.paths.file.read_bytes()) == expected
        assert result_in_file(crashed)["last_attempt"]["attempt"] == 3
        assert os.listdir(crashed.paths.inbox) == []
        assert crashed.fold().applied == 0


def test_a_rebuild_that_dies_anywhere_can_be_done_again(lab: Registry, tmp_path: Path) -> None:
    expected = lab.read().document
    lab.fold()
    lab.paths.file.write_text('{"experiments": {"tuned"')
    for crashed in crash_everywhere(
        lab.paths.file.parent, tmp_path / "crashes", lambda lab: registry.fold.rebuild(lab.paths)
    ):
        registry.fold.rebuild(crashed.paths)
        assert json.loads(crashed.paths.file.read_bytes()) == expected


def test_a_record_whose_writer_dies_is_there_whole_or_not_at_all(lab: Registry, tmp_path: Path) -> None:
    new = record(4, accuracy=0.4)
    seen = set()
    for crashed in crash_everywhere(lab.paths.file.parent, tmp_path / "crashes", lambda lab: lab.save(new)):
        view = crashed.read()
        assert view.warnings == ()
        seen.add(view.document["experiments"]["tuned"]["results"]["eval"]["attempt"])
        crashed.save(new)
        crashed.fold()
        assert result_in_file(crashed)["accuracy"] == 0.4
    assert seen == {2, 4}


def _write_without_end(lab: Registry, writer: int, acknowledged: Path) -> None:
    """Save records and fold until killed; an id is acknowledged only once its record is saved."""
    log = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        stage = random.choice(STAGES)
        number = claim_attempt(lab.paths.attempts("tuned", stage))
        new = record(number, stage=stage, writer=writer)
        save_record(new, lab.paths.inbox)
        os.write(log, f"{new.id} {stage} {number}\n".encode())
        lab.fold()


def _acknowledged(folder: Path) -> dict[str, tuple[str, int]]:
    lines = [line.split() for file in folder.iterdir() for line in file.read_text().splitlines()]
    return {identity: (stage, int(number)) for identity, stage, number in lines}


def _check(lab: Registry, acknowledged: dict[str, tuple[str, int]]) -> None:
    """Everything acknowledged is in the history, and the result is that of the highest attempt."""
    view = lab.read()
    assert view.warnings == ()
    headers = [header for stages in view.state.history["tuned"].values() for header in stages]
    assert set(acknowledged) - {header.id for header in headers} == set()
    results = view.document["experiments"]["tuned"]["results"]
    for stage, number in acknowledged.values():
        assert results[stage]["attempt"] >= number


@pytest.mark.parametrize("locked", [True, False])
def test_a_storm_of_kills_loses_no_saved_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: bool) -> None:
    if not locked:
        monkeypatch.setattr(registry.fold, "_lock", lambda path: contextlib.nullcontext())
    lab = write_lab(tmp_path / "lab")
    logs = tmp_path / "acknowledged"
    logs.mkdir()
    births = iter(range(1_000_000))

    def born() -> Any:
        number = next(births)
        child = FORK.Process(target=_write_without_end, args=(lab, number, logs / str(number)))
        child.start()
        return child

    children = [born() for _ in range(WRITERS)]
    choice = random.Random(0)
    end = time.monotonic() + STORM_SECONDS
    try:
        while time.monotonic() < end:
            before = _acknowledged(logs)
            if before:
                _check(lab, before)
            victim = choice.randrange(WRITERS)
            os.kill(children[victim].pid, signal.SIGKILL)
            children[victim].join()
            children[victim] = born()
    finally:
        for child in children:
            child.kill()
            child.join()
    report = lab.fold()
    assert (report.skipped, report.warnings) == (None, ())
    saved = _acknowledged(logs)
    assert len(saved) > WRITERS
    _check(lab, saved)
    assert json.loads(lab.paths.file.read_bytes()) == lab.read().document
    assert os.listdir(lab.paths.inbox) == [] or all(name.startswith(".tmp-") for name in os.listdir(lab.paths.inbox))
