"""`meds1 cancel`: what it ends, what goes with it, whom it asks, and what is left in the records."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.provenance import process_start
from tests.cluster import throwaway
from tests.cluster.throwaway import Cluster
from tests.lab import Lab
from tests.quick_lab import QuickLab, make_quick_lab, on_cluster, until
from tests.small_lab import answer_of, make_small_lab, save

HELD = "slurm.curation.extra.hold=true"
STAGES = ["curation", "training", "eval"]


@pytest.fixture
def lab(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    until(lambda: queued() == 0, "the jobs of other tests have ended")  # a cancelled one takes its time
    with on_cluster(make_quick_lab(tmp_path / "lab", ("first", "second"))) as lab:
        yield lab


def queued() -> int:
    """How many jobs wait or run."""
    listed = subprocess.run(["squeue", "--noheader", "--array"], capture_output=True, text=True, check=True)
    return len(listed.stdout.splitlines())


@pytest.mark.slurm
def test_a_waiting_chain_is_cancelled_and_recorded_as_such(lab: QuickLab) -> None:
    lab.meds1("submit", "first", "second", "--set", HELD)

    dry = lab.meds1("cancel", "first", "--dry-run").stdout
    assert dry.startswith("would cancel first: curation (job ")
    assert "waits for root" in dry
    assert "nobody to ask: use --yes" in lab.meds1("cancel", "first", code=2).stderr
    assert queued() == 6

    done = answer_of(lab, "cancel", "first", "--yes")["data"]

    assert [job["stage"] for job in done["jobs"]] == STAGES
    assert queued() == 3
    for stage in STAGES:
        entry = lab.results("first")[stage]
        assert (entry["status"], entry["error"]) == ("cancelled", "cancelled by root before it started")
    assert lab.meds1("cancel", "first", "--yes").stdout == "nothing to cancel\n"
    lab.meds1("cancel", "--all", "--yes")
    assert queued() == 0


@pytest.mark.slurm
def test_a_stage_takes_with_it_those_that_wait_for_it_and_no_others(lab: QuickLab) -> None:
    lab.meds1("submit", "first", "--set", HELD)

    assert [job["stage"] for job in answer_of(lab, "cancel", "first", "--stage", "eval", "--yes")["data"]["jobs"]] == [
        "eval"
    ]
    jobs = answer_of(lab, "cancel", "f*", "--stage", "curation", "--yes")["data"]["jobs"]
    assert [job["stage"] for job in jobs] == ["curation", "training"]
    assert queued() == 0


@pytest.mark.slurm
@pytest.mark.timeout(300)
def test_a_running_job_ends_and_says_so(lab: QuickLab) -> None:
    lab.tell("base", "eval", "wait")
    lab.submit("base")
    until(lambda: lab.headers("base", "eval")[-1].event == "started", "the job runs")

    done = lab.meds1("cancel", "base", "--yes").stdout

    assert "runs for root" in done

    def status() -> str:
        lab.registry.paths.queue.unlink(missing_ok=True)
        return str(lab.ask("status", "base")["base"]["eval"]["status"])

    until(lambda: status() == "cancelled", "the job is cancelled")


@pytest.mark.slurm
def test_nothing_is_recorded_where_slurm_does_not_answer(lab: QuickLab, slurm_cluster: Cluster) -> None:
    lab.meds1("submit", "first", "--stage", "curation", "--set", HELD)

    with throwaway.controller_down(slurm_cluster):
        done = lab.meds1("cancel", "first", "--yes", code=3)

    assert "nothing cancelled: squeue does not answer" in done.stderr
    assert lab.registry.read().state.headers("first", "curation")[-1].event == "submitted"


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose attempts are records alone."""
    return make_small_lab(tmp_path / "lab", monkeypatch)


def test_a_process_of_this_machine_is_told_to_end_and_one_of_another_is_not_touched(records: Lab) -> None:
    with subprocess.Popen(["sleep", "600"]) as running:
        start = process_start(running.pid)
        here = {"cluster": "here", "host": socket.gethostname(), "pid": running.pid, "start": start, "user": "root"}
        save(records, "base", "eval", "started", job=here)
        save(records, "tuned", "curation", "started", job={**here, "host": "elsewhere"})

        done = records.meds1("cancel", "--all", "--yes", "--json", code=1)

        assert running.wait(30) == -15
    body = json.loads(done.stdout)
    assert [job["experiment"] for job in body["data"]["jobs"]] == ["base", "tuned"]
    assert "tuned: curation: job " in body["error"]["message"]
    assert "it runs on elsewhere; cancel it there" in body["error"]["message"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_job_is_only_his_to_cancel(records: Lab) -> None:
    save(records, "base", "eval", "started", job={"cluster": "here", "host": "elsewhere", "pid": 1, "user": "alice"})
    caps = "+dac_override,+dac_read_search"  # the test's folders are closed to others
    stranger = ["setpriv", "--reuid=65534", "--clear-groups", f"--inh-caps={caps}", f"--ambient-caps={caps}"]

    done = records.run([*stranger, "bin/meds1", "cancel", "base", "--yes"], None)

    assert done.returncode == 1, done.stderr
    assert "base: eval: job 1 belongs to alice, who alone can cancel it" in done.stderr
