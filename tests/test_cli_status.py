"""Every word of `meds1 status`, from real records of the registry and real processes."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.schema import Stage
from tests.lab import Lab
from tests.small_lab import CURATION, answer_of, complete, edit_json, make_small_lab, save, scores, without_slurm


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return make_small_lab(tmp_path / "lab", monkeypatch)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this machine that runs until it is ended."""
    with subprocess.Popen(["sleep", "600"]) as running:
        yield running
        running.kill()


def status(lab: Lab, name: str, stage: Stage) -> tuple[str, str]:
    """The word and the reason of one stage."""
    found: dict[str, Any] = answer_of(lab, "status", name)["data"][name][stage]
    return found["status"], found["reason"]


def here(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    return {"cluster": "here", "host": socket.gethostname(), "pid": process.pid}


def test_before_anything_has_run(lab: Lab) -> None:
    assert status(lab, "base", "curation") == ("n/a", "")
    assert status(lab, "base", "training") == ("n/a", "")
    assert status(lab, "base", "eval") == ("missing", "")


def test_completed_failed_and_cancelled(lab: Lab) -> None:
    save(lab, "tuned", "curation", "completed")
    save(lab, "tuned", "training", "failed", error="CUDA out of memory")
    save(lab, "base", "eval", "cancelled", error="interrupted")

    assert status(lab, "tuned", "curation") == ("completed", "")
    assert status(lab, "tuned", "training") == ("failed", "CUDA out of memory")
    assert status(lab, "base", "eval") == ("cancelled", "interrupted")


def test_a_failure_after_a_result_keeps_the_result_and_is_told(lab: Lab) -> None:
    save(lab, "base", "eval", "completed", metrics=scores(held_out=(2, 4)))
    save(lab, "base", "eval", "failed", error="disk full")

    assert status(lab, "base", "eval") == ("completed", "attempt 2 failed: disk full")


def test_stale_names_the_changed_fields_and_spreads_to_the_children(lab: Lab) -> None:
    complete(lab)
    lab.edit("tuned", curation={**CURATION, "n_samples": 5, "seed": 7})

    word, reason = status(lab, "tuned", "curation")
    assert word == "stale"
    assert "curation.n_samples 4 -> 5" in reason
    assert "curation.seed 42 -> 7" in reason
    assert status(lab, "tuned", "training") == ("stale", "upstream curation changed")
    assert status(lab, "tuned", "eval") == ("stale", "upstream training changed")


def test_stale_by_the_content_of_a_file_or_of_the_weights(lab: Lab) -> None:
    complete(lab)
    questions = lab.folder / "held-out.jsonl"
    questions.write_text(questions.read_text().replace("Which", "What"))

    word, reason = status(lab, "tuned", "eval")
    assert (word, reason.startswith("datasets.held-out.content ")) == ("stale", True)
    assert status(lab, "tuned", "training") == ("completed", "")

    (lab.folder / "model" / "config.json").write_text('{"rope": 2}')
    word, reason = status(lab, "tuned", "curation")
    assert (word, reason.startswith("model.content ")) == ("stale", True)


def test_a_file_that_is_not_mounted_here_leaves_the_result_completed(lab: Lab) -> None:
    save(lab, "base", "eval", "completed", metrics=scores(held_out=(2, 4)))
    (lab.folder / "held-out.jsonl").unlink()

    word, reason = status(lab, "base", "eval")
    assert word == "completed"
    assert reason.startswith("cannot be checked here: ")
    assert "held-out.jsonl" in reason


def test_a_result_of_the_original_project_is_completed_with_unknown_fingerprint(lab: Lab) -> None:
    def add_result(document: dict[str, Any]) -> None:
        document["experiments"]["base"]["results"] = {"curation": None, "eval": {"metrics_path": "m", "timestamp": "t"}}

    edit_json(lab.folder / "results.json", add_result)

    assert status(lab, "base", "eval") == ("completed", "fingerprint unknown (recorded by another program)")


def test_running_while_its_process_runs_and_failed_when_it_is_gone(lab: Lab, process: subprocess.Popen[bytes]) -> None:
    save(lab, "base", "eval", "started", job=here(process))

    assert status(lab, "base", "eval") == ("running", f"job {process.pid}")
    (step,) = [step for step in answer_of(lab, "run", "base", "--dry-run")["data"]["plans"] if step["stage"] == "eval"]
    assert step["action"] == "busy"
    assert f"attempt 1 is started (job {process.pid})" in step["reason"]

    process.kill()
    process.wait()
    assert status(lab, "base", "eval") == ("failed", f"job {process.pid} is gone without a record")


def test_submitted_until_the_background_process_has_started(lab: Lab, process: subprocess.Popen[bytes]) -> None:
    save(lab, "base", "eval", "submitted", job={**here(process), "cluster": "local"})

    assert status(lab, "base", "eval") == ("submitted", f"job {process.pid}")


def test_a_child_of_a_running_parent_is_not_started(lab: Lab, process: subprocess.Popen[bytes]) -> None:
    save(lab, "tuned", "curation", "started", job=here(process))

    done = lab.meds1("run", "tuned", code=3)

    assert "tuned: curation: attempt 1 is started" in done.stderr
    assert "meds1 status tuned" in done.stderr
    assert not lab.registry.paths.attempts("tuned", "training").exists()


def test_unknown_when_the_queue_cannot_be_asked(lab: Lab) -> None:
    save(lab, "base", "eval", "submitted", job={"cluster": "slurm", "id": "4711"})

    word, reason = status(without_slurm(lab), "base", "eval")

    assert word == "unknown"
    header = lab.registry.read().state.headers("base", "eval")[-1]
    assert reason == f"since {header.timestamp}: job 4711: squeue is not on this machine"


def test_the_table_says_the_same(lab: Lab) -> None:
    complete(lab)
    lab.edit("tuned", training_params={"learning_rate": 2e-3, "num_epochs": 1})

    lines = lab.meds1("status").stdout.splitlines()

    (row,) = [line.split() for line in lines if line.startswith("tuned")]
    assert row[1:4] == ["completed", "stale", "stale"]
    assert "training_params.learning_rate 0.001 -> 0.002" in " ".join(row)
    (row,) = [line.split() for line in lines if line.startswith("base")]
    assert row[1:] == ["n/a", "n/a", "missing"]
