"""What `gc` lists and deletes, and all that it must not: run directories of real small stages."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.care.gc import Garbage, delete, find, measured
from registry.document import render
from registry.errors import StageStopped
from registry.job import claim
from registry.paths import OutputPaths, records_in
from registry.runner import run_job
from registry.schema import STAGES, Stage
from registry.store import Registry
from tests.lab import CHECKOUT, lab_environment
from tests.registry_case import CURATION, edit, entry, link, plans, run, staged_lab, states, use_stages


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return staged_lab(tmp_path, monkeypatch)


def changed(lab: Registry, count: int = 20) -> None:
    """Another config of the curation, so that what was made before is not current any more."""
    edit(lab, curation={**CURATION, "n_samples": count})


def run_dir(lab: Registry, stage: Stage = "curation", name: str = "tuned") -> Path:
    return Path(entry(lab, stage, name)["run_dir"])


def listed(lab: Registry) -> list[tuple[str, Path]]:
    return [(item.kind, item.path) for item in find(lab).items]


def kept(lab: Registry) -> dict[Path, str]:
    return {one.path: one.reason for one in find(lab).kept}


def deleted(lab: Registry) -> list[str]:
    """Delete all that is listed; returns what went wrong."""
    return [str(error) for _, error in delete(lab, find(lab).items) if error]


def test_nothing_of_current_results_is_listed(lab: Registry) -> None:
    run(lab)
    assert find(lab) == Garbage((), ())
    run(lab, name="twin")
    assert (listed(lab), len(kept(lab))) == ([], 3)  # where its reuse was claimed
    assert deleted(lab) == []
    assert set(states(lab).values()) == {"completed"}


def test_what_newer_results_have_replaced_goes(lab: Registry) -> None:
    run(lab)
    old = {stage: run_dir(lab, stage) for stage in STAGES}
    changed(lab)
    assert find(lab) == Garbage((), ())  # stale, but still the current results
    run(lab)
    assert sorted(listed(lab)) == sorted(("run directory", path) for path in old.values())
    assert deleted(lab) == []
    assert not any(path.exists() for path in old.values())
    assert all(run_dir(lab, stage).is_dir() for stage in old)
    assert find(lab) == Garbage((), ())


def test_what_another_experiment_has_reused_stays(lab: Registry) -> None:
    run(lab)
    run(lab, name="twin")
    shared = run_dir(lab)
    changed(lab)
    run(lab)
    assert entry(lab, "curation", "twin")["reused_from"] == "tuned"
    assert (shared == run_dir(lab, name="twin"), listed(lab)) == (True, [])


def test_a_removed_experiments_run_directories_and_links_go(lab: Registry) -> None:
    from registry.edits import remove

    run(lab)
    old, way = run_dir(lab), lab.outputs.link("tuned", "curation")
    remove(lab, "tuned")
    found = listed(lab)
    assert ("run directory", old) in found
    assert ("broken link", way) in found
    assert deleted(lab) == []
    assert (old.exists(), way.is_symlink()) == (False, False)


def test_a_failed_attempt_stays_while_its_config_does(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    use_stages(monkeypatch, curation="fail")
    with pytest.raises(ValueError, match="no room"):
        run(lab, ("curation",))
    place = lab.outputs.run_dir("tuned", "curation", entry(lab, "curation")["fingerprint"])
    assert kept(lab) == {place: "made with the config as it stands: an attempt would go on in it"}
    changed(lab)
    assert listed(lab) == [("run directory", place)]


def test_an_attempt_in_flight_stays_whatever_its_config(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    use_stages(monkeypatch, curation="stop")
    job = claim(lab, plans(lab, ("curation",))[0])
    changed(lab)
    assert kept(lab) == {Path(job.run_dir): "attempt 1 is in flight, or not known to have ended"}  # about to start
    with pytest.raises(StageStopped):
        run_job(job)
    assert kept(lab) == {Path(job.run_dir): "attempt 1 is in flight, or not known to have ended"}  # this process
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    here = {"cluster": "here", "host": socket.gethostname(), "pid": gone.pid}
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    lab.save(job.record("started", {"job": here}))
    assert listed(lab) == [("run directory", Path(job.run_dir))]


def test_a_slurm_job_that_may_run_stays(lab: Registry) -> None:
    job = claim(lab, plans(lab, ("curation",))[0])
    lab.save(job.record("submitted", {"job": {"cluster": "slurm", "id": "4711"}}))
    changed(lab)
    assert kept(lab) == {Path(job.run_dir): "attempt 1 is in flight, or not known to have ended"}


def old_run(lab: Registry) -> Path:
    """A run directory that could go."""
    run(lab, ("curation",))
    old = run_dir(lab)
    changed(lab)
    run(lab, ("curation",))
    assert listed(lab) == [("run directory", old)]
    return old


def test_a_run_directory_of_another_registry_is_never_touched(lab: Registry) -> None:
    old = old_run(lab)
    job = json.loads((old / "attempts" / "1" / "job.json").read_text())
    (old / "attempts" / "2").mkdir()
    (old / "attempts" / "2" / "job.json").write_text(json.dumps({**job, "registry": "/elsewhere/results.json"}))
    assert kept(lab) == {old: "of another registry: /elsewhere/results.json"}


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda old: (old / "attempts" / "1" / "job.json").unlink(), "its attempts cannot be read: "),
        (lambda old: (old / "attempts" / "1" / "job.json").write_text("{"), "its attempts cannot be read: "),
        (lambda old: shutil.rmtree(old / "attempts"), "nothing in it says which registry it belongs to"),
        (lambda old: shutil.copytree(old / "attempts" / "1", old / "attempts" / "7"), "attempt 7 has no record here"),
        (lambda old: (old / "attempts" / "notes").mkdir(), "its attempts cannot be read: "),
    ],
)
def test_what_cannot_be_told_stays(lab: Registry, harm: Callable[[Path], object], reason: str) -> None:
    old = old_run(lab)
    harm(old)
    assert listed(lab) == []
    assert kept(lab)[old].startswith(reason)


def test_records_that_are_not_folded_keep_their_run_directory(lab: Registry) -> None:
    old = old_run(lab)
    folder = records_in(old / "attempts" / "1")
    folder.mkdir()
    (folder / "tuned~curation~00001-001~completed~x.json").write_text("{}")
    assert kept(lab) == {old: "attempt 1 has records that are not folded yet"}


def test_a_damaged_record_keeps_all_of_its_stage(lab: Registry) -> None:
    old = old_run(lab)
    name = next(path for path in lab.paths.applied.iterdir() if "~curation~00001-000~completed" in path.name)
    whole = name.read_bytes()
    name.write_bytes(whole[:-20])
    assert (listed(lab), "the checksum does not match" in kept(lab)[old] or "not a record" in kept(lab)[old]) == (
        [],
        True,
    )
    lab.paths.state.unlink()
    assert (listed(lab), kept(lab)[old]) == ([], "a record of this stage cannot be read; see `meds1 doctor`")


def test_a_config_that_cannot_be_checked_keeps_what_might_be_resumed(lab: Registry) -> None:
    old = old_run(lab)
    (lab.paths.file.parent / "train.jsonl").unlink()
    assert kept(lab)[old].startswith("whether it can be resumed cannot be told here: ")


def test_an_attempt_that_begins_meanwhile_gets_its_run_directory_back(lab: Registry) -> None:
    old = old_run(lab)
    found = find(lab).items
    edit(lab, curation=CURATION)  # the old directory is current again
    steps = plans(lab, ("curation",), force=True)
    assert steps[0].run_dir == old
    ((_, error),) = delete(lab, found)
    assert str(error) == (f"{old}: stays: made with the config as it stands: an attempt would go on in it")
    assert (old / "rows.jsonl").exists()
    assert [path.name for path in old.parent.iterdir() if path.name.startswith(".gc-")] == []


def test_a_link_in_the_place_of_a_run_directory_is_never_followed(lab: Registry, tmp_path: Path) -> None:
    old = old_run(lab)
    treasure = tmp_path / "treasure"
    old.rename(treasure)
    old.symlink_to(treasure)
    assert listed(lab) == []
    (inside := old_copy(treasure, old)).joinpath("elsewhere").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("mine")
    assert listed(lab) == [("run directory", inside)]
    assert deleted(lab) == []
    assert (tmp_path / "precious" / "data").read_text() == "mine"


def old_copy(source: Path, place: Path) -> Path:
    place.unlink()
    shutil.copytree(source, place)
    return place


def test_checkpoints_that_a_completed_training_left_go(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    run(lab)
    folder = run_dir(lab, "training") / "checkpoints"
    (folder / "whole" / "checkpoint-1").mkdir(parents=True)
    assert listed(lab) == [("checkpoints", folder)]
    use_stages(monkeypatch, training="fail")
    with pytest.raises(ValueError, match="no room"):
        run(lab, ("training",), force=True)
    assert listed(lab) == []  # the forced run can be resumed from them
    use_stages(monkeypatch)
    run(lab, ("training",), force=True)
    assert deleted(lab) == []
    assert (folder.exists(), run_dir(lab, "training").is_dir()) == (False, True)


def test_remembered_hashes_of_files_that_are_gone_go(lab: Registry, tmp_path: Path) -> None:
    data = lab.paths.file.parent / "train.jsonl"
    data.write_text('{"question": "Which drug?"}\n' * 60_000)
    os.utime(data, (1e9, 1e9))  # a file that has just been written is not remembered
    run(lab, ("curation",))
    (memo,) = OutputPaths.hashes_in(tmp_path / "cache").iterdir()
    assert listed(lab) == []
    (memo.parent / "old.json").write_text('{"size": 1, "mtime_ns": 2, "sha256": "of an older version"}')
    data.unlink()
    assert listed(lab) == [("content hash", memo)]


def test_broken_links_into_run_directories_go_and_others_stay(lab: Registry, tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "mine").symlink_to(tmp_path / "nowhere")
    (tmp_path / "output" / "gone").symlink_to(tmp_path / "cache" / "runs" / "gone" / "curation" / "0123456789ab")
    assert listed(lab) == [("broken link", tmp_path / "output" / "gone")]
    run(lab, ("curation",))
    assert link(lab, "curation") == run_dir(lab)
    assert len(listed(lab)) == 1


def test_old_temporary_files_of_dead_writers_go(lab: Registry) -> None:
    run(lab, ("curation",))
    young, old = (lab.paths.inbox / f".tmp-{digit * 32}" for digit in "ab")
    theirs = lab.paths.file.parent / ".tmp-somebody"
    for path in (young, old, theirs):
        path.write_text("half")
    assert listed(lab) == []
    (lab.paths.root / f".tmp-{'c' * 32}").mkdir()
    assert measured(find_at(lab, days=2).items[0]).bytes > 0
    assert [item.path for item in find_at(lab, days=2).items] == [
        lab.paths.root / f".tmp-{'c' * 32}",
        *sorted((young, old)),
    ]


def find_at(lab: Registry, days: int) -> Garbage:
    """What is found when this machine's clock has gone on by some days."""
    import time

    with pytest.MonkeyPatch.context() as patch:
        later = time.time() + days * 86_400
        patch.setattr("registry.care.garbage.time.time", lambda: later)
        found = find(lab)
    return Garbage(tuple(sorted(found.items, key=lambda item: (len(str(item.path)), item.path))), found.kept)


@pytest.fixture
def command(lab: Registry, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    environment = {**lab_environment(tmp_path / "lab"), "CACHE_DIR": str(tmp_path / "cache")}
    environment["MED_S1K_OUTPUT"] = str(tmp_path / "output")

    def meds1(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [str(CHECKOUT / "bin" / "meds1"), "gc", *arguments]
        return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)

    return meds1


def test_the_command_lists_and_deletes_only_with_yes(lab: Registry, command: Callable[..., Any]) -> None:
    old = old_run(lab)
    (old / "rows.jsonl").write_text("x" * 3_000_000)
    done = command()
    assert (done.returncode, done.stderr) == (0, "")
    assert str(old) in done.stdout
    assert "in 1 item; `meds1 gc --yes` deletes them" in done.stdout
    body = json.loads(command("--json").stdout)["data"]
    (item,) = body["items"]
    assert (item["kind"], item["path"], item["deleted"]) == ("run directory", str(old), False)
    assert 3_000_000 <= item["bytes"] == body["bytes"] < 3_200_000
    assert old.exists()
    body = json.loads(command("--yes", "--json").stdout)["data"]
    assert (body["items"][0]["deleted"], body["deleted_bytes"], old.exists()) == (True, body["bytes"], False)
    assert "nothing to collect" in command("--yes").stdout


def test_a_registry_without_outputs_collects_nothing(lab: Registry) -> None:
    assert find(lab) == Garbage((), ())
    lab.paths.file.write_bytes(render({"experiments": {}}))
    assert find(lab) == Garbage((), ())


def test_what_was_left_half_deleted_goes_a_day_later(lab: Registry) -> None:
    half = old_run(lab).with_name(".gc-" + "0" * 32)
    half.mkdir()
    assert half not in [path for _, path in listed(lab)]
    assert half in [item.path for item in find_at(lab, days=2).items]
    assert os.listdir(half) == []
