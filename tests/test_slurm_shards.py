"""A curation that is spread over an array of shards and a merge, on a real Slurm."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.job import Job, load_job
from registry.schema import STAGES
from tests.cluster.throwaway import Cluster
from tests.lab import make_lab
from tests.quick_lab import (
    AFTER,
    HELD,
    QuickLab,
    make_quick_lab,
    on_cluster,
    queue,
    quick_config,
    unfinished,
    until,
    wait_for_jobs,
    with_sbatch,
    words,
)
from tests.small_lab import answer_of, edit_json

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]


@pytest.fixture
def lab(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    with on_cluster(sharded(tmp_path / "lab")) as lab:
        yield lab


@pytest.fixture
def held(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    """A lab whose jobs stay in the queue."""
    with on_cluster(sharded(tmp_path / "lab", HELD)) as lab:
        yield lab


def sharded(folder: Path, slurm: dict[str, Any] | None = None) -> QuickLab:
    """Experiment `a` has three shards, `b` and `c` have none."""
    lab = make_quick_lab(folder, "abc", slurm)
    spread(lab, 3)
    return lab


def spread(lab: QuickLab, shards: int) -> None:
    lab.edit("a", curation={**quick_config(0)["curation"], "shards": shards})


def tell(lab: QuickLab, **orders: str) -> None:
    """Tell shards of `a` what to do: `_1="fail"`."""
    for shard, order in orders.items():
        (lab.orders / f"a.shard-{shard.removeprefix('_')}").write_text(order)


def let_go(lab: QuickLab, shard: int) -> None:
    (lab.orders / f"a.shard-{shard}").unlink()


def shown(lab: QuickLab) -> dict[str, Any]:
    """What status says of the curation of `a`, by an answer of its own."""
    lab.registry.paths.queue.unlink(missing_ok=True)
    found: dict[str, Any] = lab.ask("status", "a")["a"]["curation"]
    return found


def standing(lab: QuickLab) -> tuple[str, str]:
    """The state of the curation of `a`, and why."""
    found = shown(lab)
    return found["status"], found["reason"]


def has_begun(lab: QuickLab, shard: int) -> bool:
    """Whether a shard is at work, and not only a job that Slurm has started."""
    return f"this is shard {shard}\n" in lab.meds1("logs", "a", "curation", code=None).stdout


def all_words(lab: QuickLab) -> list[str]:
    """The states of the three stages of `a`, by an answer of its own."""
    lab.registry.paths.queue.unlink(missing_ok=True)
    return words(lab, "a")["a"]


def events(lab: QuickLab) -> list[str]:
    return [header.event for header in lab.headers("a", "curation")]


def job_of(lab: QuickLab, attempt: int = 1) -> Job:
    (file,) = (lab.folder / "cache" / "runs" / "a" / "curation").glob(f"*/attempts/{attempt}/job.json")
    return load_job(file)


def elements(lab: QuickLab, array: str) -> list[str]:
    return sorted(job for job in unfinished(lab) if job.startswith(f"{array}_"))


def test_shards_come_before_the_merge_and_it_before_the_training(lab: QuickLab) -> None:
    tell(lab, _1="wait")

    jobs = lab.ask("submit", "a")["jobs"]

    array = jobs[0]["shards_id"]
    two_done = ("running", f"job {jobs[0]['job_id']}: 2 of 3 shards done (job {array})")
    until(lambda: standing(lab) == two_done, "two shards are done and one runs")
    assert elements(lab, array) == [f"{array}_1"]
    assert "shard 2| this is shard 2" in lab.meds1("logs", "a", "curation").stdout
    again = lab.meds1("submit", "a", code=1)
    assert f"(job {jobs[0]['job_id']})" in again.stdout + again.stderr
    let_go(lab, 1)
    wait_for_jobs(lab)
    assert all_words(lab) == ["completed"] * 3, lab.logs()
    assert events(lab) == ["intent", "submitted", "started", "completed"]
    assert sorted(path.name for path in (lab.folder / "cache" / "shared").iterdir()) == [f"{i} of 3" for i in range(3)]
    (submission,) = (lab.folder / "cache" / "submissions").glob("*-shards")
    assert (submission / "attempt").resolve() == job_of(lab).folder  # by this link `meds1 gc` knows whose it is
    assert lab.submit("a") == {}


def test_one_failed_shard_fails_the_attempt_once_and_ends_the_others(lab: QuickLab) -> None:
    tell(lab, _0="wait", _1="wait", _2="wait")
    jobs = lab.ask("submit", "a")["jobs"]
    array = jobs[0]["shards_id"]
    until(lambda: all(has_begun(lab, shard) for shard in range(3)), "the shards are at work")
    assert shown(lab)["status"] == "running"

    tell(lab, _1="fail", _2="break")

    wait_for_jobs(lab)
    assert all_words(lab) == ["failed", "cancelled", "cancelled"], lab.logs()
    assert events(lab) == ["intent", "submitted", "failed"]
    entry = lab.results("a")["curation"]
    assert entry["error"] in ("shard 1: a: told to fail", "shard 2: ValueError: a mistake")
    failed = int(entry["error"][6])
    assert entry["log"] == str(job_of(lab).folder / "shards" / str(failed))
    assert entry["job"]["id"] == f"{array}_{failed}"
    said = lab.meds1("logs", "a", "curation").stdout
    assert "shard 0| " in said
    assert f"shard {failed}| " in said
    for shard in range(3):
        let_go(lab, shard)
    assert len(lab.submit("a")) == 3
    wait_for_jobs(lab)
    assert all_words(lab) == ["completed"] * 3, lab.logs()


@pytest.mark.full
def test_a_shard_that_dies_without_a_word_is_named(lab: QuickLab) -> None:
    tell(lab, _1="die")

    array = lab.ask("submit", "a")["jobs"][0]["shards_id"]

    wait_for_jobs(lab)
    found = shown(lab)
    assert (found["status"], f"its shard {array}_1 ended as FAILED" in found["reason"]) == ("failed", True), found
    assert all_words(lab)[1:] == ["cancelled"] * 2


def test_cancel_ends_the_shards_that_run_and_those_that_wait(lab: QuickLab) -> None:
    tell(lab, _0="wait")
    jobs = lab.ask("submit", "a", "--max-parallel", "1")["jobs"]
    array = jobs[0]["shards_id"]
    until(lambda: shown(lab)["status"] == "running", "a shard runs")
    assert elements(lab, array) == [f"{array}_{shard}" for shard in range(3)]

    said = lab.meds1("cancel", "a", "--yes").stdout

    assert f"curation (job {jobs[0]['job_id']} and its shards {array}, waits" in said
    wait_for_jobs(lab)
    assert all_words(lab) == ["cancelled"] * 3
    assert events(lab) == ["intent", "submitted", "cancelled"]


def test_a_shard_that_is_requeued_goes_on(lab: QuickLab) -> None:
    tell(lab, _1="wait")
    array = lab.ask("submit", "a")["jobs"][0]["shards_id"]
    until(lambda: has_begun(lab, 1), "the shard is at work and hears signals")

    subprocess.run(["scancel", "--signal=USR2", f"{array}_1"], check=True)

    until(lambda: "back in the queue (restart 1)" in lab.meds1("logs", "a", "curation").stdout, "the shard stops")
    let_go(lab, 1)
    wait_for_jobs(lab)
    assert all_words(lab) == ["completed"] * 3, lab.logs()
    assert events(lab) == ["intent", "submitted", "started", "completed"]


@pytest.mark.full
def test_a_shard_comes_back_no_more_often_than_it_may(lab: QuickLab) -> None:
    tell(lab, _1="wait")
    array = lab.ask("submit", "a", "--set", "slurm.curation.max_requeues=0")["jobs"][0]["shards_id"]
    until(lambda: has_begun(lab, 1), "the shard is at work and hears signals")

    subprocess.run(["scancel", "--signal=USR2", f"{array}_1"], check=True)

    wait_for_jobs(lab)
    assert all_words(lab) == ["failed", "cancelled", "cancelled"]
    error = lab.results("a")["curation"]["error"]
    assert error.startswith("shard 1: a: shard 1 stopped while it waited")
    assert "it has come back as often as it may (slurm.curation.max_requeues is 0)" in error


def test_a_command_killed_between_shards_and_merge_leaves_no_shards(held: QuickLab) -> None:
    killed(held, 1)
    lost = unfinished(held)
    assert len(lost) == 3

    jobs = held.ask("submit", "a")["jobs"]

    left = unfinished(held)
    assert not set(lost) & set(left)
    assert sorted(left) == sorted([*(job["job_id"] for job in jobs), *elements(held, jobs[0]["shards_id"])])
    assert len(left) == 6


def test_a_command_killed_after_the_merge_was_accepted_is_found_with_its_shards(held: QuickLab) -> None:
    killed(held, 2)
    before = unfinished(held)
    assert len(before) == 4

    jobs = held.submit("a")

    assert set(jobs) == {("a", "training"), ("a", "eval")}
    last = held.headers("a", "curation")[-1]
    assert sorted([last.job["id"], *elements(held, last.job["shards"]["id"])]) == sorted(before)
    held.meds1("cancel", "a", "--yes")
    assert unfinished(held) == []


def killed(lab: QuickLab, call: int) -> None:
    """Let `submit` be killed after Slurm has accepted its `call`-th job."""
    broken = with_sbatch(lab, AFTER.format(call=call))
    assert broken.run([str(lab.code / "bin" / "meds1"), "submit", "a"], None).returncode == -signal.SIGKILL


def test_a_merge_that_is_refused_takes_its_shards_back(held: QuickLab) -> None:
    broken = with_sbatch(held, '[ $call != 2 ] || { echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; }')

    done = broken.meds1("submit", "a", code=2)

    assert "sbatch refused curation: QOSMaxSubmitJobPerUserLimit" in done.stderr
    assert unfinished(held) == []
    assert events(held) == ["intent", "cancelled"]


def test_a_sharded_curation_among_others_and_by_force(held: QuickLab) -> None:
    jobs = held.submit("a", "b", "c", "--stage", "curation")

    assert jobs["b", "curation"].endswith("_0")
    assert jobs["c", "curation"].endswith("_1")
    assert len(unfinished(held)) == 3 + 1 + 2
    merge = next(job for job in queue(held) if job["JobId"] == jobs["a", "curation"])
    before = held.headers("a", "curation")[-1].job["shards"]
    assert before["count"] == 3
    waits = f"job {merge['JobId']}: 0 of 3 shards done (job {before['id']}), waits for its time to begin"
    # Between two passes of its scheduler Slurm may name no reason for a moment.
    until(lambda: standing(held) == ("submitted", waits), "status says what the shards wait for")
    assert f"afterok:{before['id']}_*" in merge["Dependency"]
    again = held.ask("submit", "a", "--stage", "curation", "--force")["jobs"][0]
    assert again["shards_id"] != before["id"]
    assert elements(held, before["id"]) == []
    assert len(unfinished(held)) == 3 + 1 + 2


def test_a_dry_run_shows_both_scripts_and_only_the_shards_have_gpus(held: QuickLab) -> None:
    edit_json(held.folder / "config.json", lambda catalog: catalog["slurm"].update(curation_cpu={"cpus": 2}))

    gpus = ("--set", "slurm.curation.gpus=2")
    scripts = held.ask("submit", "a", "--dry-run", "--stage", "curation", *gpus)["sbatch"]

    array, merge = scripts["a.curation (3 shards)"], scripts["a.curation"]
    assert "#SBATCH --array=0-2%3" in array
    assert "#SBATCH --gpus-per-node=2" in array
    assert "--array" not in merge
    assert "gpus" not in merge
    assert "#SBATCH --cpus-per-task=2" in merge
    assert unfinished(held) == []


def test_more_shards_than_an_array_may_have_are_one_clear_line(held: QuickLab) -> None:
    spread(held, 1_000_000)

    done = held.meds1("submit", "a", code=2)

    assert "a: curation.shards is 1000000, but an array here has at most" in done.stderr
    assert unfinished(held) == []


def test_a_run_here_says_in_one_line_that_shards_are_left_out(lab: QuickLab) -> None:
    done = lab.meds1("run", "a", "--stage", "curation")

    assert done.stderr.count("curation.shards is 3: only `meds1 submit` to Slurm spreads the work") == 1
    assert all_words(lab)[0] == "completed"


@pytest.mark.full
def test_background_processes_say_so_too(lab: QuickLab) -> None:
    done = lab.meds1("submit", "a", "--stage", "curation", "--cluster", "local")

    assert done.stderr.count("curation.shards is 3: only `meds1 submit` to Slurm spreads the work") == 1
    until(lambda: lab.headers("a", "curation")[-1].event == "completed", "the process here has ended")


@pytest.mark.full
def test_a_sharded_curation_makes_the_same_bytes(slurm_cluster: Cluster, tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", {stage: {"cpus": 1} for stage in STAGES})
    curation = json.loads((lab.folder / "results.json").read_text())["experiments"]["second"]["config"]["curation"]
    lab.meds1("run", "second", "--stage", "curation")
    made = contents(Path(lab.results("second")["curation"]["run_dir"]))
    lab.edit("second", curation={**curation, "shards": 3})

    assert answer_of(lab, "submit", "second", "--stage", "curation")["data"]["jobs"] == []  # shards decide no outcome
    lab.meds1("submit", "second", "--stage", "curation", "--force")

    lab.wait("second", "curation")
    entry = lab.results("second")["curation"]
    assert (entry["status"], entry["attempt"]) == ("completed", 2), lab.logs()
    assert contents(Path(entry["run_dir"])) == made
    assert len(list(Path(entry["run_dir"]).glob("attempts/2/shards/*/*_log.err"))) == 3


def contents(run_dir: Path) -> dict[str, bytes]:
    """The outputs in a run directory."""
    files = [path for path in run_dir.rglob("*") if path.is_file() and "attempts" not in path.parts]
    return {str(path.relative_to(run_dir)): path.read_bytes() for path in files if path.name != ".lock"}
