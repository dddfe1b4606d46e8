"""`gc` and the copies of the code that jobs run, and the folders of submissions."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.care.gc import delete, find
from registry.job import claim, load_job
from registry.paths import used_mark
from registry.runner import run_job
from registry.store import Registry
from slurm.snapshot import snapshot
from tests.registry_case import CURATION, edit, plans, staged_lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return staged_lab(tmp_path, monkeypatch)


@pytest.fixture
def two_days_later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Puts this machine's clock on."""
    started = time.time()
    return lambda: monkeypatch.setattr("time.time", lambda: started + 2 * 86_400)


def code(lab: Registry, text: str = "one = 1\n") -> Path:
    """A snapshot of a small checkout."""
    checkout = lab.paths.file.parent.parent / "checkout"
    (checkout / "train").mkdir(parents=True, exist_ok=True)
    (checkout / "train" / "stage.py").write_text(text)
    return snapshot(checkout, lab.outputs.snapshots)


def attempt(lab: Registry, snapshot: Path) -> Path:
    """An attempt that was submitted with a snapshot; returns its folder."""
    job = claim(lab, plans(lab, ("curation",))[0])
    job.file.write_text(json.dumps({**json.loads(job.file.read_text()), "code": str(snapshot)}))
    lab.save(job.record("submitted", {"job": {"cluster": "slurm", "id": "4711"}}))
    return job.folder


def submission(lab: Registry, *attempts: Path) -> Path:
    """The folder of a call of sbatch for an array."""
    folder = lab.outputs.submissions / "0123abcd"
    folder.mkdir(parents=True)
    (folder / "submission.sh").write_text("#!/bin/bash\n")
    for index, path in enumerate(attempts):
        (folder / str(index)).symlink_to(path)
    return folder


def found(lab: Registry) -> tuple[list[Path], dict[Path, str]]:
    garbage = find(lab)
    ours = (lab.outputs.snapshots, lab.outputs.submissions)
    items = [item.path for item in garbage.items if item.path.parent in ours]
    return items, {one.path: one.reason for one in garbage.kept if one.path.parent in ours}


def test_what_was_handed_out_today_stays(lab: Registry, two_days_later: Callable[[], None]) -> None:
    made = code(lab)
    assert found(lab) == ([], {})
    two_days_later()
    assert found(lab) == ([made], {})
    assert code(lab) == made  # handed out once more
    os.utime(used_mark(made), (time.time(), time.time()))
    assert found(lab) == ([], {})


def test_what_an_attempt_in_flight_runs_stays_until_it_has_ended(
    lab: Registry, two_days_later: Callable[[], None]
) -> None:
    made, other = code(lab), code(lab, "one = 2\n")
    folder = attempt(lab, made)
    sent = submission(lab, folder)
    two_days_later()
    why = "tuned: curation: attempt 1 is in flight, or not known to have ended"
    assert found(lab) == ([other], {made: why, sent: why})
    raw = json.loads((folder / "job.json").read_text())
    raw.pop("code")
    (folder / "job.json").write_text(json.dumps(raw))
    run_job(load_job(folder / "job.json"))
    (folder / "job.json").write_text(json.dumps({**raw, "code": str(made)}))
    assert sorted(found(lab)[0]) == sorted([made, other, sent])
    assert [error for _, error in delete(lab, find(lab).items) if error] == []
    assert list(lab.outputs.snapshots.iterdir()) == []
    assert (sent.exists(), folder.is_dir()) == (False, True)


def test_what_cannot_be_told_keeps_all_code(lab: Registry, two_days_later: Callable[[], None]) -> None:
    made = code(lab)
    folder = attempt(lab, made)
    (folder / "job.json").write_text("{")
    two_days_later()
    items, kept = found(lab)
    assert items == []
    assert kept[made].startswith(f"what the attempts in {folder.parent.parent} need cannot be read: ")


def test_an_attempt_of_another_registry_keeps_its_code(lab: Registry, two_days_later: Callable[[], None]) -> None:
    made = code(lab)
    folder = attempt(lab, made)
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({**job, "registry": "/elsewhere/results.json"}))
    two_days_later()
    assert found(lab)[1] == {made: "tuned: curation: attempt 1 is of another registry: /elsewhere/results.json"}


def test_a_submission_that_begins_meanwhile_gets_its_code_back(
    lab: Registry, two_days_later: Callable[[], None]
) -> None:
    made = code(lab)
    two_days_later()
    items = [item for item in find(lab).items if item.kind == "code snapshot"]
    edit(lab, curation={**CURATION, "n_samples": 20})
    attempt(lab, made)
    ((_, error),) = delete(lab, items)
    assert str(error).startswith(f"{made}: stays: tuned: curation: attempt 1 ")
    assert (made / "train" / "stage.py").read_text() == "one = 1\n"
    assert not made.stat().st_mode & 0o222


def test_copies_that_were_never_finished_go(lab: Registry, two_days_later: Callable[[], None]) -> None:
    half = code(lab).with_name(".tmp-" + "0" * 32)
    half.mkdir()
    assert found(lab) == ([], {})
    two_days_later()
    assert half in found(lab)[0]
    assert [error for _, error in delete(lab, find(lab).items) if error] == []
    assert not half.exists()
