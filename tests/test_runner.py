"""The one stage runner, with small real stages: what it runs, reuses, refuses and records."""

from __future__ import annotations

import errno
import itertools
import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import registry.attempt
from registry.attempt import Attempt
from registry.document import render
from registry.errors import MissingError, StageFailure, StageStopped, UsageError
from registry.job import Job, claim, load_job
from registry.runner import run_job
from registry.schema import STAGES
from registry.stage import StageOutput
from registry.store import Registry
from slurm.job import run_in_slurm
from slurm.launch import run_here
from tests.faults import Failing, calls_of, intercepted, interrupting_at, without_waiting
from tests.registry_case import (
    ALL_RUN,
    CURATION,
    edit,
    entry,
    link,
    plans,
    reasons,
    result_in_file,
    run,
    staged_lab,
    states,
    use_stages,
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return staged_lab(tmp_path, monkeypatch)


def test_the_stages_run_and_their_results_stand_in_the_file(lab: Registry) -> None:
    assert run(lab) == ALL_RUN
    found = result_in_file(lab)
    assert (found["status"], found["metrics"], found["attempt"], found["restart"]) == ("completed", {"score": 10}, 1, 0)
    assert found["inputs"]["upstream"]["fingerprint"] == result_in_file(lab, stage="training")["fingerprint"]
    assert {"started", "ended", "seconds", "user", "host", "device", "python", "packages", "git"} <= set(
        found["provenance"]
    )
    assert json.loads(Path(found["results_path"]).read_text()) == {"score": 10}
    assert found["run_dir"].endswith(f"runs/tuned/eval/{found['fingerprint'][:12]}")
    assert {stage: link(lab, stage) for stage in STAGES} == {
        stage: Path(result_in_file(lab, stage=stage)["run_dir"]) for stage in STAGES
    }
    assert set(states(lab).values()) == {"completed"}
    assert [header.event for header in lab.read().state.headers("tuned", "eval")] == ["intent", "started", "completed"]


def test_a_failing_stage_is_recorded_with_its_traceback(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    run(lab, ("curation", "training"))
    use_stages(monkeypatch, eval="fail")
    with pytest.raises(ValueError, match="no room for tuned"):
        run(lab, ("eval",))
    found = result_in_file(lab)
    assert (found["status"], found["error"]) == ("failed", "ValueError: no room for tuned")
    assert any("raise ValueError" in line for line in found["traceback"])
    assert Path(found["log"]).is_dir()
    assert not lab.outputs.link("tuned", "eval").exists()
    assert lab.statuses(lab.read(), "tuned")["eval"].reason == "ValueError: no room for tuned"
    assert reasons(plans(lab, ("eval",))) == [("run", "the last attempt failed")]
    use_stages(monkeypatch)
    run(lab, ("eval",))
    assert (result_in_file(lab)["status"], "error" in result_in_file(lab)) == ("completed", False)
    use_stages(monkeypatch, eval="give_up")
    with pytest.raises(StageFailure):
        run(lab, ("eval",), force=True)
    assert result_in_file(lab)["metrics"] == {"score": 10}
    assert result_in_file(lab)["last_attempt"]["error"] == "tuned: no row is left"
    assert "attempt 3 failed: tuned: no row is left" in lab.statuses(lab.read(), "tuned")["eval"].reason


def test_ctrl_c_is_recorded_as_cancelled(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    use_stages(monkeypatch, curation="interrupt")
    with pytest.raises(KeyboardInterrupt):
        run(lab, ("curation",))
    assert result_in_file(lab, stage="curation")["status"] == "cancelled"
    assert states(lab)["curation"] == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2], ids=lambda number: number.name)
def test_a_signal_while_the_result_is_being_saved_takes_it_from_nobody(
    lab: Registry, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    without_waiting(monkeypatch)
    before = signal.signal(number, signal.default_int_handler)
    try:
        for moment in itertools.count(1):
            job = claim(lab, plans(lab, ("eval",), name="base", force=True)[0])
            with Attempt(lab, job) as attempt:
                attempt.start()
                strike = interrupting_at(moment, lambda: os.kill(os.getpid(), number))
                with intercepted(strike):
                    attempt.complete(StageOutput({"score": moment}, {}, job.folder))
            assert lab.read().state.headers("base", "eval")[-1].event == "completed"
            if moment > len(calls_of(lambda job=job: job.save(lab, "completed", {}))):  # type: ignore[misc]
                break
    finally:
        signal.signal(number, before)


def test_a_result_that_is_no_json_fails_in_one_line(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    use_stages(monkeypatch, curation="diverge")
    with pytest.raises(StageFailure, match=r"its result cannot be recorded: \$\.metrics\.losses\[1\]: nan"):
        run(lab, ("curation",))
    assert result_in_file(lab, stage="curation")["status"] == "failed"


def test_a_file_that_changes_after_the_claim_is_refused(lab: Registry) -> None:
    (step,) = plans(lab, ("curation",))
    job = claim(lab, step)
    (lab.paths.file.parent / "train.jsonl").write_text("other\n")
    with pytest.raises(UsageError, match=r"curation changed since it was submitted \(dataset\.content .* -> .*\)"):
        run_job(job)
    assert entry(lab, "curation")["status"] == "failed"


def test_a_parents_raw_data_may_go_once_the_child_is_claimed(lab: Registry) -> None:
    run(lab, ("curation",))
    (step,) = plans(lab, ("training",))
    job = claim(lab, step)
    (lab.paths.file.parent / "train.jsonl").unlink()
    assert run_job(job) is not None
    assert entry(lab, "training")["metrics"] == {"rows": 10}


def test_a_parent_that_is_gone_when_the_job_starts_is_named(lab: Registry) -> None:
    steps = plans(lab, ("curation", "training"))
    with pytest.raises(MissingError, match=r"training needs curation with fingerprint .* has not completed; run"):
        run_job(claim(lab, steps[1]))
    run(lab, ("curation",))
    Path(entry(lab, "curation")["dataset_path"]).unlink()
    with pytest.raises(MissingError, match=r"names dataset_path .* which is not here; run curation again with --force"):
        run(lab, ("training",))


def test_the_link_follows_the_result_that_counts(lab: Registry) -> None:
    (slow,) = plans(lab, ("curation",))
    first = claim(lab, slow)
    edit(lab, curation={**CURATION, "n_samples": 20})
    run(lab, ("curation",))
    newest = link(lab, "curation")
    run_job(first)
    assert entry(lab, "curation")["attempt"] == 2
    assert link(lab, "curation") == newest


def test_a_real_folder_where_the_link_belongs_is_left_alone(lab: Registry, caplog: pytest.LogCaptureFixture) -> None:
    mine = lab.outputs.link("tuned", "curation")
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    with caplog.at_level(logging.WARNING, logger="meds1"):
        run(lab, ("curation",))
    assert (mine / "notes.txt").read_text() == "mine"
    assert f"{mine} is a folder of its own and is left as it is" in caplog.text


def test_a_link_that_cannot_be_set_costs_no_result(
    lab: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "output").write_text("a file, not a folder")
    with caplog.at_level(logging.WARNING, logger="meds1"):
        run(lab, ("curation",))
    assert result_in_file(lab, stage="curation")["status"] == "completed"
    assert "the result is saved, but its link is left as it was" in caplog.text


def test_a_registry_file_that_is_torn_meanwhile_costs_no_result(
    lab: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = lab.paths.file.read_text()
    use_stages(monkeypatch, curation="tear")
    with caplog.at_level(logging.WARNING, logger="meds1"):
        run(lab, ("curation",))
    assert "saved, but not yet in the registry file" in caplog.text
    lab.paths.file.write_text(whole)
    assert entry(lab, "curation")["metrics"] == {"rows": 10}


@pytest.mark.parametrize(("stage", "event"), [("lock_out", "completed"), ("lock_out_and_fail", "failed")])
def test_a_result_that_the_registry_cannot_take_is_kept_and_found_again(
    lab: Registry, monkeypatch: pytest.MonkeyPatch, stage: str, event: str
) -> None:
    use_stages(monkeypatch, curation=stage)
    with pytest.raises(StageFailure, match=r"it is kept in|no room for tuned"):
        run(lab, ["curation"])
    assert entry(lab, "curation")["status"] == event
    (lab.paths.inbox).unlink()
    lab.fold()
    assert result_in_file(lab, stage="curation")["status"] == event
    assert not list(lab.outputs.cache.rglob("records/*.json"))


def test_outputs_that_cannot_be_written_are_one_line(
    lab: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "file"))
    blocked = Registry(lab.paths, lab.catalog_path)
    with pytest.raises(StageFailure, match=r"tuned: .*: Not a directory; check CACHE_DIR and its permissions"):
        run(blocked, ("curation",))
    monkeypatch.delenv("CACHE_DIR")
    with pytest.raises(UsageError, match=r"CACHE_DIR is not set: run `source config\.sh` first"):
        plans(Registry(lab.paths, lab.catalog_path))


def test_a_full_disk_at_the_claim_is_one_line(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    (step,) = plans(lab, ("curation",))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StageFailure, match=r"tuned: .*: No space left on device; check CACHE_DIR"):
        claim(lab, step)
    assert lab.read().state.headers("tuned", "curation") == []


def test_a_job_file_is_all_that_a_job_needs(lab: Registry) -> None:
    (step,) = plans(lab, ("curation",))
    job = claim(lab, step)
    edit(lab, curation={**CURATION, "n_samples": 20})
    assert load_job(job.file) == job
    run_job(load_job(job.file))
    assert entry(lab, "curation")["metrics"] == {"rows": 10}
    assert states(lab)["curation"] == "stale"
    with pytest.raises(MissingError, match=r"job\.json: no such job file; submit the stage again"):
        load_job(job.folder / "gone" / "job.json")
    job.file.write_text("{}")
    with pytest.raises(UsageError, match="not a job file"):
        load_job(job.file)


def test_only_rank_0_records(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    (step,) = plans(lab, ("curation",))
    job = claim(lab, step)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_job(job) is None
    assert [header.event for header in lab.read().state.headers("tuned", "curation")] == ["intent"]


def test_a_requeued_job_is_a_restart_of_its_attempt(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    (step,) = plans(lab, ("curation",))
    job = claim(lab, step)
    lab.save(job.record("started", {"job": {"cluster": "slurm", "id": "77"}}))
    zombie = job.record("completed", {"metrics": {"rows": -1}})
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run_job(job)
    lab.save(zombie)
    found = entry(lab, "curation")
    assert (found["attempt"], found["restart"], found["metrics"]) == (1, 1, {"rows": 10})


def test_a_requeue_of_an_attempt_that_has_completed_changes_nothing(
    lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = claim(lab, plans(lab, ("curation",))[0])
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    run_job(job)
    before = lab.paths.file.read_bytes()
    use_stages(monkeypatch, curation="fail")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    child = multiprocessing.get_context("fork").Process(target=run_in_slurm, args=(str(job.file),))
    child.start()  # in a process of its own, whose signal handlers it replaces
    child.join()
    assert child.exitcode == 0
    assert lab.paths.file.read_bytes() == before
    assert [header.restart for header in lab.read().state.headers("tuned", "curation")] == [0, 0, 0]


def test_a_damaged_record_of_the_past_keeps_nobody_from_running(lab: Registry) -> None:
    run(lab, ("curation",))
    edit(lab, curation={"method": "random", "n_samples": 3})
    run(lab, ("curation",))
    (old,) = lab.paths.applied.glob("tuned~curation~00001-000~completed~*")
    old.write_text("torn")
    edit(lab, curation={"method": "random", "n_samples": 10})
    assert run(lab, ("curation",)) == ["run"]


def test_a_killed_stage_leaves_a_failed_record(lab: Registry) -> None:
    """The stage's own process hangs on a data file that is a pipe nobody writes to, and is killed there."""
    (step,) = plans(lab, ("curation",))
    job = claim(lab, step)
    data = lab.paths.file.parent / "train.jsonl"
    data.unlink()
    os.mkfifo(data)
    killer = threading.Thread(target=lambda: os.kill(pid_of(job), signal.SIGKILL))
    killer.start()
    with pytest.raises(StageFailure, match=r"tuned: curation did not complete \(attempt 1\b"):
        run_here(job)
    killer.join()
    found = result_in_file(lab, stage="curation")
    assert (found["status"], found["attempt"]) == ("failed", 1)
    assert found["error"] == "the process ended with signal SIGKILL and left no record"


def pid_of(job: Job) -> int:
    """The process of an attempt, once it says that it has started."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        headers = job.open().read().state.headers(job.experiment, job.stage)
        started = [header for header in headers if header.event == "started"]
        if started:
            return int(started[0].job["pid"])
        time.sleep(0.05)
    raise AssertionError("the stage has not started")


def test_a_stage_that_stops_leaves_no_end(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    use_stages(monkeypatch, curation="stop")
    with pytest.raises(StageStopped):
        run(lab, ("curation",))
    assert [header.event for header in lab.read().state.headers("tuned", "curation")] == ["intent", "started"]


def test_a_second_attempt_keeps_out_of_a_run_directory_in_use(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.attempt, "_LOCK_SECONDS", 0.1)
    job = claim(lab, plans(lab, ("curation",))[0])
    with FileLock(Path(job.run_dir) / ".lock"), pytest.raises(StageFailure, match="another attempt is at work"):
        run_job(job)
    assert entry(lab, "curation")["status"] == "failed"
    assert run(lab, ("curation",)) == ["run"]


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK], ids=errno.errorcode.get)
def test_where_there_are_no_locks_what_a_dead_host_left_behind_keeps_nobody_out(
    lab: Registry, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    monkeypatch.setattr(registry.attempt, "_LOCK_SECONDS", 0.1)
    job = claim(lab, plans(lab, ("curation",))[0])
    (Path(job.run_dir) / ".lock").write_text("99999\nnode-that-died\n")
    with intercepted(Failing(error, lambda call, _: call.name == "flock")):
        run_job(job)
    assert entry(lab, "curation")["status"] == "completed"


def test_the_failure_of_another_rank_is_what_is_recorded(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    job = claim(lab, plans(lab, ("curation",))[0])
    use_stages(monkeypatch, curation="fail")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="no room"):
        run_job(job)
    use_stages(monkeypatch, curation="interrupt")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(KeyboardInterrupt):
        run_job(job)
    found = entry(lab, "curation")
    assert (found["status"], found["error"]) == ("failed", "another rank failed: ValueError: no room for tuned")


def test_a_registry_of_newer_code_runs_nothing(lab: Registry) -> None:
    document = json.loads(lab.paths.file.read_text())
    lab.paths.file.write_bytes(render({"format": 2, **document}))
    with pytest.raises(UsageError, match="newer"):
        plans(lab)
