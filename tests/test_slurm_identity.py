"""Submissions that are interrupted or refused, on a real Slurm: none is lost, none is doubled, none leaves a trace.

A stand-in for `sbatch` is the fault: it kills the command that calls it, before or after Slurm has accepted the job.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from registry.records import parse_record
from registry.schema import STAGES
from tests.cluster.throwaway import Cluster, impatient
from tests.quick_lab import (
    AFTER,
    HELD,
    QuickLab,
    make_quick_lab,
    on_cluster,
    queue,
    unfinished,
    until,
    wait_for_jobs,
    with_sbatch,
    words,
)

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

KILLED = -signal.SIGKILL
BEFORE = "if [ $call = {call} ]; then kill -KILL $PPID; exit; fi"


@pytest.fixture
def lab(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    with on_cluster(make_quick_lab(tmp_path / "lab", ("a", "b", "c"))) as lab:
        yield lab


@pytest.fixture
def held(slurm_cluster: Cluster, tmp_path: Path) -> Iterator[QuickLab]:
    """A lab whose jobs stay in the queue."""
    with on_cluster(make_quick_lab(tmp_path / "lab", ("a", "b", "c"), HELD)) as lab:
        yield lab


def runs(lab: QuickLab, *names: str) -> list[int]:
    """How often each stage has been run."""
    return [sum(header.event == "started" for header in lab.headers(name, stage)) for name in names for stage in STAGES]


@pytest.mark.parametrize(("names", "call"), [("a", 1), ("a", 3), ("abc", 2)], ids=["first", "last", "array"])
def test_a_command_killed_after_sbatch_accepted_is_found_by_its_token(lab: QuickLab, names: str, call: int) -> None:
    for name in names:
        lab.tell(name, "curation", "wait")
    broken = with_sbatch(lab, AFTER.format(call=call))
    assert broken.run([str(lab.code / "bin" / "meds1"), "submit", *names], None).returncode == KILLED
    before = unfinished(lab)
    assert len(before) == call * len(names)

    shown = lab.meds1("status", *names).stdout
    interrupted = shown.count("its submission was interrupted")
    # The accepted job of a curation may have started by now, and then says itself that it runs.
    assert len(names) * (len(STAGES) - call) <= interrupted <= len(names) * (len(STAGES) - (call - 1))
    again = lab.meds1("submit", *names, code=1 if call == len(STAGES) else 0)  # refused when nothing is left to submit
    said = again.stdout + again.stderr

    orphans = [job for name in names for job in ids(lab, name)[:call]]
    assert sorted(orphans) == sorted(before)
    for name in names:
        for stage, job in zip(STAGES[:call], ids(lab, name), strict=False):
            assert f"{stage}: attempt 1 is " in said
            assert f"(job {job})" in said
    assert len(unfinished(lab)) == 3 * len(names)
    for name in names:
        lab.let_go(name, "curation")
    wait_for_jobs(lab)
    assert words(lab, *names) == {name: ["completed"] * 3 for name in names}, lab.logs()
    assert runs(lab, *names) == [1] * 3 * len(names)


def ids(lab: QuickLab, name: str) -> list[str]:
    """The job of each stage's last submission."""
    every = [lab.headers(name, stage) for stage in STAGES]
    return [[header.job["id"] for header in headers if header.event != "intent"][-1] for headers in every if headers]


@pytest.mark.parametrize("call", [1, 2])
def test_a_command_killed_before_sbatch_has_never_submitted(lab: QuickLab, call: int) -> None:
    lab.tell("a", "curation", "wait")
    broken = with_sbatch(lab, BEFORE.format(call=call))
    assert broken.run([str(lab.code / "bin" / "meds1"), "submit", "a"], None).returncode == KILLED
    assert len(unfinished(lab)) == call - 1

    lab.meds1("submit", "a")

    assert len(unfinished(lab)) == 3
    lab.let_go("a", "curation")
    wait_for_jobs(lab)
    assert words(lab, "a")["a"] == ["completed"] * 3, lab.logs()
    assert runs(lab, "a") == [1, 1, 1]


def test_claims_of_a_command_that_died_long_ago_hold_up_nobody(held: QuickLab) -> None:
    for stage in STAGES:
        claim = held.folder / ".registry" / "attempts" / "a" / stage / "1"
        claim.mkdir(parents=True)
        os.utime(claim, (time.time() - 600,) * 2)

    jobs = held.submit("a")

    assert len(jobs) == 3
    assert [held.headers("a", stage)[-1].attempt for stage in STAGES] == [2, 2, 2]


def test_a_job_whose_input_never_arrived_is_cancelled_and_submitted_anew(held: QuickLab) -> None:
    broken = with_sbatch(held, AFTER.format(call=1))
    assert broken.run([str(held.code / "bin" / "meds1"), "submit", "a"], None).returncode == KILLED
    (lost,) = unfinished(held)
    (job_file,) = (held.folder / "cache" / "runs" / "a" / "curation").glob("*/attempts/1/job.json")
    job_file.unlink()

    jobs = held.submit("a")

    assert lost not in jobs.values()
    assert sorted(unfinished(held)) == sorted(jobs.values())
    assert states(held)[lost] == "CANCELLED"


def states(lab: QuickLab) -> dict[str, str]:
    return {job["JobId"]: job["JobState"] for job in queue(lab)}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("slurm.curation.partition=nowhere", "sbatch refused curation: invalid partition specified: nowhere"),
        ("slurm.curation.memory=900G", "sbatch refused curation: Memory specification can not be satisfied"),
        ("slurm.eval.partition=nowhere", "sbatch refused eval: invalid partition specified: nowhere"),
        ("slurm.training.nodes=1000", "sbatch refused training"),
    ],
)
def test_a_refusal_leaves_no_trace_and_is_in_slurms_own_words(held: QuickLab, setting: str, said: str) -> None:
    others = sorted(held.submit("c").values())  # so that the registry's folder and the copy of the code are there
    before = contents(held)

    done = held.meds1("submit", "a", "b", "--set", setting, code=2)

    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert contents(held) == before
    assert sorted(unfinished(held)) == others


def contents(lab: QuickLab) -> dict[str, bytes]:
    """Every file below the lab's folder; folders and links too."""
    entries = [path for path in lab.folder.rglob("*") if "__pycache__" not in path.parts]
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in entries}


def test_nodes_that_cannot_work_now_are_no_refusal(held: QuickLab, slurm_cluster: Cluster) -> None:
    nodes = f"nodename={','.join(slurm_cluster.nodes)}"
    subprocess.run(["scontrol", "update", nodes, "state=drain", "reason=test"], check=True)
    try:
        jobs = held.submit("a", "b")
    finally:
        subprocess.run(["scontrol", "update", nodes, "state=resume"], check=True)

    assert len(jobs) == 6
    assert sorted(unfinished(held)) == sorted(jobs.values())


def test_a_refusal_after_other_stages_were_accepted_takes_them_back(held: QuickLab) -> None:
    words_of_slurm = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    broken = with_sbatch(held, f'[ $call != 3 ] || {{ echo "{words_of_slurm}" >&2; exit 1; }}')

    done = broken.meds1("submit", "a", "b", code=2)

    assert "sbatch refused eval" in done.stderr
    assert "QOSMaxSubmitJobPerUserLimit" in done.stderr
    assert unfinished(held) == []
    assert Counter(states(held).values()) == {"CANCELLED": len(states(held))}
    assert words(held, "a")["a"] == ["cancelled"] * 3
    assert len(held.submit("a", "b")) == 6


@contextmanager
def stopped_controller(cluster: Cluster) -> Iterator[None]:
    """Slurm does not answer while this lasts."""
    pid = controller(cluster)
    os.kill(pid, signal.SIGSTOP)
    try:
        with impatient(cluster):
            yield
    finally:
        os.kill(pid, signal.SIGCONT)


def controller(cluster: Cluster) -> int:
    daemons = (cluster.conf.parent / "pids").read_text().splitlines()
    return next(int(line.split()[1]) for line in daemons if line.startswith("slurmctld "))


def test_while_slurm_does_not_answer_nothing_is_claimed(held: QuickLab, slurm_cluster: Cluster) -> None:
    held.submit("c")
    before = contents(held)

    with stopped_controller(slurm_cluster):
        done = held.meds1("submit", "a", code=3)

    assert "Slurm does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(held) == before
    assert len(held.submit("a")) == 3


def test_slurm_that_falls_silent_during_a_submission_loses_and_doubles_nothing(
    lab: QuickLab, slurm_cluster: Cluster
) -> None:
    lab.tell("a", "curation", "wait")
    pid, conf = controller(slurm_cluster), slurm_cluster.conf
    heard = conf.read_text()
    # A job's own srun asks Slurm too: it would fail. From then on commands give up after two seconds.
    silent = with_sbatch(
        lab,
        f"""if [ $call = 2 ]; then
    until compgen -G "{lab.folder}/.registry/*/a~curation~*~started~*" >/dev/null; do sleep 0.1; done
    kill -STOP {pid}
    echo MessageTimeout=2 >>{conf}
fi""",
    )
    try:
        done = silent.meds1("submit", "a", code=3)
    finally:
        os.kill(pid, signal.SIGCONT)
        conf.write_text(heard)
    assert "a: Slurm does not answer" in done.stderr
    until(lambda: len(unfinished(lab)) == 2, "Slurm works off what it was asked while it was silent")

    lab.meds1("submit", "a")

    assert len(unfinished(lab)) == 3
    lab.let_go("a", "curation")
    wait_for_jobs(lab)
    assert words(lab, "a")["a"] == ["completed"] * 3, lab.logs()
    assert runs(lab, "a") == [1, 1, 1]


def test_keys_of_the_environment_appear_nowhere(lab: QuickLab) -> None:
    keys = {"HF_TOKEN": "hf_not-to-be-seen", "OPENAI_API_KEY": "sk-not-to-be-seen"}
    with_keys = QuickLab(lab.folder, {**lab.environment, **keys}, lab.code)
    with_keys.tell("a", "training", "leak")
    said = [with_keys.meds1("submit", "a", "--dry-run"), with_keys.meds1("submit", "a", "--json")]
    wait_for_jobs(lab)
    said += [with_keys.meds1(*verb, "a") for verb in (["status"], ["show"], ["history"], ["logs"])]

    assert words(lab, "a")["a"] == ["completed", "failed", "cancelled"]
    assert "the hub refuses <HF_TOKEN>" in lab.results("a")["training"]["error"]
    assert not any("not-to-be-seen" in done.stdout + done.stderr for done in said)
    assert [path for path, content in contents(lab).items() if b"not-to-be-seen" in content] == []


def test_a_command_with_a_cache_of_its_own_finds_the_job_of_one_that_died(held: QuickLab, tmp_path: Path) -> None:
    broken = with_sbatch(held, AFTER.format(call=1))
    assert broken.run([str(held.code / "bin" / "meds1"), "submit", "a"], None).returncode == KILLED
    (orphan,) = unfinished(held)
    (tmp_path / "cache").mkdir()
    other = replace(held, environment={**held.environment, "CACHE_DIR": str(tmp_path / "cache")})

    jobs = other.submit("a")

    assert sorted([orphan, *jobs.values()]) == sorted(unfinished(held))
    assert set(jobs) == {("a", "training"), ("a", "eval")}


def test_an_interrupted_submission_is_looked_for_no_more_after_a_day(held: QuickLab) -> None:
    broken = with_sbatch(held, BEFORE.format(call=1))
    assert broken.run([str(held.code / "bin" / "meds1"), "submit", "a"], None).returncode == KILLED
    held.meds1("cancel", "a")
    assert [held.headers("a", stage)[-1].event for stage in STAGES] == ["intent"] * 3
    for path in (held.folder / ".registry" / "inbox").glob("a~*.json"):
        intent = parse_record(path.read_bytes())
        path.write_bytes(replace(intent, result={**intent.result, "timestamp": "2026-01-01T00:00:00Z"}).to_bytes())

    held.meds1("cancel", "a")

    assert [held.headers("a", stage)[-1].event for stage in STAGES] == ["cancelled"] * 3


def test_what_a_job_needs_is_open_to_the_group_under_any_umask(held: QuickLab) -> None:
    (held.folder / "cache").mkdir(mode=0o775)
    (held.folder / "cache").chmod(0o775)

    held.run(["bash", "-c", f"umask 077; exec {held.code}/bin/meds1 submit a"])

    job_files = list((held.folder / "cache" / "runs").rglob("job.json"))
    assert [stat.S_IMODE(file.stat().st_mode) for file in job_files] == [0o664] * 3


def test_a_submission_from_within_another_job_inherits_nothing_of_it(lab: QuickLab) -> None:
    step = {"SLURM_MEM_PER_CPU": "300", "SLURM_NTASKS": "7", "SLURM_STEP_ID": "0", "RANK": "3", "WORLD_SIZE": "4"}
    inside = replace(lab, environment={**lab.environment, **step})

    inside.meds1("submit", "base", "--set", "slurm.eval.memory=2G")

    wait_for_jobs(lab)
    assert words(lab, "base")["base"] == ["n/a", "n/a", "completed"], lab.logs()
    assert lab.results("base")["eval"]["metrics"]["world_size"] == 1


def test_an_sbatch_that_names_no_job_is_one_line_and_its_job_is_found(held: QuickLab) -> None:
    odd = with_sbatch(held, '[ $call != 1 ] || { "$real" "$@" >/dev/null; echo "accepted, thank you"; exit; }')

    done = odd.meds1("submit", "a", code=3)

    assert "a: sbatch names no job" in done.stderr
    assert "Traceback" not in done.stderr
    held.meds1("submit", "a")
    assert len(unfinished(held)) == 3
