"""Disks that are full, over quota or broken, folders that cannot be written: loud for a save, harmless for a fold."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.document import load_registry
from registry.errors import Meds1Error, StageFailure
from registry.fold import FoldReport
from registry.paths import RegistryPaths
from registry.reading import View
from registry.records import claim_attempt, parse_record
from registry.store import Registry
from tests.faults import DISK_ERRORS, Call, Failing, calls_of, in_child, intercepted, memory_folder, without_waiting
from tests.registry_case import edit, entry, record, result_in_file, write_lab

STRANGER = 54321


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from memory_folder()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    without_waiting(monkeypatch)
    lab = write_lab(tmp_path / "lab")
    edit(lab, model_key="edited")
    lab.save(record(1, stage="training", loss=0.1))
    lab.fold()
    lab.save(record(1, accuracy=0.1))
    lab.save(record(2, "failed", error="out of memory"))
    return lab


def copies(lab: Registry, folder: Path) -> Iterator[Registry]:
    """Copies of the lab without end; each is gone when the next one is asked for."""
    for number in range(10_000):
        copy = folder / f"copy-{number}"
        shutil.copytree(lab.paths.file.parent, copy)
        yield Registry(RegistryPaths(copy / "results.json"), copy / "config.json")
        shutil.rmtree(copy)


def refusal(action: Callable[[], Any]) -> str | None:
    """The one line that an action ends with, if it does not succeed."""
    try:
        action()
    except Meds1Error as failure:
        message = str(failure)
    else:
        return None
    assert "\n" not in message
    return message


def complete(lab: Registry) -> None:
    """The fixture's records are all there and come into the file."""
    load_registry(lab.paths.file)
    report = lab.fold()
    assert (report.skipped, report.warnings) == (None, ())
    assert json.loads(lab.paths.file.read_bytes())["experiments"]["tuned"]["config"]["model_key"] == "edited"
    assert result_in_file(lab, stage="training")["loss"] == 0.1
    assert result_in_file(lab)["accuracy"] in (0.1, 0.4)
    assert len(lab.read().state.headers("tuned", "training")) == 1
    assert {"completed", "failed"} <= {header.event for header in lab.read().state.headers("tuned", "eval")}


def at(number: int) -> Callable[[Call, int], bool]:
    """Only the call with this number."""
    return lambda call, now: now == number


def at_and_after(number: int) -> Callable[[Call, int], bool]:
    """This call and all later ones that change something: a disk that stays full."""
    return lambda call, now: now >= number and call.changes and call.name not in ("close", "unlink", "rmdir", "flock")


@pytest.mark.parametrize("error", DISK_ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("chosen", [at, at_and_after])
def test_a_save_that_meets_an_error_says_so_or_has_saved(
    lab: Registry, tmp_path: Path, error: int, chosen: Callable[[int], Callable[[Call, int], bool]]
) -> None:
    outcomes = set()
    for number, copy in enumerate(copies(lab, tmp_path), 1):
        new = record(4, accuracy=0.4)
        fault = Failing(error, chosen(number))
        with intercepted(fault):
            message = refusal(lambda copy=copy, new=new: copy.save(new))  # type: ignore[misc]
        outcomes.add(message is None)
        found = list(copy.paths.inbox.glob("*00004*"))
        assert all(parse_record(path.read_bytes()) == new for path in found)
        assert found or message is not None
        if not fault.failed:
            assert (number > 8, message) == (True, None)
            break
        for part in ("tuned: ", str(copy.paths.inbox), os.strerror(error)) if message else ():
            assert part in str(message)
        assert copy.read().warnings == ()
        copy.save(new)
        assert entry(copy)["accuracy"] == 0.4
        complete(copy)
    assert outcomes == {True, False}


@pytest.mark.parametrize("name", ["open", "write", "fsync", "close", "replace"])
def test_a_save_is_never_acknowledged_after_an_error_that_may_have_cost_data(lab: Registry, name: str) -> None:
    with intercepted(Failing(errno.EIO, lambda call, _: call.name == name)), pytest.raises(StageFailure):
        lab.save(record(4, accuracy=0.4))


@pytest.mark.parametrize("error", DISK_ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("chosen", [at, at_and_after])
def test_a_fold_that_meets_an_error_at_any_call_costs_nothing(
    lab: Registry, tmp_path: Path, error: int, chosen: Callable[[int], Callable[[Call, int], bool]]
) -> None:
    for number, copy in enumerate(copies(lab, tmp_path), 1):
        fault = Failing(error, chosen(number))
        reports: list[FoldReport] = []
        with intercepted(fault):
            skipped = refusal(lambda copy=copy, reports=reports: reports.append(copy.fold()))  # type: ignore[misc]
        for report in reports:
            skipped = report.skipped or "; ".join(report.warnings) or None
        assert skipped is not None or result_in_file(copy)["accuracy"] == 0.1
        if not fault.failed:
            assert (number > 30, skipped) == (True, None)
            break
        load_registry(copy.paths.file)
        assert entry(copy)["accuracy"] == 0.1
        complete(copy)


@pytest.mark.parametrize("error", [errno.EIO, errno.EACCES, errno.ESTALE], ids=errno.errorcode.get)
def test_a_reader_that_meets_an_error_says_so_in_one_line_and_never_shows_less(lab: Registry, error: int) -> None:
    whole = lab.read().document
    calls = calls_of(lab.read)
    assert {call.name for call in calls} >= {"open", "read", "listdir"}
    for number, call in enumerate(calls, 1):
        views: list[View] = []
        with intercepted(Failing(error, at(number))):
            message = refusal(lambda views=views: views.append(lab.read()))  # type: ignore[misc]
        if message is not None:
            assert str(lab.paths.file.parent) in message
        else:
            less = views[0].document != whole and not views[0].warnings
            assert not less, f"{call.name} {call.arguments}: less is shown, silently"


def test_an_error_that_passes_leaves_no_wrong_result_behind(lab: Registry) -> None:
    """A requeued job's completion no longer counts; the one before it has to be read from the archive."""
    lab.save(record(4, accuracy=0.4))
    lab.fold()
    lab.save(record(4, "started", restart=1))
    (archived,) = lab.paths.applied.glob("tuned~eval~00001-*~completed~*")
    fault = Failing(errno.EIO, lambda call, _: call.name == "open" and call.arguments[0] == archived)
    with intercepted(fault):
        lab.fold()
    assert fault.failed
    lab.fold()
    assert result_in_file(lab)["accuracy"] == 0.1


def test_a_rename_that_reports_an_error_but_happened_is_a_save_and_a_fold(lab: Registry) -> None:
    fault = Failing(errno.EIO, lambda call, _: call.name in ("rename", "replace"), happened=True)
    with intercepted(fault):
        lab.save(record(4, accuracy=0.4))
        lab.fold()
    assert fault.failed >= 3
    assert entry(lab)["accuracy"] == 0.4
    assert result_in_file(lab)["accuracy"] == 0.4
    complete(lab)


def test_a_rename_that_reports_an_error_and_did_not_happen_is_none(lab: Registry) -> None:
    before = lab.paths.file.read_bytes()
    with intercepted(Failing(errno.EIO, lambda call, _: call.name in ("rename", "replace"))):
        with pytest.raises(StageFailure, match=r"tuned: .*Input/output error"):
            lab.save(record(4, accuracy=0.4))
        report = lab.fold()
    assert report.skipped is not None
    assert "Input/output error" in report.skipped
    assert lab.paths.file.read_bytes() == before
    assert entry(lab)["accuracy"] == 0.1
    complete(lab)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=100", "none", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_disk_that_is_really_full_what_was_saved_stays(small_disk: Path) -> None:
    lab = write_lab(small_disk / "lab")
    saved: list[int] = []

    def fill() -> None:
        for number in range(1, 1000):
            lab.save(record(number, accuracy=number, text="x" * 3000))
            saved.append(number)

    with pytest.raises(StageFailure, match=r"could not be saved in .*No space left on device; free space"):
        fill()
    assert len(saved) > 3
    report = lab.fold()
    assert report.skipped is not None
    assert "No space left on device" in report.skipped
    load_registry(lab.paths.file)
    assert entry(lab)["accuracy"] == saved[-1]
    subprocess.run(["mount", "-o", "remount,size=1m,nr_inodes=1000", str(small_disk)], check=True)
    report = lab.fold()
    assert (report.applied, report.skipped, report.warnings) == (len(saved), None, ())
    assert [header.attempt for header in lab.read().state.headers("tuned", "eval")] == saved
    assert result_in_file(lab)["accuracy"] == saved[-1]


def test_a_read_only_mount_is_read_and_nothing_else(small_disk: Path) -> None:
    lab = write_lab(small_disk / "lab")
    lab.save(record(1, accuracy=0.1))
    lab.fold()
    lab.save(record(2, accuracy=0.2))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert entry(lab)["accuracy"] == 0.2
    assert lab.read().warnings == ()
    report = lab.fold()
    assert report.skipped is not None
    assert "Read-only file system" in report.skipped
    with pytest.raises(StageFailure, match=r"tuned: .*could not be saved in .*Read-only file system"):
        lab.save(record(3, accuracy=0.3))
    with pytest.raises(StageFailure, match="claimed: Read-only file system"):
        claim_attempt(lab.paths.attempts("tuned", "eval"))


def _as_stranger(action: Callable[[], Any]) -> None:
    os.setgroups([])
    os.setgid(STRANGER)
    os.setuid(STRANGER)
    action()


def test_a_folder_of_somebody_else_is_read_and_nothing_else(lab: Registry, public: Path) -> None:
    shutil.copytree(lab.paths.file.parent, public / "lab")
    theirs = Registry(RegistryPaths(public / "lab" / "results.json"), public / "lab" / "config.json")
    before = {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}

    def read_and_try() -> None:
        assert entry(theirs)["accuracy"] == 0.1
        assert "Permission denied" in (theirs.fold().skipped or "")
        with pytest.raises(StageFailure, match=r"could not be saved in .*Permission denied; .*mend the permissions"):
            theirs.save(record(4, accuracy=0.4))
        with pytest.raises(StageFailure, match="claimed: Permission denied"):
            claim_attempt(theirs.paths.attempts("tuned", "eval"))

    assert in_child(lambda: _as_stranger(read_and_try)) == 0
    assert {path: path.read_bytes() for path in public.rglob("*") if path.is_file()} == before


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users can reach; tmp_path is private."""
    import tempfile

    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    folder = Path(tempfile.mkdtemp(prefix="meds1-public-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
