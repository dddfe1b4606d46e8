"""`meds1 logs`: which attempt's, of which ranks, masked, followed to the end, and why there are none."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.job import Job
from registry.provenance import process_start
from registry.schema import Stage
from tests.cluster.throwaway import Cluster
from tests.lab import CHECKOUT, Lab, make_lab
from tests.small_lab import answer_of, make_small_lab, save


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return make_small_lab(tmp_path / "lab", monkeypatch)


def attempt(lab: Lab, stage: Stage, event: Any = "started", **logs: str) -> Job:
    """An attempt of `tuned` with logs: `out_1="text"` is what rank 1 wrote to stdout."""
    if stage == "training":
        save(lab, "tuned", "curation", "completed")
    job = save(lab, "tuned", stage, event, job={"cluster": "slurm", "id": "4711_3", "user": "nobody"})
    for key, text in logs.items():
        stream, _, rank = key.partition("_")
        (job.folder / f"4711_3_{rank}_log.{stream}").write_text(text)
    return job


def test_the_newest_attempt_of_the_stage_that_did_something_last(lab: Lab) -> None:
    attempt(lab, "curation", "failed", out_0="first try\n")
    attempt(lab, "curation", "completed", out_0="second try\n")
    attempt(lab, "training", "cancelled")

    assert lab.meds1("logs", "tuned").stdout == "second try\n"
    assert lab.meds1("logs", "tuned", "curation", "--attempt", "1").stdout == "first try\n"
    assert (
        "tuned: curation has no attempt 7; there is: 1, 2"
        in lab.meds1("logs", "tuned", "curation", "--attempt", "7", code=3).stderr
    )


def test_all_ranks_with_their_numbers_or_one_and_the_last_lines(lab: Lab) -> None:
    job = attempt(lab, "training", out_0="a\nb\n", err_0="warning\n", out_1="c\nd\n")

    done = lab.meds1("logs", "tuned")
    assert done.stdout.splitlines() == ["0| warning", "0| a", "0| b", "1| c", "1| d"]
    assert f"tuned: training: attempt 1: logs in {job.folder}" in done.stderr
    assert lab.meds1("logs", "tuned", "--rank", "1", "-n", "1").stdout == "d\n"
    assert "rank 2 has no log; ranks with one: 0, 1" in lab.meds1("logs", "tuned", "--rank", "2", code=3).stderr
    files = answer_of(lab, "logs", "tuned", "-n", "1")["data"]["files"]
    assert [(Path(file["path"]).name, file["rank"], file["stream"], file["lines"]) for file in files] == [
        ("4711_3_0_log.err", 0, "err", ["warning"]),
        ("4711_3_0_log.out", 0, "out", ["b"]),
        ("4711_3_1_log.out", 1, "out", ["d"]),
    ]


def test_keys_are_hidden_and_a_progress_bar_is_its_last_state(lab: Lab) -> None:
    attempt(lab, "training", out_0="token hf_secret_value\n 0%\r 50%\r100%\nlast words")

    known = Lab(lab.folder, {**lab.environment, "HF_TOKEN": "hf_secret_value"})

    assert known.meds1("logs", "tuned").stdout.splitlines() == ["token <HF_TOKEN>", "100%", "last words"]


def test_what_a_failed_run_left_where_there_is_no_log(lab: Lab) -> None:
    job = save(lab, "tuned", "curation", "failed", error="ValueError: odd", job={"cluster": "here"})
    (job.folder / "traceback.txt").write_text("Traceback\nValueError: odd\n")

    assert lab.meds1("logs", "tuned").stdout == "Traceback\nValueError: odd\n"


def test_why_there_is_no_log(lab: Lab) -> None:
    assert "tuned: has no attempt yet" in lab.meds1("logs", "tuned", code=3).stderr
    save(lab, "tuned", "curation", "cancelled", error="training failed", job={"cluster": "slurm", "id": "12"})

    assert "tuned: curation: attempt 1 left no log (cancelled)" in lab.meds1("logs", "tuned", code=3).stderr
    assert "--stage 'tuning'" in lab.meds1("logs", "tuned", "tuning", code=2).stderr
    assert "--attempt needs a STAGE" in lab.meds1("logs", "tuned", "--attempt", "1", code=2).stderr
    assert "means 2 experiments" in lab.meds1("logs", "*", code=2).stderr


@pytest.mark.parametrize("options", [(), ("-f",)])
def test_a_log_that_cannot_be_read_is_one_line(lab: Lab, options: tuple[str, ...]) -> None:
    folder = attempt(lab, "training", out_0="a\n").folder
    (folder / "4711_3_1_log.out").mkdir()  # tests may run as root, who may read every file

    done = lab.meds1("logs", "tuned", *options, code=3)

    assert f"meds1 logs: {folder}/4711_3_1_log.out: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this machine that runs until it is ended."""
    with subprocess.Popen(["sleep", "600"]) as running:
        yield running
        running.kill()


@pytest.fixture
def follower(lab: Lab, process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[str]]:
    """`meds1 logs -f` of an attempt that lasts as long as `process`."""
    here = {"cluster": "local", "host": socket.gethostname(), "pid": process.pid, "start": process_start(process.pid)}
    job = save(lab, "tuned", "curation", "started", job=here)
    (job.folder / "77_0_log.out").write_text("old\nstep 1\nhalf a li")
    command = [str(CHECKOUT / "bin" / "meds1"), "logs", "tuned", "-f", "-n", "1"]
    with subprocess.Popen(command, env=dict(lab.environment), stdout=subprocess.PIPE, text=True) as following:
        yield following
        following.kill()


@pytest.mark.timeout(60)
def test_follow_shows_what_is_added_in_files_that_come_later_too_until_the_end(
    lab: Lab, process: subprocess.Popen[bytes], follower: subprocess.Popen[str]
) -> None:
    assert follower.stdout is not None
    assert follower.stdout.readline() == "step 1\n"
    (file,) = lab.folder.rglob("attempts/1/job.json")

    with (file.parent / "77_0_log.out").open("a") as log:
        log.write("ne\n")
    assert follower.stdout.readline() == "half a line\n"
    (file.parent / "78_0_log.err").write_text("restarted\nlast words")
    assert follower.stdout.readline() == "restarted\n"

    process.kill()
    process.wait()
    assert follower.stdout.read() == "last words\n"
    assert follower.wait(30) == 0


@pytest.mark.slurm
@pytest.mark.timeout(300)
def test_logs_of_every_rank_of_a_slurm_job_and_of_one_that_waits(slurm_cluster: Cluster, tmp_path: Path) -> None:
    lab = make_lab(
        tmp_path / "lab", {"curation": {"cpus": 2}, "training": {"nodes": 2, "cpus": 2}, "eval": {"cpus": 2}}
    )
    lab.meds1("submit", "first", "--stage", "curation", "--stage", "training")

    waits = lab.meds1("logs", "first", "training", code=3).stderr
    assert "first: training: attempt 1 has no log yet (submitted: job " in waits
    followed = lab.meds1("logs", "first", "curation", "-f").stdout
    assert "rows: total 24" in followed
    lab.wait("first", "training")
    shown = lab.meds1("logs", "first").stdout.splitlines()
    assert {line[:3] for line in shown} == {"0| ", "1| "}
