"""What Slurm's commands print, as jobs: odd comments, other people's words, accounting that is wrong or off."""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path

import pytest

from registry.errors import MissingError
from registry.provenance import user_name
from slurm.cancel import compact
from slurm.overview import as_clock
from slurm.queue import JobInfo, ask_slurm, jobs_of

SEPARATOR = "\x1f"
WAITING = ("5_3", "PENDING", "Dependency", "", "0:00", "aftercorr:4_*(unfulfilled)", "alice", "meds1:t1")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is on the PATH, for programs with the names of Slurm's."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def prints(tools: Path, name: str, *rows: tuple[str, ...], code: int = 0, said: str = "oh no") -> None:
    """A program that prints these rows, complains, notes how it was called, and ends with `code`."""
    text = "".join(f"{SEPARATOR.join(row)}\n" for row in rows)
    (tools / name).write_text(
        f"""#!/bin/sh
echo "$@" >>{tools}/{name}.calls
printf %s {shlex.quote(text)}
echo {shlex.quote(said)} >&2
exit {code}
"""
    )
    (tools / name).chmod(0o755)


def calls(tools: Path, name: str) -> list[str]:
    file = tools / f"{name}.calls"
    return file.read_text().splitlines() if file.exists() else []


def test_one_question_about_the_owners_and_one_about_what_the_queue_has_forgotten(tools: Path) -> None:
    prints(tools, "squeue", WAITING, ("9", "RUNNING", "None", "node[1-2]", "1-02:03:04", "(null)", "bob", "(null)"))
    prints(tools, "sacct", ("7_1", "CANCELLED by 0", "None", "None assigned", "00:00:00", "alice"))

    jobs = ask_slurm({"5_3": "alice", "7_1": "alice", "7_2": "bob", "8": "bob"})

    assert jobs["5_3"] == JobInfo("5_3", "PENDING", "Dependency", "", 0, WAITING[5], "alice", "meds1:t1")
    assert jobs["9"] == JobInfo("9", "RUNNING", "", "node[1-2]", 93784, "", "bob", "")
    assert (jobs["7_1"].word, jobs["7_1"].in_queue, jobs["7_1"].nodes) == ("CANCELLED", False, "")
    assert sorted(jobs) == ["5_3", "7_1", "9"]
    (squeue,), (sacct,) = calls(tools, "squeue"), calls(tools, "sacct")
    assert "--users=alice,bob" in squeue
    assert "--jobs=7,8 " in sacct


def test_jobs_of_an_unknown_owner_are_looked_for_among_everybodys(tools: Path) -> None:
    prints(tools, "squeue", WAITING)

    assert list(ask_slurm({"5_3": None})) == ["5_3"]
    assert "--users" not in calls(tools, "squeue")[0]


def test_a_comment_may_hold_anything(tools: Path) -> None:
    prints(tools, "squeue", (*WAITING[:7], f"meds1:t{SEPARATOR}2\nsecond line"), ("6", *WAITING[1:]))

    jobs = ask_slurm({"5_3": "alice"})

    assert sorted(jobs) == ["5_3", "6"]
    assert jobs_of(jobs, ["t1", "t3"]) == {"t1": [jobs["6"]], "t3": []}


def test_nothing_wanted_nothing_asked(tools: Path) -> None:
    assert ask_slurm({}) == {}


@pytest.mark.parametrize("there", [True, False])
def test_accounting_that_is_off_or_missing_costs_no_answer(tools: Path, there: bool) -> None:
    prints(tools, "squeue", WAITING)
    if there:
        prints(tools, "sacct", code=1)

    assert list(ask_slurm({"5_3": "alice", "6": "alice"})) == ["5_3"]


def test_accounting_writes_elements_that_never_started_as_one_line(tools: Path) -> None:
    prints(tools, "squeue")
    prints(tools, "sacct", ("7_1", "FAILED", *[""] * 4), ("7_[0,2-11,20-40:10,...%4]", "CANCELLED by 0", *[""] * 4))

    jobs = ask_slurm(dict.fromkeys(["7_1", "7_0", "7_11", "7_12", "7_30", "7_35"], "alice"))

    assert {job: info.word for job, info in jobs.items()} == {
        "7_1": "FAILED",
        **dict.fromkeys(["7_0", "7_11", "7_30"], "CANCELLED"),
    }


def test_a_queue_that_does_not_answer_is_an_error_in_its_own_words(tools: Path) -> None:
    prints(tools, "squeue", code=1)

    with pytest.raises(MissingError, match="squeue does not answer: oh no"):
        ask_slurm({"5_3": "alice"})


def test_a_queue_that_does_not_know_who_asks_is_not_an_empty_one(tools: Path) -> None:
    prints(tools, "squeue", said=f"squeue: error: Invalid user: {user_name()}\n")

    with pytest.raises(MissingError, match="Invalid user"):
        ask_slurm({"7": user_name()})


def test_a_user_is_who_slurm_takes_him_for_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")

    assert user_name() == pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize(
    ("word", "pending", "in_queue"),
    [
        ("PENDING", True, True),
        ("RESV_DEL_HOLD", True, True),
        ("COMPLETING", False, True),
        ("A_STATE_OF_TOMORROW", False, True),
        ("TIMEOUT", False, False),
    ],
)
def test_only_what_slurm_calls_an_end_is_one(word: str, pending: bool, in_queue: bool) -> None:
    job = JobInfo("7", word)

    assert (job.pending, job.in_queue) == (pending, in_queue)


def test_a_job_that_has_the_id_of_an_older_one_is_not_taken_for_it() -> None:
    mine = JobInfo("7", "RUNNING", user="alice", comment="meds1:t1")
    forgotten = JobInfo("7", "FAILED", user="alice", comment=None)

    assert mine.may_be("alice", "t1")
    assert mine.may_be("alice", None)
    assert forgotten.may_be("alice", "t1")
    assert not mine.may_be("alice", "t2")
    assert not mine.may_be("bob", None)
    assert not JobInfo("7", "RUNNING", user="alice").may_be("alice", "t1")


def test_accounting_is_not_believed_that_my_job_runs_which_the_queue_does_not_have(tools: Path) -> None:
    prints(tools, "squeue")
    prints(tools, "sacct", *((job, "RUNNING", "None", "node1", "00:10:00", "x") for job in ("7", "8")))

    assert list(ask_slurm({"7": user_name(), "8": "somebody-else"})) == ["8"]


def test_ids_of_an_array_as_ranges() -> None:
    assert compact(["12", "13_2", "13_0", "13_1", "13_7", "14_5"]) == ["12", "13_[0-2,7]", "14_[5]"]


def test_durations_as_slurm_writes_them() -> None:
    assert [as_clock(seconds) for seconds in (0, 75, 3723, 172800)] == ["00:00", "01:15", "1:02:03", "2-00:00:00"]
