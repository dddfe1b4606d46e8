"""Processes that die anywhere lose nothing that was saved: at every system call of a save, a fold and a rebuild.

The storm of kills is in `benchmarks/registry`; its short form is `test_benchmarks_registry`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import registry.fold
from registry.document import load
from registry.paths import RegistryPaths
from registry.records import claim_attempt
from registry.store import Registry
from tests.faults import (
    DEAD,
    FORK,
    Call,
    calls_of,
    dying_at,
    in_child,
    intercepted,
    interrupting_at,
    memory_folder,
    without_waiting,
)
from tests.registry_case import edit, entry, record, result_in_file, write_lab


def copy_of(lab: Registry, folder: Path) -> Registry:
    """The same lab in another folder."""
    shutil.copytree(lab.paths.file.parent, folder)
    return Registry(RegistryPaths(folder / "results.json"), folder / "config.json")


def crash_everywhere(template: Registry, folder: Path, action: Callable[[Registry], Any]) -> Iterator[Registry]:
    """A copy of the lab for each moment at which `action` can die, after it has died there."""
    for moment in range(1, 1_000):
        lab = copy_of(template, folder / str(moment))
        code = in_child(lambda lab=lab: action(lab), dying_at(moment))  # type: ignore[misc]
        yield lab
        if code == 0:
            assert moment > 10, "the action has no moment to die at"
            return
        assert code == DEAD
        shutil.rmtree(lab.paths.file.parent)
    raise AssertionError("the action does not end")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from memory_folder()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    without_waiting(monkeypatch)
    lab = write_lab(tmp_path / "lab")
    lab.save(record(1, stage="training", loss=0.1))
    lab.fold()
    lab.save(record(1, accuracy=0.1))
    lab.save(record(2, accuracy=0.2))
    lab.save(record(3, "failed", error="out of memory"))
    return lab


def test_a_fold_that_dies_anywhere_is_made_good_by_the_next(lab: Registry, tmp_path: Path) -> None:
    edit(lab, model_key="edited")
    expected = lab.read().document
    for crashed in crash_everywhere(lab, tmp_path / "crashes", Registry.fold):
        load(crashed.paths.file)
        assert crashed.read().document == expected
        assert crashed.read().warnings == ()
        crashed.fold()
        assert json.loads(crashed.paths.file.read_bytes()) == expected
        assert result_in_file(crashed)["last_attempt"]["attempt"] == 3
        assert [name for name in os.listdir(crashed.paths.inbox) if not name.startswith(".")] == []
        assert crashed.fold().applied == 0


def test_a_person_who_edits_after_a_fold_has_died_keeps_the_edit(lab: Registry, tmp_path: Path) -> None:
    for crashed in crash_everywhere(lab, tmp_path / "crashes", Registry.fold):
        edit(crashed, model_key="edited")
        crashed.save(record(4, accuracy=0.4))
        report = crashed.fold()
        assert (report.skipped, report.warnings) == (None, ())
        after = json.loads(crashed.paths.file.read_bytes())["experiments"]["tuned"]
        assert after["config"]["model_key"] == "edited"
        assert after["results"]["training"]["loss"] == 0.1
        assert after["results"]["eval"]["accuracy"] == 0.4


def test_a_rebuild_that_dies_anywhere_can_be_done_again(lab: Registry, tmp_path: Path) -> None:
    expected = lab.read().document
    lab.fold()
    lab.save(record(4, stage="training", loss=0.4))
    torn = '{"experiments": {"tuned"'
    expected["experiments"]["tuned"]["results"]["training"] = entry(lab, "training")
    lab.paths.file.write_text(torn)
    for crashed in crash_everywhere(lab, tmp_path / "crashes", lambda lab: registry.fold.rebuild(lab.paths)):
        registry.fold.rebuild(crashed.paths)
        assert json.loads(crashed.paths.file.read_bytes()) == expected
        set_aside = [path.read_text() for path in crashed.paths.file.parent.glob("results.json.torn-*")]
        assert torn in set_aside
        assert crashed.fold().skipped is None
        assert json.loads(crashed.paths.file.read_bytes()) == expected


def test_a_record_whose_writer_dies_is_there_whole_or_not_at_all(lab: Registry, tmp_path: Path) -> None:
    new = record(4, accuracy=0.4)
    seen = set()
    for crashed in crash_everywhere(lab, tmp_path / "crashes", lambda lab: lab.save(new)):
        view = crashed.read()
        assert view.warnings == ()
        seen.add(view.document["experiments"]["tuned"]["results"]["eval"]["attempt"])
        crashed.save(new)
        crashed.fold()
        assert result_in_file(crashed)["accuracy"] == 0.4
    assert seen == {2, 4}


def test_a_claim_that_dies_anywhere_leaves_the_next_number_free(lab: Registry, tmp_path: Path) -> None:
    taken = set()
    attempts = lambda lab: lab.paths.attempts("tuned", "eval")  # noqa: E731
    for moment in range(1, 100):
        copy = copy_of(lab, tmp_path / str(moment))
        code = in_child(lambda copy=copy: claim_attempt(attempts(copy)), dying_at(moment))  # type: ignore[misc]
        taken.add(claim_attempt(attempts(copy)))
        if code == 0:
            break
    assert taken == {1, 2}


@pytest.mark.parametrize("others", ["save", "save and fold", "edit", "edit, save and fold"])
def test_nothing_is_lost_whatever_happens_at_any_moment_of_a_fold(
    lab: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    monkeypatch.setattr(registry.fold, "_lock", lambda path: contextlib.nullcontext())  # a lock that does not work
    calls = calls_of(copy_of(lab, tmp_path / "whole").fold)
    assert len(calls) > 30
    lost = []
    for step in range(1, len(calls) + 1):
        copy = copy_of(lab, tmp_path / str(step))

        def act(copy: Registry = copy) -> None:
            if "edit" in others:
                edit(copy, model_key="edited")
            if "save" in others:
                copy.save(record(4, accuracy=0.4))
            if "fold" in others:
                copy.fold()

        with intercepted(interrupting_at(step, act)):
            copy.fold()
        load(copy.paths.file)
        copy.fold()
        after = json.loads(copy.paths.file.read_bytes())["experiments"]["tuned"]
        if "edit" in others and after["config"]["model_key"] != "edited":
            lost.append(step)
        assert after["results"]["eval"]["attempt"] == (4 if "save" in others else 2)
        assert after["results"]["training"]["loss"] == 0.1
        assert len(copy.read().state.headers("tuned", "eval")) == (4 if "save" in others else 3)
        assert copy.read().warnings == ()
        shutil.rmtree(copy.paths.file.parent)
    assert set(lost) <= between_the_last_look_and_the_rename(calls)


def test_a_reader_sees_all_that_was_saved_whatever_happens_while_it_reads(lab: Registry, tmp_path: Path) -> None:
    calls = calls_of(copy_of(lab, tmp_path / "whole").read)
    for step in range(1, len(calls) + 1):
        copy = copy_of(lab, tmp_path / str(step))
        views = []

        def save_and_fold(copy: Registry = copy) -> None:
            copy.save(record(4, accuracy=0.4))
            copy.fold()

        with intercepted(interrupting_at(step, save_and_fold)):
            views.append(copy.read())
        results = views[0].document["experiments"]["tuned"]["results"]
        assert views[0].warnings == ()
        assert results["training"]["loss"] == 0.1
        assert results["eval"]["attempt"] in (2, 4)
        assert len(views[0].state.headers("tuned", "eval")) in (3, 4)
        assert entry(copy)["accuracy"] == 0.4


def between_the_last_look_and_the_rename(calls: list[Call]) -> set[int]:
    """The numbers of the calls before which nobody can see an edit any more: editors take no lock."""
    (renamed,) = (
        number
        for number, call in enumerate(calls, 1)
        if call.name in ("replace", "rename") and Path(call.arguments[1]).name == "results.json"
    )
    looked = max(number for number, call in enumerate(calls[:renamed], 1) if call.name == "read")
    assert renamed - looked <= 2
    return set(range(looked + 1, renamed + 1))


def test_a_record_saved_while_a_fold_dies_anywhere_is_there(lab: Registry, tmp_path: Path) -> None:
    for moment in range(1, 1_000):
        copy = copy_of(lab, tmp_path / str(moment))
        new = record(4, accuracy=0.4)

        def save(copy: Registry = copy, new: Any = new) -> None:
            copy.save(new)

        writer = FORK.Process(target=save)
        writer.start()
        code = in_child(copy.fold, dying_at(moment))
        writer.join()
        assert writer.exitcode == 0
        assert entry(copy)["accuracy"] == 0.4
        copy.fold()
        assert result_in_file(copy)["accuracy"] == 0.4
        shutil.rmtree(copy.paths.file.parent)
        if code == 0:
            return
    raise AssertionError("the fold does not end")
