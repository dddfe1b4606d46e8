"""The local cluster: real supervisors and real stages of a lab; a stage is held up by a data file that is a pipe.

Nobody writes to such a pipe, so whoever opens it waits. Supervisors are children of the test here, which never reaps
them, as in a container whose first process does not.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from registry.errors import StageFailure
from registry.history import Header
from registry.job import Job, claim_all
from registry.paths import CHECKOUT
from registry.plan import Plan, Wish, gone_from_here, plan
from registry.records import TERMINAL
from registry.schema import Stage
from slurm import local
from slurm.chains import chains_of
from slurm.local import LocalChain, cancel, start
from slurm.overview import flying_parents
from slurm.submit import Submission, Submitted, submit_here
from tests.lab import Lab, make_lab
from tests.quick_lab import until
from tests.small_lab import add, answer_of, edit_json
from tests.stages import record, write_jsonl

pytestmark = pytest.mark.timeout(300)
NAMES = ("a", "b", "c", "d")
SLURM = ("sbatch", "squeue", "scontrol", "sacct", "srun", "scancel", "sinfo")
CURATE: tuple[Stage, ...] = ("curation",)
BOTH: tuple[Stage, ...] = ("curation", "training")


@dataclass
class Held:
    """A lab whose experiments a, b, c and d have data files of their own, each of which may hold up its stage."""

    lab: Lab
    jobs: dict[tuple[str, Stage], Submitted] = field(default_factory=dict)

    def plans(self, name: str, stages: tuple[Stage, ...]) -> list[Plan]:
        view = self.lab.registry.read()
        return plan(self.lab.registry, view, name, Wish(stages, may_wait=True))

    def submit(self, *names: str, stages: tuple[Stage, ...] = BOTH, at_once: int = 1, hold: str = "") -> None:
        """Submit experiments to one supervisor; those in `hold` get stuck in their curation."""
        plans = [self.plans(name, stages) for name in names]
        for name in hold:
            self.data(name).unlink()
            os.mkfifo(self.data(name))
        self.submit_plans(plans, at_once)

    def submit_plans(self, plans: list[list[Plan]], at_once: int) -> None:
        registry = self.lab.registry
        view = registry.read()
        chains = []
        for own in plans:
            chains += chains_of(own, flying_parents(view, own, gone_from_here), {})
        outcome = submit_here(Submission(registry, view, CHECKOUT, at_once), chains)
        assert not outcome.left
        self.jobs |= {(one.job.experiment, one.job.stage): one for one in outcome.submitted}

    def data(self, name: str) -> Path:
        return self.lab.folder / f"train-{name}.jsonl"

    def release(self, name: str) -> None:
        """Let a stage go on that waits at its pipe: it reads there what it expects, and from then on a plain file."""
        with self.data(name).open("wb") as pipe:  # opens once the stage has opened its end: "started" is said before
            self.data(name).unlink()
            rows(self.data(name))
            pipe.write(self.data(name).read_bytes())

    def headers(self, name: str, stage: Stage = "curation") -> list[Header]:
        return self.lab.registry.read().state.headers(name, stage)

    def events(self, name: str, stage: Stage = "curation") -> list[str]:
        return [header.event for header in self.headers(name, stage)]

    def wait(self, name: str, event: str, stage: Stage = "curation") -> Header:
        """Wait until a stage has a record of this event."""
        until(lambda: event in self.events(name, stage), f"{name}: {stage} has a record {event}; {self.lab.logs()}")
        return next(header for header in self.headers(name, stage) if header.event == event)

    def ends(self, name: str, stage: Stage = "curation") -> tuple[str, str]:
        """How a stage ends, and why."""
        until(
            lambda: bool(self.headers(name, stage)) and self.headers(name, stage)[-1].event in TERMINAL,
            f"{name}: {stage} ends",
        )
        entry = self.lab.results(name)[stage]
        return entry["status"], entry.get("error", "")

    def job(self, name: str, stage: Stage = "curation") -> Job:
        return self.jobs[name, stage].job

    def supervisor(self, name: str, stage: Stage = "curation") -> int:
        return int(next(one for one in self.headers(name, stage) if one.event == "submitted").job["pid"])

    def end(self) -> None:
        """End what is left of the lab's processes."""
        flying = [one for name in NAMES for stage in BOTH for one in self.headers(name, stage)]
        for header in (one for one in flying if one.event in ("submitted", "started")):
            if not gone_from_here(header):
                os.kill(int(header.job["pid"]), signal.SIGTERM)
            until(lambda header=header: gone_from_here(header), f"this process has ended: {header}")  # type: ignore[misc]


def rows(path: Path) -> None:
    write_jsonl(path, [record(number) for number in range(8)])


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    lab = make_lab(tmp_path / "lab")
    for name in ("CACHE_DIR", "MED_S1K_OUTPUT"):
        monkeypatch.setenv(name, lab.environment[name])
    entries = {f"train-{name}": {"file_path": f"train-{name}.jsonl"} for name in NAMES}
    edit_json(lab.folder / "config.json", lambda catalog: catalog["train_datasets"].update(entries))
    for name in NAMES:
        rows(lab.folder / f"train-{name}.jsonl")
        curation = {"method": "random", "n_samples": 4}
        add(lab, name, "first", datasets={"curate": f"train-{name}", "eval": "held-out"}, curation=curation)
    found = Held(lab)
    yield found
    found.end()


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"  # stands in for the driver's: there is no GPU to see
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'GPU 0: made up'\necho 'GPU 1: made up'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_chain_of_three_where_there_is_no_slurm(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab")
    tools = tmp_path / "tools"
    tools.mkdir()
    for part in map(Path, os.environ["PATH"].split(os.pathsep)):
        for tool in part.iterdir() if part.is_dir() else ():
            if tool.name not in SLURM and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    lab = replace(lab, environment={**lab.environment, "PATH": str(tools)})

    submitted = answer_of(lab, "submit", "second")["data"]

    lab.wait("second", "eval")
    results = lab.results("second")
    assert {entry["status"] for entry in results.values()} == {"completed"}, lab.logs()
    assert submitted["cluster"] == "local"
    assert [results[job["stage"]]["job"]["id"] for job in submitted["jobs"]] == [
        job["job_id"] for job in submitted["jobs"]
    ]
    attempt = Path(results["curation"]["run_dir"]) / "attempts" / "1"
    (log,) = attempt.glob("L*_0_0_log.err")
    assert "rows: total 24" in log.read_text()


def test_a_stage_that_fails_ends_its_children_and_no_other_experiment(held: Held) -> None:
    held.submit("a", "b", "c", stages=BOTH, hold="a")
    held.wait("a", "started")
    held.data("b").write_text("not what was submitted\n")
    held.release("a")

    assert held.ends("b")[0] == "failed"
    assert held.ends("b", "training") == ("cancelled", "curation failed (attempt 1)")
    assert held.events("b", "training") == ["intent", "submitted", "cancelled"]
    assert held.ends("a")[0] == "completed"
    assert held.ends("c")[0] == "completed"


def test_no_more_stages_run_at_once_than_asked_for(held: Held) -> None:
    held.submit(*NAMES, stages=CURATE, at_once=2, hold="abcd")

    def running() -> list[str]:
        found = [name for name in NAMES if held.events(name)[-1] == "started"]
        assert len(found) <= 2
        return found

    until(lambda: running() == ["a", "b"], "the first two start")
    held.release("b")
    until(lambda: running() == ["a", "c"], "the third takes the place of the second")
    held.release("a")
    until(lambda: running() == ["c", "d"], "the fourth takes the place of the first")
    held.release("c")
    held.release("d")
    assert [held.ends(name)[0] for name in NAMES] == ["completed"] * 4


def test_what_is_in_the_queue_is_not_submitted_twice(held: Held) -> None:
    held.submit("a", "b", stages=CURATE, hold="a")

    assert [step.action for step in held.plans("b", CURATE)] == ["busy"]
    assert held.jobs["b", "curation"].id in held.plans("b", CURATE)[0].reason
    shown = answer_of(held.lab, "status", "b")["data"]["b"]["curation"]
    assert (shown["status"], shown["reason"]) == ("submitted", f"job {held.jobs['b', 'curation'].id}")


def test_a_cancelled_stage_never_starts_and_a_running_one_is_told_to_stop(held: Held) -> None:
    held.submit("a", "b", "c", hold="a")
    held.wait("a", "started")

    assert cancel(held.lab.registry, [held.job("b"), held.job("c", "training")]) == []

    assert held.ends("b")[0] == "cancelled"
    assert held.ends("b")[1].startswith("cancelled by ")
    assert held.ends("b", "training") == ("cancelled", "curation was cancelled (attempt 1)")
    assert held.events("b") == ["intent", "submitted", "cancelled"]
    assert held.events("a")[-1] == "started"
    assert cancel(held.lab.registry, [held.job("a")]) == []
    assert held.ends("a")[0] == "cancelled"
    assert held.ends("a", "training")[0] == "cancelled"
    assert held.ends("c")[0] == "completed"
    assert held.ends("c", "training")[0] == "cancelled"


def test_a_supervisor_that_is_told_to_end_cancels_what_waits_and_stops_what_runs(held: Held) -> None:
    held.submit("a", "b", hold="a")
    held.wait("a", "started")

    os.kill(held.supervisor("a"), signal.SIGTERM)

    assert held.ends("b")[1].startswith("the local cluster was shut down")
    assert held.ends("a")[0] == "cancelled"
    until(lambda: gone_from_here(held.wait("b", "submitted")), "the supervisor ends")


@pytest.mark.full
def test_a_training_that_was_shut_down_is_taken_up_where_it_stopped(held: Held, two_gpus: None) -> None:
    edit_json(held.lab.folder / "config.json", lambda catalog: catalog.update(slurm={"training": {"gpus": 2}}))
    held.lab.edit("a", training_params={"learning_rate": 1e-3, "total_batch_size": 2, "num_epochs": 100})
    held.submit("a")
    held.wait("a", "started", "training")
    run_dir = Path(held.job("a", "training").run_dir)
    until(lambda: bool(list(run_dir.glob("checkpoints/*/checkpoint-*/complete.json"))), "there is a checkpoint")

    os.kill(held.supervisor("a"), signal.SIGTERM)

    assert held.ends("a", "training")[0] == "cancelled"
    held.submit("a")
    assert held.job("a", "training").attempt == 2
    until(lambda: held.headers("a", "training")[-1].event == "completed", f"it completes; {held.lab.logs()}")
    metrics = held.lab.results("a")["training"]["metrics"]
    assert metrics["world_size"] == 2
    assert metrics["steps_this_attempt"] < metrics["steps"]


def test_a_killed_supervisor_leaves_its_queue_gone_and_its_running_stage_alone(held: Held) -> None:
    held.submit("a", "b", stages=CURATE, hold="a")
    held.wait("a", "started")

    os.kill(held.supervisor("a"), signal.SIGKILL)

    until(lambda: gone_from_here(held.headers("b")[-1]), "the queue is gone")
    shown = answer_of(held.lab, "status", "b")["data"]["b"]["curation"]
    assert shown["status"] == "cancelled"
    assert "its supervisor is gone; submit again" in shown["reason"]
    assert [step.action for step in held.plans("b", CURATE)] == ["run"]
    held.submit("b", stages=CURATE)
    assert held.ends("b")[0] == "completed"
    held.release("a")
    assert held.ends("a")[0] == "completed"


def test_a_running_stage_without_its_supervisor_and_a_lost_one_can_be_cancelled(held: Held) -> None:
    held.submit("a", "b", stages=CURATE, hold="a")
    held.wait("a", "started")
    os.kill(held.supervisor("a"), signal.SIGKILL)
    until(lambda: gone_from_here(held.headers("b")[-1]), "the queue is gone")

    assert cancel(held.lab.registry, [held.job("a"), held.job("b")]) == []

    assert held.ends("a")[0] == "cancelled"
    assert held.ends("b")[0] == "cancelled"


def test_a_stage_waits_for_a_parent_of_an_earlier_submission(held: Held) -> None:
    later = {name: held.plans(name, BOTH)[1:] for name in "ab"}  # a plan reads the data
    held.submit("a", "b", stages=CURATE, at_once=2, hold="ab")
    held.wait("a", "started")
    held.wait("b", "started")
    held.submit_plans([later["a"], later["b"]], at_once=2)

    cancel(held.lab.registry, [held.job("a")])

    assert held.ends("a", "training") == ("cancelled", "curation was cancelled (attempt 1)")
    assert held.events("b", "training") == ["intent", "submitted"]
    held.release("b")
    held.wait("b", "started", "training")
    assert held.headers("b")[-1].event == "completed"


def test_a_stage_waits_for_the_attempt_that_it_replaces(held: Held) -> None:
    plans = held.plans("a", CURATE)
    held.submit("a", stages=CURATE, hold="a")
    held.wait("a", "started")
    registry = held.lab.registry
    second = claim_all(registry, plans, CHECKOUT)

    start(registry, [LocalChain(tuple(second))], 1, registry.outputs.submission("22222222"))
    cancel(registry, [held.job("a")])
    rows(held.data("a").with_suffix(".new"))
    held.data("a").with_suffix(".new").rename(held.data("a"))

    until(lambda: held.events("a")[-1] == "completed", "the second attempt completes")
    first = [header.event for header in held.headers("a") if header.attempt == 1]
    assert first == ["intent", "submitted", "started", "cancelled"]


def test_a_supervisor_that_cannot_start_is_one_clear_line(held: Held, tmp_path: Path) -> None:
    registry = held.lab.registry
    jobs = claim_all(registry, held.plans("a", CURATE), tmp_path)

    with pytest.raises(StageFailure, match=r"did not start; see .*supervisor\.log"):
        start(registry, [LocalChain(tuple(jobs))], 1, registry.outputs.submission("33333333"), tmp_path)

    assert held.ends("a")[0] == "cancelled"


def test_a_command_that_dies_before_everything_is_submitted_starts_nothing(held: Held) -> None:
    registry = held.lab.registry
    jobs = claim_all(registry, held.plans("a", CURATE), CHECKOUT)
    folder = registry.outputs.submission("44444444")
    local._prepare([LocalChain(tuple(jobs))], 1, folder)

    process = local._supervisor(folder, CHECKOUT)
    process.communicate()  # closes the pipe without the word to go, as the end of the command does

    assert held.events("a") == ["intent", "cancelled"]


def test_nothing_is_judged_while_the_registry_cannot_be_read(held: Held) -> None:
    held.submit("a", hold="a")
    pid = int(held.wait("a", "started").job["pid"])
    file = held.lab.folder / "results.json"
    good = file.read_bytes()
    log = held.lab.registry.outputs.submission(held.wait("a", "submitted").job["token"]) / "supervisor.log"

    file.write_bytes(good[:-20])
    os.kill(pid, signal.SIGKILL)
    until(lambda: "waiting until the registry can be read" in log.read_text(), "it says that it waits")
    file.write_bytes(good)

    assert held.ends("a") == ("failed", "the process ended with signal SIGKILL and left no record")
    assert held.ends("a", "training") == ("cancelled", "curation failed (attempt 1)")


def test_gpus_are_shared_out(held: Held, two_gpus: None) -> None:
    for name in "abc":
        held.lab.edit(name, slurm={"curation": {"gpus": 1}})

    held.submit(*NAMES, stages=CURATE, at_once=4, hold="abcd")

    seen = {}
    for name in "abd":
        pid = held.wait(name, "started").job["pid"]
        environ = Path(f"/proc/{pid}/environ").read_text().split("\0")
        seen[name] = next(entry for entry in environ if entry.startswith("CUDA_VISIBLE_DEVICES="))
    assert [seen[name].partition("=")[2] for name in "abd"] == ["0", "1", ""]
    assert held.events("c")[-1] == "submitted"
    held.release("a")
    held.wait("c", "started")
