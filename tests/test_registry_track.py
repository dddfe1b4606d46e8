"""`track`, as a training script that is not ours uses it: real scripts, ended in every way that a script can end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import registry.attempt
from registry import open_registry, track
from registry.errors import MissingError, StageFailure, UsageError
from registry.paths import job_file
from registry.runner import run_job
from registry.store import Registry
from tests.lab import CHECKOUT, Lab
from tests.small_lab import CURATION, TRAINING, add, answer_of, make_small_lab, save, scores

SCRIPT = """\
import sys, time
from pathlib import Path
from registry import track

how = sys.argv[1]
run = track("tuned")
for step in range(3):
    run.log_metrics({"loss": 1.0 / (step + 1), "norm": float("nan") if step == 1 else 0.5}, step=step)
model = run.run_dir / "out"
model.mkdir(exist_ok=True)
(model / "weights").write_text("w")
run.log_checkpoint(model, step=2)
if how == "hang":
    print("hanging", flush=True)
    time.sleep(600)
if how == "raise":
    raise ValueError("no room")
if how == "leave":
    sys.exit(0)
if how == "with":
    with run:
        sys.exit(4)
run.log_evaluation(EVALUATION)
run.finish(model_path=model, metrics={"loss": 0.25})
"""
EVALUATION = scores(held_out=(3, 4))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """`tuned` has been curated, and a script that trains it lies beside the lab."""
    made = make_small_lab(tmp_path / "lab", monkeypatch)
    save(made, "tuned", "curation", "completed")
    (tmp_path / "lab" / "my_train.py").write_text(SCRIPT.replace("EVALUATION", repr(EVALUATION)))
    for name in ("MEDS1_REGISTRY", "MEDS1_CONFIG"):
        monkeypatch.setenv(name, made.environment[name])
    return made


def command(lab: Lab, how: str) -> list[str]:
    return [sys.executable, str(lab.folder / "my_train.py"), how]


def start(lab: Lab, how: str, **environment: str) -> subprocess.Popen[str]:
    known = {**lab.environment, "PYTHONPATH": str(CHECKOUT), **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(command(lab, how), env=known, cwd=lab.folder, stdout=pipe, stderr=pipe, text=True)


def to_the_end(lab: Lab, how: str, **environment: str) -> tuple[int, str]:
    """Run the script; its exit code and what it says on stderr."""
    process = start(lab, how, **environment)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def word(lab: Lab, stage: str = "training") -> tuple[str, str]:
    found = answer_of(lab, "status", "tuned")["data"]["tuned"][stage]
    return found["status"], found["reason"]


def events(lab: Lab) -> list[tuple[str, int, int]]:
    headers = lab.registry.read().state.headers("tuned", "training")
    return [(header.event, header.attempt, header.restart) for header in headers]


@pytest.fixture
def hanging(lab: Lab) -> Iterator[subprocess.Popen[str]]:
    with start(lab, "hang") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        yield process
        process.kill()


def test_a_tracked_training_is_a_completed_stage_with_its_evaluation(lab: Lab) -> None:
    code, said = to_the_end(lab, "finish")
    assert (code, said) == (0, "")

    found = json.loads((lab.folder / "results.json").read_text())["experiments"]["tuned"]["results"]
    training = found["training"]
    assert training["metrics"] == {"loss": 0.25, "logged": {"points": 3, "non_finite": 1}}
    assert Path(training["model_path"], "weights").read_text() == "w"
    assert training["checkpoint_path"] == training["model_path"]
    assert training["inputs"]["script"]["name"] == "my_train.py"
    assert training["provenance"]["script"]["path"] == str(lab.folder / "my_train.py")
    assert {"git", "seconds", "ended"} <= set(training["provenance"])
    assert Path(lab.folder / "cache" / "ckpts" / "tuned").resolve() == Path(training["model_path"])
    lines = [json.loads(line) for line in Path(training["curve_path"]).read_text().splitlines()]
    assert [line["metrics"]["norm"] for line in lines] == [0.5, None, 0.5]
    assert [(line["step"], line["attempt"], line["restart"]) for line in lines] == [(0, 1, 0), (1, 1, 0), (2, 1, 0)]

    assert (word(lab), word(lab, "eval")) == (("completed", ""), ("completed", ""))
    assert found["eval"]["inputs"]["upstream"]["fingerprint"] == training["fingerprint"]
    assert json.loads(Path(found["eval"]["results_path"]).read_text()) == EVALUATION
    (row,) = answer_of(lab, "leaderboard", "tuned")["data"]
    assert row["benchmarks"]["held-out"]["accuracy"] == 0.75


def test_a_tracked_result_is_never_taken_for_that_of_our_own_stage(lab: Lab) -> None:
    add(lab, "twin")
    save(lab, "twin", "curation", "completed")
    to_the_end(lab, "finish")
    steps = {step["stage"]: step for step in answer_of(lab, "run", "tuned", "--dry-run")["data"]["plans"]}
    assert {steps[stage]["action"] for stage in ("training", "eval")} == {"skip"}
    steps = {step["stage"]: step for step in answer_of(lab, "run", "twin", "--dry-run")["data"]["plans"]}
    assert (steps["training"]["action"], steps["training"]["reason"]) == ("run", "missing")

    lab.edit("tuned", training_params={**TRAINING, "num_epochs": 2})
    ours = "script my_train.py -> this project's own stage"
    status, reason = word(lab)
    assert status == "stale"
    assert reason == f"{ours}; training_params.num_epochs 1.0 -> 2.0"
    assert word(lab, "eval") == ("stale", f"{ours}; upstream training changed")
    steps = answer_of(lab, "run", "tuned", "--dry-run")["data"]["plans"]
    assert [step["stage"] for step in steps if step["action"] == "run"] == ["training", "eval"]
    job = save(lab, "tuned", "training", "submitted")
    assert "script" not in job.inputs


def test_a_new_upstream_makes_our_own_stage_due_again_not_the_script(lab: Lab) -> None:
    to_the_end(lab, "finish")
    lab.edit("tuned", curation={**CURATION, "n_samples": 5})
    save(lab, "tuned", "curation", "completed")
    assert word(lab)[0] == "stale"
    job = save(lab, "tuned", "training", "submitted")
    assert "script" not in job.inputs


@pytest.mark.parametrize(
    ("how", "code", "error"),
    [
        ("raise", 1, "ValueError: no room"),
        ("leave", 0, "tuned: training: the script ended without finish()"),
        ("with", 4, "SystemExit: 4"),
    ],
)
def test_a_script_that_ends_without_finish_has_failed(lab: Lab, how: str, code: int, error: str) -> None:
    assert to_the_end(lab, how)[0] == code
    assert word(lab) == ("failed", error)
    assert word(lab, "eval")[0] == "missing"
    assert events(lab) == [("intent", 1, 0), ("started", 1, 0), ("failed", 1, 0)]
    assert to_the_end(lab, "finish")[0] == 0
    assert word(lab) == ("completed", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_is_recorded(lab: Lab, hanging: subprocess.Popen[str], number: signal.Signals) -> None:
    assert word(lab) == ("running", f"job {hanging.pid}")
    hanging.send_signal(number)
    assert hanging.wait(60) != 0
    assert word(lab) == ("cancelled", "KeyboardInterrupt")


def test_a_killed_script_is_seen_as_gone_and_can_start_again(lab: Lab, hanging: subprocess.Popen[str]) -> None:
    hanging.kill()
    hanging.wait()
    assert word(lab) == ("failed", f"job {hanging.pid} is gone without a record")
    assert to_the_end(lab, "finish")[0] == 0
    assert (word(lab), events(lab)[-1]) == (("completed", ""), ("completed", 2, 0))


def test_a_second_run_of_the_script_keeps_out(
    lab: Lab, hanging: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.attempt, "_LOCK_SECONDS", 0.1)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(lab.folder / "my_train.py"), raising=False)
    with pytest.raises(StageFailure, match="tuned: another attempt is at work in"):
        track("tuned")
    assert word(lab) == ("running", f"job {hanging.pid}")


def test_a_requeued_job_goes_on_with_its_attempt(lab: Lab) -> None:
    job = {"SLURM_JOB_ID": "4711"}
    to_the_end(lab, "raise", **job)
    assert to_the_end(lab, "finish", **job, SLURM_RESTART_COUNT="1")[0] == 0
    assert [event for event in events(lab) if event[0] != "intent"] == [
        ("started", 1, 0),
        ("failed", 1, 0),
        ("started", 1, 1),
        ("completed", 1, 1),
    ]
    assert lab.results("tuned")["training"]["metrics"]["logged"]["points"] == 6


def test_only_rank_0_reports(lab: Lab) -> None:
    environment = {"RANK": "1", "WORLD_SIZE": "2"}
    program = (
        "from registry import track\nwith track('tuned') as run:\n"
        "    run.log_metrics({'loss': 1.0}, step=0)\n    run.log_evaluation({})\n    run.finish()\nprint(run.run_dir)"
    )
    known = {**lab.environment, **environment, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", program], env=known, capture_output=True, text=True)
    assert (done.stdout, done.stderr, events(lab)) == ("None\n", "", [])


def test_an_evaluation_of_another_program_alone(lab: Lab, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text("{}\n")
    with track("base", stage="eval") as run:
        with pytest.raises(UsageError, match=r"base: eval: nothing was evaluated: call log_evaluation\(\)"):
            run.finish()
        run.log_evaluation(EVALUATION, predictions=answers)
        run.finish()
    found = lab.results("base")["eval"]
    assert (found["metrics"], found["predictions_path"]) == (EVALUATION, str(answers))
    assert lab.registry.statuses(lab.registry.read(), "base")["eval"].status == "completed"


def test_after_the_end_nothing_can_be_added(lab: Lab) -> None:
    run = track("tuned")
    run.finish()
    with pytest.raises(UsageError, match=r"tuned: training: finish\(\) after the end of the run"):
        run.finish()
    with pytest.raises(UsageError, match=r"log_metrics\(\) after the end"):
        run.log_metrics({"loss": 1.0}, step=1)
    with pytest.raises(UsageError, match=r"log_evaluation\(\) after the end"):
        run.log_evaluation(EVALUATION)


def test_a_with_block_without_finish_is_an_error(lab: Lab) -> None:
    with pytest.raises(StageFailure, match=r"tuned: training: the script ended without finish\(\)"), track("tuned"):
        pass
    assert word(lab)[0] == "failed"


def test_wrong_use_is_one_line_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no experiment 'tunde' in .*did you mean 'tuned'\?; make one with `meds1"):
        track("tunde")
    with pytest.raises(UsageError, match="base: its config has no training, so there is none to track; give it curat"):
        track("base")
    with pytest.raises(UsageError, match="tuned: 'curation' cannot be tracked; legal: eval, training"):
        track("tuned", stage="curation")
    with pytest.raises(MissingError, match="tuned: eval needs training, which is missing"):
        track("tuned", stage="eval")
    assert events(lab) == []


def test_wrong_values_are_refused_and_the_run_goes_on(lab: Lab, tmp_path: Path) -> None:
    with track("tuned") as run:
        with pytest.raises(UsageError, match=r"tuned: log_metrics\(\): loss is a str; log numbers by name"):
            run.log_metrics({"loss": "low"}, step=1)
        with pytest.raises(MissingError, match=r"log_checkpoint\(\): nothing lies at .*gone"):
            run.log_checkpoint(tmp_path / "gone", step=1)
        with pytest.raises(MissingError, match=r"finish\(\): nothing lies at"):
            run.finish(model_path=tmp_path / "gone")
        with pytest.raises(StageFailure, match=r"its result cannot be recorded: \$\.metrics\.loss: nan"):
            run.finish(metrics={"loss": float("nan")})
        run.finish()
    assert word(lab) == ("completed", "")


@pytest.mark.parametrize(
    ("scores_of", "message"),
    [
        ({"accuracy": 0.5}, r"benchmarks\.held-out: lacks accuracy_ci, num_correct, total_examples"),
        ({**EVALUATION["benchmarks"]["held-out"], "accuracy": 75}, r"accuracy 75 must lie in its interval"),
        ({**EVALUATION["benchmarks"]["held-out"], "num_correct": 1}, r"accuracy 0\.75 is not 1 of 4"),
        ({**EVALUATION["benchmarks"]["held-out"], "accuracy_ci": [0.1]}, r"accuracy_ci is \[low, high\]"),
        ({**EVALUATION["benchmarks"]["held-out"], "extra": float("nan")}, r"nan has no canonical form; give null"),
    ],
)
def test_a_score_that_tables_cannot_read_is_refused(lab: Lab, scores_of: dict[str, Any], message: str) -> None:
    with track("tuned") as run:
        with pytest.raises(UsageError, match=message):
            run.log_evaluation({"benchmarks": {"held-out": scores_of}})
        run.log_evaluation({"accuracy": 0.5})
        run.finish()
    assert lab.results("tuned")["eval"]["metrics"] == {"accuracy": 0.5}


def test_scalars_of_numpy_and_torch_are_numbers(lab: Lab) -> None:
    import numpy
    import torch

    with track("tuned") as run:
        run.log_metrics({"a": numpy.float32(0.5), "b": torch.tensor(2.0), "c": numpy.int64(3), "d": True}, step=1)
        with pytest.raises(UsageError, match="grad is a Tensor"):
            run.log_metrics({"grad": torch.zeros(2)}, step=2)
        run.finish(metrics={"loss": torch.tensor(0.5), "per": [numpy.float64(1.5)]})
    found = lab.results("tuned")["training"]
    assert (found["metrics"]["loss"], found["metrics"]["per"]) == (0.5, [1.5])
    line = json.loads(Path(found["curve_path"]).read_text())
    assert line["metrics"] == {"a": 0.5, "b": 2.0, "c": 3, "d": True}


def test_the_config_that_counts_is_that_of_the_start(lab: Lab) -> None:
    with track("tuned") as run:
        lab.edit("tuned", eval={"max_tokens": 7})
        run.log_evaluation(EVALUATION)
        run.finish()
    assert lab.results("tuned")["eval"]["metrics"] == EVALUATION
    status, reason = word(lab, "eval")
    assert (status, "eval.max_tokens 2048 -> 7" in reason) == ("stale", True)


def test_the_newest_checkpoint_is_found_after_a_crash(lab: Lab, tmp_path: Path) -> None:
    saved = [tmp_path / f"step-{step}" for step in range(2)]
    run = track("tuned")
    for step, path in enumerate(saved):
        path.write_text("state")
        run.log_checkpoint(path, step=step)
    assert run.run_dir is not None
    with open(run.run_dir / "checkpoints.jsonl", "a") as out:
        out.write('{"step": 2, "pa')  # killed in the middle of a line
    run.__exit__(ValueError, ValueError("crash"), None)
    saved[1].unlink()
    with track("tuned") as again:
        assert again.last_checkpoint == saved[0]
        again.log_checkpoint(saved[0], step=5)
        assert again.last_checkpoint == saved[0]
        again.finish()


def test_a_tracked_job_is_no_job_of_ours(lab: Lab) -> None:
    """Its file can be loaded, but our own stage refuses to run under the script's fingerprint."""
    with track("tuned") as run:
        run.finish()
    found = lab.results("tuned")["training"]
    from registry.job import load_job

    with pytest.raises(UsageError, match="training changed since it was submitted"):
        run_job(load_job(job_file(Path(found["run_dir"]), 1)))


def test_track_takes_an_opened_registry(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDS1_REGISTRY")
    opened: Registry = open_registry(lab.folder / "results.json")
    track("tuned", registry=opened).finish()
    assert lab.results("tuned")["training"]["status"] == "completed"


def test_a_forked_child_that_exits_ends_nothing(lab: Lab) -> None:
    program = (
        "import os, sys\nfrom registry import track\nrun = track('tuned')\n"
        "if os.fork() == 0:\n    sys.exit(3)\nos.wait()\nrun.finish()\n"
    )
    known = {**lab.environment, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", program], env=known, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [event for event, _, _ in events(lab)] == ["intent", "started", "completed"]
