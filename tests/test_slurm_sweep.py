"""Sweeps on a real Slurm: arrays of many experiments, what becomes of one that fails, and two commands at once."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.job import claim_all
from registry.plan import Wish, plan
from registry.provenance import user_name
from registry.schema import STAGES
from slurm.chains import chains_of, grouped
from slurm.overview import flying_parents
from slurm.submit import Submission, calls_of, submit_group, submitter
from tests.cluster.throwaway import Cluster, fresh
from tests.quick_lab import HELD, QuickLab, make_quick_lab, on_cluster, queue, unfinished, until, wait_for_jobs, words
from tests.small_lab import add

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

THIRTY = [f"e{number:02d}" for number in range(30)]


@pytest.fixture(scope="module")
def thirty(slurm_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuickLab]:
    """Thirty experiments, submitted by one command and run to the end; the training of one has failed."""
    lab = make_quick_lab(tmp_path_factory.mktemp("thirty") / "lab", THIRTY)
    lab.tell("e07", "training", "fail")
    with on_cluster(lab):
        lab.submit("e*", "--max-parallel", "12")
        throttles = {job["JobName"]: job["ArrayTaskThrottle"] for job in queue(lab) if "ArrayTaskThrottle" in job}
        assert throttles == {f"meds1.{stage}": "12" for stage in STAGES}
        wait_for_jobs(lab)
        yield lab


@pytest.fixture
def held(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    """A lab whose jobs stay in the queue."""
    with on_cluster(make_quick_lab(tmp_path / "lab", ("a", "b", "c", "d"), HELD)) as lab:
        yield lab


@pytest.fixture
def lab(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    with on_cluster(make_quick_lab(tmp_path / "lab", ("a", "b", "c", "d"))) as lab:
        yield lab


def test_one_of_thirty_fails_and_holds_up_no_other(thirty: QuickLab) -> None:
    said = words(thirty)

    assert said["e07"] == ["completed", "failed", "cancelled"]
    assert [said[name] for name in THIRTY if name != "e07"] == [["completed"] * 3] * 29, thirty.logs()
    made = Path(thirty.results("e03")["eval"]["predictions_path"])
    assert made.read_text() == "curation\ntrain\neval\n"


def test_status_names_the_cause_of_a_child_that_never_ran(thirty: QuickLab) -> None:
    stages = thirty.ask("status", "e07")["e07"]

    assert stages["training"]["reason"] == "e07: told to fail"
    assert stages["eval"]["reason"] == "training failed (attempt 1)"
    (child,) = (job for job in queue(thirty) if job["JobName"] == "meds1.eval" and job.get("ArrayTaskId") == "7")
    assert (child["JobState"], child["Reason"]) == ("CANCELLED", "DependencyNeverSatisfied")


def test_every_attempt_keeps_its_logs_and_a_submission_only_its_script_and_links(thirty: QuickLab) -> None:
    cache = thirty.folder / "cache"
    for name in THIRTY:
        for stage in STAGES:
            if (name, stage) == ("e07", "eval"):
                continue
            array, _, index = thirty.headers(name, stage)[-1].job["id"].partition("_")
            (attempt,) = (cache / "runs" / name / stage).glob("*/attempts/*")
            names = {file.name for file in attempt.iterdir() if file.is_file()}
            assert {"job.json", f"{array}_{index}_0_log.out", f"{array}_{index}_0_log.err"} <= names
            assert len([file for file in names if file.endswith(("_log.out", "_log.err"))]) == 2
    for submission in (cache / "submissions").iterdir():
        files = [entry.name for entry in submission.iterdir() if not entry.is_symlink()]
        assert len(files) == 1
        assert files[0].endswith(".sh")


def test_experiments_share_arrays_by_their_due_stages_and_resources(held: QuickLab) -> None:
    held.edit("d", slurm={"training": {"cpus": 2}})

    jobs = held.submit("--all")

    arrays = {stage: {jobs[name, stage].partition("_")[0] for name in "abc"} for stage in STAGES}
    assert [len(ids) for ids in arrays.values()] == [1, 1, 1]
    assert [jobs[name, "curation"].partition("_")[2] for name in "abc"] == ["0", "1", "2"]
    assert not any("_" in jobs[key] for key in [("base", "eval"), *(("d", stage) for stage in STAGES)])
    waits = dependencies(held)
    (curation,), (training,), (evaluation,) = (tuple(arrays[stage]) for stage in STAGES)
    assert waits[training] == f"aftercorr:{curation}_*"
    assert waits[evaluation] == f"aftercorr:{training}_*"
    assert waits[jobs["d", "training"]] == f"afterok:{jobs['d', 'curation']}"
    assert waits[jobs["d", "eval"]] == f"afterok:{jobs['d', 'training']}"
    assert waits[jobs["base", "eval"]] == waits[curation] == ""
    assert len(waits) == 7  # sbatch calls


def test_a_dry_run_shows_the_arrays_and_their_throttle(held: QuickLab) -> None:
    scripts = held.ask("submit", "a", "b", "c", "--max-parallel", "2", "--dry-run")["sbatch"]

    assert len(scripts) == 3
    assert all("#SBATCH --array=0-2%2\n" in script for script in scripts.values())


def dependencies(lab: QuickLab) -> dict[str, str]:
    """What every job or array waits for, by the id that sbatch gave it."""
    found = {}
    for job in queue(lab):
        waits = job["Dependency"].partition("(")[0]
        found[job.get("ArrayJobId", job["JobId"])] = "" if waits == "" else waits
    return found


def test_a_fresh_stage_is_left_out_with_its_reason(lab: QuickLab) -> None:
    lab.submit("a", "--stage", "curation")
    lab.wait("a", "curation")

    done = lab.meds1("submit", "a", "b")

    assert "a: curation: completed and fresh" in done.stdout
    assert "a: training: job" in done.stdout
    wait_for_jobs(lab)
    assert words(lab, "a", "b") == {"a": ["completed"] * 3, "b": ["completed"] * 3}
    assert [header.attempt for header in lab.headers("a", "curation") if header.event == "started"] == [1]


def test_a_stage_waits_for_its_element_of_an_array_that_is_still_in_flight(held: QuickLab) -> None:
    parents = held.submit("a", "b", "c", "--stage", "curation")

    all_of_them = held.submit("a", "b", "c", "--stage", "training")
    some = held.submit("a", "c", "--stage", "eval")

    waits = dependencies(held)
    array = all_of_them["a", "training"].partition("_")[0]
    assert waits[array] == f"aftercorr:{parents['a', 'curation'].partition('_')[0]}_*"
    assert waits[some["a", "eval"]] == f"afterok:{array}_0"
    assert waits[some["c", "eval"]] == f"afterok:{array}_2"


def test_what_is_in_the_queue_is_refused_with_its_job_id(held: QuickLab) -> None:
    jobs = held.submit("a", "b")

    again = held.meds1("submit", "a", "b", code=1)
    held.meds1("submit", "[ab]")  # a sweep says it and goes on

    for (_, stage), job in jobs.items():
        assert f"{stage}: attempt 1 is submitted (job {job})" in again.stderr
    assert len(unfinished(held)) == len(jobs)


def test_two_commands_at_once_submit_every_stage_once(held: QuickLab) -> None:
    for number in range(5):
        names = more_experiments(held, f"r{number}", 6)

        both = [start_submit(held, f"r{number}-*") for _ in range(2)]

        said = [process.communicate() for process in both]
        assert {process.returncode for process in both} <= {0, 3}, said
        assert_each_stage_was_submitted_once(held, names)
        text = "".join(part for pair in said for part in pair)
        assert "is being submitted by" in text or text.count("is submitted (job") == 18


def test_a_command_waits_for_one_that_claimed_before_it_and_has_not_said_so(held: QuickLab) -> None:
    for number in range(20):
        names = more_experiments(held, f"r{number}", 40)
        slow = start_submit(held, f"r{number}-*")
        records = held.folder / ".registry"
        while not (records / "attempts" / names[0] / "curation" / "1").exists():
            assert slow.poll() is None
        slow.send_signal(signal.SIGSTOP)
        early = not any(records.glob(f"inbox/r{number}-*"))
        try:
            if early:
                quick = start_submit(held, f"r{number}-*")
                until(lambda: any(records.glob(f"inbox/{names[-1]}~eval~*~intent~*")), "the second has its intents")  # noqa: B023
                time.sleep(1)
                assert quick.poll() is None
        finally:
            slow.send_signal(signal.SIGCONT)
        slow.communicate()
        if early:
            said = quick.communicate()[1]
            assert f"{names[0]}: curation: attempt 1 is being submitted by {user_name()}" in said
            assert_each_stage_was_submitted_once(held, names)
            return
    raise AssertionError("no command could be stopped between a claim and its intent")


def test_an_array_that_follows_another_is_not_submitted_in_part(
    held: QuickLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CACHE_DIR", "MED_S1K_OUTPUT"):
        monkeypatch.setenv(name, held.environment[name])
    held.submit("[a-d]", "--stage", "curation")
    registry, view = held.registry, held.registry.read()
    chains = []
    for name in "abcd":
        plans = plan(registry, view, name, Wish(("training",), may_wait=True), lambda header: False)
        chains += chains_of(plans, flying_parents(view, plans, lambda header: False), {})
    (group,) = grouped(chains, 1000)
    assert group.follows_array
    claim_all(registry, chains[1].plans, held.code, submitter(cluster="slurm", token="another command's"))

    outcome = submit_group(Submission(registry, view, held.code), group, calls_of(group, held.code, None))

    assert (outcome.submitted, set(outcome.left)) == ((), set("abcd"))
    assert len(unfinished(held)) == 4  # the curations
    assert {held.headers(name, "training")[-1].event for name in "acd"} == {"cancelled"}


def more_experiments(lab: QuickLab, prefix: str, count: int) -> list[str]:
    """Add experiments that are like no other."""
    names = [f"{prefix}-{number:02d}" for number in range(count)]
    for name in names:
        seed = int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)
        add(lab, name, "a", curation={"method": "random", "n_samples": 4, "seed": seed})
    return names


def start_submit(lab: QuickLab, *arguments: str) -> subprocess.Popen[str]:
    command = [str(lab.code / "bin" / "meds1"), "submit", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=dict(lab.environment), cwd=lab.code, stdout=pipe, stderr=pipe, text=True)


def assert_each_stage_was_submitted_once(lab: QuickLab, names: list[str]) -> None:
    view = lab.registry.read()
    ids = [
        {header.job["id"] for header in view.state.headers(name, stage) if header.event == "submitted"}
        for name in names
        for stage in STAGES
    ]
    assert [len(of_stage) for of_stage in ids] == [1] * len(ids)  # a command may adopt what the other has submitted
    known = {
        header.job["id"]
        for name in view.state.history
        for stage in STAGES
        for header in view.state.headers(name, stage)
        if header.event == "submitted"
    }
    assert sorted(unfinished(lab)) == sorted(known)


def test_a_child_checks_its_parent_when_it_starts(slurm_cluster: Cluster, tmp_path: Path) -> None:
    with on_cluster(make_quick_lab(tmp_path / "lab", ("a",), {"training": {"extra": {"hold": True}}})) as lab:
        jobs = lab.submit("a")
        lab.wait("a", "curation")
        lab.meds1("rm", "a", "--stage", "curation", "--yes")

        subprocess.run(["scontrol", "release", jobs["a", "training"]], check=True)

        lab.wait("a", "training")
        failed = lab.results("a")["training"]
        assert failed["status"] == "failed"
        assert failed["error"].startswith("a: training needs curation with fingerprint")
        assert "\n" not in failed["error"]
        wait_for_jobs(lab)
        assert words(lab, "a")["a"] == ["missing", "failed", "cancelled"]


def test_arrays_longer_than_the_cluster_takes_are_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fresh(MAX_ARRAY="4", ACCT="0", NODES="1") as cluster:
        monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
        lab = make_quick_lab(tmp_path / "lab", [f"e{number}" for number in range(9)])
        jobs = lab.submit("e*")

        elements = Counter(job.partition("_")[0] for (_, stage), job in jobs.items() if stage == "curation")
        assert sorted(elements.values()) == [1, 4, 4]
        wait_for_jobs(lab)
        assert words(lab, "e*") == {f"e{number}": ["completed"] * 3 for number in range(9)}, lab.logs()
