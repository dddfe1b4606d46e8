"""`meds1 submit --force`: what waits or runs is cancelled, and the same is submitted anew; `--wait`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.throwaway import Cluster
from tests.quick_lab import HELD, QuickLab, make_quick_lab, on_cluster, queue, unfinished, until, wait_for_jobs, words

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]


@pytest.fixture
def lab(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    with on_cluster(make_quick_lab(tmp_path / "lab", ("a", "b"))) as lab:
        yield lab


@pytest.fixture
def held(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    with on_cluster(make_quick_lab(tmp_path / "lab", ("a", "b", "c"), HELD)) as lab:
        yield lab


def test_queued_jobs_are_replaced_by_new_ones(held: QuickLab) -> None:
    first = held.submit("a", "b")

    second = held.submit("a", "--force")

    assert set(second) == {("a", stage) for stage in ("curation", "training", "eval")}
    assert not set(first.values()) & set(second.values())
    left = set(unfinished(held))
    assert left == {*second.values(), *(job for (name, _), job in first.items() if name == "b")}
    assert words(held, "a")["a"] == ["submitted"] * 3


def test_a_running_job_ends_before_the_new_one_starts(lab: QuickLab) -> None:
    lab.tell("a", "curation", "wait")
    old = lab.submit("a")["a", "curation"]
    until(lambda: lab.headers("a", "curation")[-1].event == "started", "the curation has started")

    new = lab.submit("a", "--stage", "curation", "--force")["a", "curation"]

    waiting = {job["JobId"]: job["Dependency"] for job in queue(lab)}[new]
    assert waiting == "(null)" or waiting.startswith(f"afterany:{old}")  # it may have ended by now
    until(lambda: old not in unfinished(lab), "the old job has ended: what is told to go on may complete")
    lab.let_go("a", "curation")
    wait_for_jobs(lab)
    ends = {header.attempt: header.event for header in lab.headers("a", "curation")}
    assert ends == {1: "cancelled", 2: "completed"}, lab.logs()


def test_wait_returns_when_all_jobs_have_ended_and_names_what_failed(lab: QuickLab) -> None:
    lab.tell("b", "training", "fail")

    said = lab.meds1("submit", "a", "b", "--wait", code=1)

    assert words(lab, "a", "b") == {"a": ["completed"] * 3, "b": ["completed", "failed", "cancelled"]}
    assert "b: training: job" in said.stderr
    assert "b: eval: job" in said.stderr
    assert "a: " not in said.stderr.replace("data: ", "")


def test_nothing_is_cancelled_for_what_sbatch_would_refuse(held: QuickLab) -> None:
    jobs = held.submit("a")

    shown = held.meds1("submit", "a", "--force", "--dry-run").stdout
    refused = held.meds1("submit", "a", "--force", "--set", "slurm.eval.partition=nowhere", code=2)

    assert f"would cancel a: curation (job {jobs['a', 'curation']}, waits" in shown
    assert "sbatch refused eval: invalid partition specified: nowhere" in refused.stderr
    assert set(unfinished(held)) == set(jobs.values())
