"""Other machines: listings that lag, clocks that are off, locks held by the dead or by the stopped, or none at all."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import registry.fold
import registry.job
from registry.edits import create
from registry.job import Job
from registry.paths import RegistryPaths
from registry.records import claim_attempt
from registry.store import Registry, experiments_of
from tests.faults import (
    FORK,
    Call,
    Failing,
    Lagging,
    calls_of,
    in_child,
    intercepted,
    memory_folder,
    without_waiting,
)
from tests.registry_case import base, edit, entry, record, result_in_file, write_lab


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from memory_folder()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    without_waiting(monkeypatch)
    lab = write_lab(tmp_path / "lab")
    lab.save(record(1, stage="training", loss=0.1))
    lab.fold()
    return lab


@pytest.mark.parametrize("lag", [1, 5, 20, 100])
def test_listings_that_lag_delay_a_result_and_lose_none(lab: Registry, lag: int) -> None:
    around = Lagging(lag)
    around.watch(lab.paths.inbox, lab.paths.applied)
    with intercepted(around):
        for attempt in range(1, 8):
            lab.save(record(attempt, accuracy=attempt / 10))
            before = entry(lab, "training")
            lab.fold()
            assert entry(lab, "training") == before
            assert lab.read().warnings == ()
    assert entry(lab)["accuracy"] == 0.7
    lab.fold()
    assert result_in_file(lab)["accuracy"] == 0.7
    assert [header.attempt for header in lab.read().state.headers("tuned", "eval")] == list(range(1, 8))


def test_a_result_that_was_once_seen_stays_when_the_listing_of_the_archive_lags(lab: Registry) -> None:
    lab.save(record(1, accuracy=0.1))
    around = Lagging(1_000)
    around.watch(lab.paths.inbox, lab.paths.applied)
    with intercepted(around):  # the inbox still names the record, the archive does not yet
        lab.fold()
        for _ in range(3):
            assert entry(lab)["accuracy"] == 0.1
            report = lab.fold()
            assert (report.skipped, report.warnings) == (None, ())
            assert result_in_file(lab)["accuracy"] == 0.1


def test_a_claim_that_sees_an_old_listing_takes_a_number_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "eval"
    folder.mkdir()
    around = Lagging(1_000)
    around.watch(folder)
    with intercepted(around):
        assert [claim_attempt(folder) for _ in range(5)] == [1, 2, 3, 4, 5]
        assert os.listdir(folder) == []


def _results(lab: Registry) -> Any:
    """The results without the times that stand in them."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if key not in ("timestamp", "record")}
        return value

    return timeless(json.loads(lab.paths.file.read_bytes())["experiments"]["tuned"]["results"])


def test_clocks_that_are_off_by_an_hour_change_no_order_and_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_waiting(monkeypatch)
    events: list[tuple[int, int, Any]] = [
        (1, 0, "completed"),
        (2, 0, "started"),
        (2, 1, "started"),
        (2, 1, "completed"),
        (2, 0, "completed"),
        (3, 0, "failed"),
    ]
    outcomes = []
    for number, hours in enumerate([[0] * 6, [1, -1] * 3, [-1, 1] * 3, [1, 1, 0, -1, -1, 0], [5, 4, 3, 2, 1, 0]]):
        lab = write_lab(tmp_path / str(number))
        for (attempt, restart, event), ahead in zip(events, hours, strict=True):
            clock = (datetime.now(UTC) + timedelta(hours=ahead)).strftime("%Y-%m-%dT%H:%M:%SZ")
            monkeypatch.setattr(registry.job, "now", lambda clock=clock: clock)
            monkeypatch.setenv("SLURM_RESTART_COUNT", str(restart))
            job = Job("tuned", "eval", attempt, "0" * 64, {}, {}, {}, "", str(lab.paths.file), str(lab.catalog_path))
            saved = lab.save(job.record(event, {"accuracy": attempt + restart / 10}))
            os.utime(saved, (ahead * 3600 + 1e9, ahead * 3600 + 1e9))
            if attempt % 2:
                lab.fold()
        lab.fold()
        outcomes.append(_results(lab))
    assert outcomes[0]["eval"]["accuracy"] == 2.1
    assert outcomes[0]["eval"]["last_attempt"]["attempt"] == 3
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_the_order_in_which_records_arrive_changes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)
    records = [
        record(1, accuracy=0.1),
        record(2, "started"),
        record(2, "started", restart=1),
        record(2, accuracy=0.2),
        record(3, "failed", error="x"),
    ]
    draw, outcomes = random.Random(0), []
    for number, arrival in enumerate(draw.sample(list(itertools.permutations(records)), 40)):
        lab = write_lab(tmp_path / str(number))
        for one in arrival:
            lab.save(one)
            if draw.random() < 0.5:
                lab.fold()
        lab.fold()
        outcomes.append(result_in_file(lab))
    assert outcomes[0]["accuracy"] == 0.1
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_a_lock_file_that_a_dead_host_has_left_behind_holds_nobody(
    lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.fold, "LOCK_SECONDS", 0.2)
    lab.paths.lock.write_text("99999\nnode-that-died\n")
    lab.save(record(1, accuracy=0.5))
    assert lab.fold().applied == 1
    assert result_in_file(lab)["accuracy"] == 0.5


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL], ids=errno.errorcode.get)
@pytest.mark.parametrize("left_behind", [False, True])
def test_a_file_system_without_locks_is_folded_all_the_same(
    lab: Registry, monkeypatch: pytest.MonkeyPatch, error: int, left_behind: bool
) -> None:
    monkeypatch.setattr(registry.fold, "LOCK_SECONDS", 0.2)
    if left_behind:
        lab.paths.lock.write_text("99999\nnode-that-died\n")
    lab.save(record(1, accuracy=0.5))
    with intercepted(Failing(error, lambda call, _: call.name == "flock")):
        assert entry(lab)["accuracy"] == 0.5
        lab.fold()
    assert result_in_file(lab)["accuracy"] == 0.5


def _stopping_at(number: int) -> Callable[[Call], Any]:
    numbers = itertools.count(1)

    def around(call: Call) -> Any:
        if next(numbers) == number:
            os.kill(os.getpid(), signal.SIGSTOP)
        return call.run()

    return around


def _fold_and_stop(lab: Registry, number: int) -> None:
    with intercepted(_stopping_at(number)):
        lab.fold()


@pytest.mark.parametrize("lock", ["that works", "that nobody else sees"])
def test_a_fold_that_is_stopped_and_wakes_up_after_others_have_folded_loses_nothing(
    lab: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    lab.save(record(1, accuracy=0.1))
    shutil.copytree(lab.paths.file.parent, tmp_path / "whole")
    whole = Registry(RegistryPaths(tmp_path / "whole" / "results.json"), lab.catalog_path)
    calls = calls_of(whole.fold)
    holding = range([call.name for call in calls].index("flock") + 2, len(calls))
    for number in holding[:: 1 if lock == "that nobody else sees" else 6]:
        copy = Registry(RegistryPaths(tmp_path / str(number) / "results.json"), lab.catalog_path)
        shutil.copytree(lab.paths.file.parent, copy.paths.file.parent)
        sleeper = FORK.Process(target=_fold_and_stop, args=(copy, number))
        sleeper.start()
        assert sleeper.pid is not None
        os.waitpid(sleeper.pid, os.WUNTRACED)
        with monkeypatch.context() as patch:
            patch.setattr(registry.fold, "LOCK_SECONDS", 0.05)
            if lock == "that nobody else sees":
                patch.setattr(registry.fold, "_lock", lambda path: contextlib.nullcontext())
            copy.save(record(2, accuracy=0.2))
            report = copy.fold()
            assert entry(copy)["accuracy"] == 0.2
            copy.save(record(3, accuracy=0.3))
        assert (report.skipped is None) == (lock == "that nobody else sees")
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.join()
        assert sleeper.exitcode == 0
        copy.fold()
        assert result_in_file(copy)["accuracy"] == 0.3
        assert result_in_file(copy, stage="training")["loss"] == 0.1
        assert [header.attempt for header in copy.read().state.headers("tuned", "eval")] == [1, 2, 3]
        shutil.rmtree(copy.paths.file.parent)


def test_an_edit_made_while_a_fold_is_stopped_stands(lab: Registry, tmp_path: Path) -> None:
    lab.save(record(1, accuracy=0.1))
    shutil.copytree(lab.paths.file.parent, tmp_path / "whole")
    whole = Registry(RegistryPaths(tmp_path / "whole" / "results.json"), lab.catalog_path)
    names = [call.name for call in calls_of(whole.fold)]
    for number in (names.index("listdir") + 1, names.index("write") + 1, names.index("fsync") + 1):
        copy = Registry(RegistryPaths(tmp_path / str(number) / "results.json"), lab.catalog_path)
        shutil.copytree(lab.paths.file.parent, copy.paths.file.parent)
        sleeper = FORK.Process(target=_fold_and_stop, args=(copy, number))
        sleeper.start()
        assert sleeper.pid is not None
        os.waitpid(sleeper.pid, os.WUNTRACED)
        edit(copy, model_key="edited")
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.join()
        assert json.loads(copy.paths.file.read_bytes())["experiments"]["tuned"]["config"]["model_key"] == "edited"
        assert result_in_file(copy)["accuracy"] == 0.1


def _creating_meanwhile(lab: Registry, done: list[int]) -> Callable[[Call], Any]:
    """Another process makes an experiment, and folds, when the file has been read and the records have not."""

    def around(call: Call) -> Any:
        if call.name == "listdir" and not done:
            done.append(in_child(lambda: create(lab, {"new": base()}, "made")))
        return call.run()

    return around


def test_a_file_that_a_fold_replaces_while_it_is_read_is_not_taken_for_an_old_one(lab: Registry) -> None:
    done: list[int] = []
    with intercepted(_creating_meanwhile(lab, done)):
        view = lab.read()
    assert done == [0]
    assert view.warnings == ()
    assert list(experiments_of(view)) == ["tuned", "new"]


def test_two_folds_at_once_take_each_other_for_nobody_that_edits_by_hand(
    lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.fold, "_lock", lambda path: contextlib.nullcontext())
    done: list[int] = []
    with intercepted(_creating_meanwhile(lab, done)):
        report = lab.fold()
    assert done == [0]
    assert (report.skipped, report.warnings) == (None, ())
    assert [edit["by"] for edit in lab.read().state.edits["new"]] == ["command"]
    assert list(json.loads(lab.paths.file.read_bytes())["experiments"]) == ["tuned", "new"]


@pytest.mark.parametrize("name", ["results.json", "state.json"])
def test_a_file_that_another_host_replaces_while_it_is_opened_is_opened_again(lab: Registry, name: str) -> None:
    lab.save(record(1, accuracy=0.5))
    lab.fold()
    fault = Failing(
        errno.ESTALE, lambda call, _: call.name == "open" and Path(call.arguments[0]).name == name and not fault.failed
    )
    with intercepted(fault):
        view = lab.read()
    assert fault.failed == 1
    assert view.warnings == ()
    assert entry(lab)["accuracy"] == 0.5
