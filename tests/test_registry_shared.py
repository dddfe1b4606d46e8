"""Two people of one group share a registry, whatever their umask: each saves, folds, edits and reads what both did."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.document import render
from registry.errors import MissingError
from registry.paths import attempt_dir, records_in
from registry.records import claim_attempt
from registry.stage import Upstream
from registry.store import Registry
from tests.faults import in_child
from tests.registry_case import edit, entry, plans, record, result_in_file, run, tuned, use_stages, write_lab

GROUP = 54300
USERS = (54301, 54302)
UMASKS = list(itertools.product((0o077, 0o022, 0o002), repeat=2))


def as_user(number: int, umask: int, action: Callable[[], Any]) -> int:
    """Run `action` as the user with this number, a member of the lab's group; returns the exit code."""

    def become_and_act() -> None:
        os.setgroups([GROUP])
        os.setgid(USERS[number] + 100)  # a private group of the user's own, as most systems give
        os.setuid(USERS[number])
        os.umask(umask)
        action()

    return in_child(become_and_act)


@pytest.fixture
def lab() -> Iterator[Registry]:
    """The first user's lab in a folder of the group, with the set-group-id bit as a shared folder has it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become two people")
    folder = Path(tempfile.mkdtemp(prefix="meds1-shared-"))
    lab = write_lab(folder / "lab")
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, USERS[0], GROUP)
        path.chmod(0o2775 if path.is_dir() else 0o664)
    yield lab
    shutil.rmtree(folder)


@pytest.mark.parametrize("umasks", UMASKS, ids=["-".join(f"{mask:03o}" for mask in masks) for masks in UMASKS])
def test_each_saves_and_folds_and_both_read_everything(lab: Registry, umasks: tuple[int, int]) -> None:
    def work(attempt: int) -> None:
        for fold in (False, True):
            number = claim_attempt(lab.paths.attempts("tuned", "eval"))
            assert number == attempt + fold
            lab.save(record(number, accuracy=number))
            if fold:
                report = lab.fold()
                assert (report.skipped, report.warnings) == (None, ())
                assert result_in_file(lab)["accuracy"] == number
        assert lab.read().warnings == ()

    def see(attempt: int) -> None:
        assert entry(lab)["accuracy"] == attempt
        assert len(lab.read().state.headers("tuned", "eval")) == attempt
        assert lab.read().warnings == ()

    for turn, user in enumerate((0, 1, 0, 1)):
        first = 2 * turn + 1
        assert as_user(user, umasks[user], lambda first=first: work(first)) == 0  # type: ignore[misc]
        for reader in (0, 1):
            assert as_user(reader, umasks[reader], lambda first=first: see(first + 1)) == 0  # type: ignore[misc]


@pytest.mark.parametrize("umasks", UMASKS, ids=["-".join(f"{mask:03o}" for mask in masks) for masks in UMASKS])
def test_a_record_that_one_saved_is_read_and_folded_by_the_other(lab: Registry, umasks: tuple[int, int]) -> None:
    def fold() -> None:
        assert entry(lab)["accuracy"] == 0.5
        report = lab.fold()
        assert (report.applied, report.skipped, report.warnings) == (1, None, ())
        assert result_in_file(lab)["accuracy"] == 0.5

    assert as_user(0, umasks[0], lambda: lab.save(record(1, accuracy=0.5))) == 0
    assert as_user(1, umasks[1], fold) == 0
    assert as_user(0, umasks[0], lambda: edit(lab, model_key="mine")) == 0
    assert as_user(1, umasks[1], lambda: edit(lab, model_key="ours")) == 0


def test_nothing_is_open_to_people_outside_the_group_that_the_registry_is_closed_to(lab: Registry) -> None:
    folder = lab.paths.file.parent
    folder.chmod(0o2770)
    lab.paths.file.chmod(0o660)

    def work() -> None:
        number = claim_attempt(lab.paths.attempts("tuned", "eval"))
        lab.save(record(number, accuracy=0.5))
        lab.fold()
        lab.save(record(number + 1, accuracy=0.6))

    assert as_user(1, 0o002, work) == 0
    made = [path for path in [lab.paths.root, *lab.paths.root.rglob("*")] if not path.name.isdigit()]
    assert len(made) > 6
    assert [path for path in made if path.stat().st_mode & 0o007 and path != lab.paths.lock] == []
    assert {path.stat().st_gid for path in made} == {GROUP}


def test_what_lies_in_somebodys_private_folder_is_not_here_and_no_crash(
    lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lab.paths.file.parent
    private = folder / "private"
    monkeypatch.setenv("CACHE_DIR", str(private / "cache"))
    monkeypatch.setenv("MED_S1K_OUTPUT", str(private / "output"))
    use_stages(monkeypatch)
    lab.paths.file.write_bytes(render({"experiments": {"tuned": tuned(), "twin": tuned()}}))
    run(lab)
    private.chmod(0o700)

    def see() -> None:
        assert [step.action for step in plans(lab, name="twin")] == ["run", "run", "run"]
        upstream = Upstream("curation", "tuned", "0" * 64, entry(lab, "curation"))
        with pytest.raises(MissingError, match="which is not here"):
            upstream.path("dataset_path")

    assert [step.action for step in plans(lab, name="twin")] == ["reuse", "reuse", "reuse"]
    assert as_user(1, 0o022, see) == 0


@pytest.mark.parametrize("section", ["train_datasets", "models"])
def test_files_in_somebodys_private_folder_cannot_be_checked_and_the_status_says_so(
    lab: Registry, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    folder = lab.paths.file.parent
    monkeypatch.setenv("CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("MED_S1K_OUTPUT", str(folder / "output"))
    use_stages(monkeypatch)
    private = folder / "private"
    shutil.copytree(folder / "model", private / "model")
    shutil.copy(folder / "train.jsonl", private)
    entries: dict[str, dict[str, Any]] = {
        "train_datasets": {"train": {"file_path": str(private / "train.jsonl")}},
        "models": {"tiny": {"file_path": str(private / "model"), "max_length": 512}},
    }
    theirs = write_lab(folder, **{section: entries[section]})
    run(theirs, ("curation",))
    private.chmod(0o700)

    def see() -> None:
        status = theirs.statuses(theirs.read(), "tuned")["curation"]
        assert (status.status, status.reason.split(":")[0]) == ("completed", "cannot be checked here")
        assert "Permission denied" in status.reason

    assert as_user(1, 0o022, see) == 0


def test_a_record_that_stays_in_anothers_run_directory_is_taken_over_once(lab: Registry) -> None:
    run_dir = lab.paths.file.parent / "runs" / "tuned"
    kept = records_in(attempt_dir(run_dir, 1))
    lab.save(record(1, "intent", run_dir=str(run_dir)))
    kept.mkdir(parents=True)
    failed = record(1, "failed", error="no space left")
    (kept / failed.file_name).write_bytes(failed.to_bytes())
    for path in (kept, *kept.parents[:4]):
        path.chmod(0o755)

    def fold_twice() -> None:
        assert lab.fold().applied == 2
        assert result_in_file(lab)["error"] == "no space left"
        assert lab.fold().applied == 0

    assert as_user(1, 0o022, fold_twice) == 0
    assert len(list(kept.iterdir())) == 1
