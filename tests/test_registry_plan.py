"""What is planned for each stage, and what comes of it: run, skip, reuse; stale, in flight, overridden."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from registry.edits import remove
from registry.errors import MissingError
from registry.job import claim
from registry.provenance import process_start
from registry.schema import STAGES
from registry.store import Registry
from tests.registry_case import (
    ALL_RUN,
    CURATION,
    TRAINING,
    edit,
    entry,
    link,
    plans,
    reasons,
    result_in_file,
    run,
    staged_lab,
    states,
    use_stages,
    write_lab,
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return staged_lab(tmp_path, monkeypatch)


def test_what_is_completed_and_fresh_is_not_run_again(lab: Registry) -> None:
    run(lab)
    assert reasons(plans(lab)) == [("skip", "completed and fresh")] * 3
    assert run(lab) == ["skip"] * 3
    assert reasons(plans(lab, force=True)) == [("run", "forced")] * 3
    assert run(lab, force=True) == ALL_RUN
    assert entry(lab)["attempt"] == 2


def test_a_base_model_has_one_stage(lab: Registry) -> None:
    assert reasons(plans(lab, name="base"))[:2] == [("n/a", "not part of this experiment")] * 2
    assert run(lab, name="base") == ["n/a", "n/a", "run"]
    assert entry(lab, name="base")["metrics"] == {"score": 0}
    assert "upstream" not in entry(lab, name="base")["inputs"]


def test_an_edit_makes_stale_what_depends_on_it_and_names_the_field(lab: Registry) -> None:
    run(lab)
    edit(lab, training_params={**TRAINING, "num_epochs": 3})
    assert states(lab) == {"curation": "completed", "training": "stale", "eval": "stale"}
    assert reasons(plans(lab)) == [
        ("skip", "completed and fresh"),
        ("run", "stale: training_params.num_epochs 2.0 -> 3.0"),
        ("run", "stale: upstream training changed"),
    ]
    run(lab)
    assert set(states(lab).values()) == {"completed"}


def test_a_config_that_goes_back_takes_its_old_result_back(lab: Registry) -> None:
    run(lab)
    edit(lab, curation={**CURATION, "n_samples": 20})
    assert run(lab) == ALL_RUN
    assert entry(lab)["metrics"] == {"score": 20}
    edit(lab, curation=CURATION)
    assert reasons(plans(lab)) == [("reuse", "attempt 1 has completed this very stage")] * 3
    run(lab)
    assert (entry(lab)["metrics"], entry(lab)["attempt"]) == ({"score": 10}, 3)
    assert set(states(lab).values()) == {"completed"}
    assert link(lab) == Path(entry(lab)["run_dir"])
    assert json.loads((link(lab) / "eval_results.json").read_text()) == {"score": 10}


def test_another_experiments_equal_stage_is_reused_and_named(lab: Registry) -> None:
    run(lab)
    edit(lab, "half", training_params={**TRAINING, "seed": 7})
    assert reasons(plans(lab, name="half")) == [
        ("reuse", "tuned has completed this very stage"),
        ("run", "missing"),
        ("run", "missing"),
    ]
    assert run(lab, name="half") == ["reuse", "run", "run"]
    assert run(lab, name="twin") == ["reuse"] * 3
    assert (entry(lab, name="twin")["reused_from"], entry(lab, name="twin")["metrics"]) == ("tuned", {"score": 10})
    assert entry(lab, name="twin")["provenance"] == entry(lab)["provenance"]
    assert link(lab, name="twin") == link(lab)
    assert reasons(plans(lab, name="twin")) == [("skip", "completed and fresh")] * 3


def test_a_result_whose_files_are_gone_is_not_reused(lab: Registry) -> None:
    run(lab)
    Path(entry(lab, "curation")["dataset_path"]).unlink()
    assert [step.action for step in plans(lab, name="twin")] == ["run", "reuse", "reuse"]


def test_a_run_with_overrides_is_history_but_a_parent_in_its_own_wish(lab: Registry) -> None:
    run(lab)
    before, target = result_in_file(lab), link(lab)
    overrides = {"curation.n_samples": 30}
    assert run(lab, overrides=overrides) == ALL_RUN
    assert (result_in_file(lab), link(lab)) == (before, target)
    tried = [header for header in lab.read().state.headers("tuned", "eval") if header.overridden]
    assert {header.event for header in tried} == {"intent", "started", "completed"}
    recorded = lab.recorded(lab.read(), "tuned", "eval", tried[0].fingerprint)
    assert recorded is not None
    assert (recorded["metrics"], recorded["overrides"]) == ({"score": 30}, overrides)
    assert reasons(plans(lab, overrides=overrides)) == [("skip", "completed and fresh")] * 3
    assert reasons(plans(lab)) == [("skip", "completed and fresh")] * 3


def test_overrides_that_change_only_a_late_stage_keep_the_early_ones(lab: Registry) -> None:
    run(lab)
    steps = plans(lab, overrides={"eval.limit": 5})
    assert [(step.action, bool(step.overrides)) for step in steps] == [("skip", False), ("skip", False), ("run", True)]


def test_overrides_that_a_person_takes_into_the_file_are_reused(lab: Registry) -> None:
    run(lab, overrides={"curation.n_samples": 30})
    assert set(states(lab).values()) == {"missing"}
    edit(lab, curation={**CURATION, "n_samples": 30})
    assert run(lab) == ["reuse"] * 3
    assert (entry(lab)["metrics"], set(states(lab).values())) == ({"score": 30}, {"completed"})
    assert "overrides" not in entry(lab)


def test_a_stage_without_its_parent_names_the_command(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError, match=r"training needs curation, which is missing; run `meds1 run tuned"):
        plans(lab, ("training",))
    run(lab)
    edit(lab, curation={**CURATION, "n_samples": 20})
    with pytest.raises(MissingError, match=r"eval needs training, which is stale; run `meds1 run tuned --stage"):
        plans(lab, ("eval",))
    use_stages(monkeypatch, curation="fail")
    with pytest.raises(ValueError, match="no room"):
        run(lab, ("curation",), name="twin", force=True)
    with pytest.raises(MissingError, match="training needs curation, which has failed"):
        plans(lab, ("training",), name="twin")


def test_a_result_of_another_program_is_completed_but_no_parent(lab: Registry) -> None:
    document = json.loads(lab.paths.file.read_text())
    document["experiments"]["tuned"]["results"] = {"training": {"model_path": "x", "timestamp": "y"}, "eval": None}
    lab.paths.file.write_text(json.dumps(document))
    found = lab.statuses(lab.read(), "tuned")
    assert [found[stage].status for stage in STAGES] == ["missing", "completed", "missing"]
    assert "fingerprint unknown" in found["training"].reason
    with pytest.raises(MissingError, match="training, which was recorded by another program, with unknown fingerprint"):
        plans(lab, ("eval",))


def test_a_moved_hub_branch_stales_nothing_that_is_done(
    tmp_path: Path, lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    repository = tmp_path / "home" / "hub" / "models--lab--tiny"
    (repository / "refs").mkdir(parents=True)

    def publish(commit: str) -> None:
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit)

    publish("1" * 40)
    write_lab(lab.paths.file.parent, models={"tiny": {"hf_path": "lab/tiny", "max_length": 5}})
    lab = Registry(lab.paths, lab.catalog_path)
    run(lab, ("curation",))
    publish("2" * 40)
    assert [step.action for step in plans(lab)] == ["skip", "run", "run"]
    assert run(lab) == ["skip", "run", "run"]
    assert entry(lab, "curation")["inputs"]["model"]["revision"] == "1" * 40
    assert entry(lab, "training")["inputs"]["model"]["revision"] == "2" * 40
    assert run(lab, ("training",), force=True) == ["run"]
    assert set(states(lab).values()) == {"completed"}
    assert [step.action for step in plans(lab, ("curation",), force=True)] == ["run"]
    assert plans(lab, ("curation",), force=True)[0].config.model.revision == "2" * 40


def test_an_attempt_in_flight_is_left_alone(lab: Registry) -> None:
    (step,) = plans(lab, ("curation",))
    lab.save(claim(lab, step).record("started", {"job": {"cluster": "slurm", "id": "77"}}))
    for force in (False, True):
        (left,) = plans(lab, ("curation",), force=force)
        assert (left.action, left.reason.split(";")[0]) == ("busy", "attempt 1 is started (job 77)")
    assert states(lab)["curation"] == "running"
    assert plans(lab, ("curation",), overrides={"curation.seed": 9})[0].action == "run"


def test_an_attempt_whose_process_is_gone_runs_again(lab: Registry) -> None:
    (step,) = plans(lab, ("curation",))
    child = subprocess.Popen(["true"])
    child.wait()
    own = os.getpid()
    reused = {"pid": own, "start": "an earlier boot:17"}  # the number is another process's now
    alive = {"pid": own, "start": process_start(own)}
    for process, action in (({"pid": own}, "busy"), (alive, "busy"), (reused, "run"), ({"pid": child.pid}, "run")):
        here = {"cluster": "here", "host": socket.gethostname(), **process}
        lab.save(claim(lab, step).record("started", {"job": here}))
        assert plans(lab, ("curation",))[0].action == action


def test_a_run_with_overrides_in_flight_is_not_started_twice(lab: Registry) -> None:
    overrides = {"curation.seed": 9}
    (step,) = plans(lab, ("curation",), overrides=overrides)
    job = claim(lab, step)
    lab.save(job.record("started", {"job": {"cluster": "slurm", "id": "77"}}))
    assert plans(lab, ("curation",), overrides=overrides)[0].action == "busy"
    assert plans(lab, ("curation",))[0].action == "run"


def test_a_result_that_was_removed_is_made_anew_and_not_taken_from_the_history(lab: Registry) -> None:
    run(lab, name="base")
    remove(lab, "base", ("eval",))
    assert reasons(plans(lab, ("eval",), name="base")) == [("run", "missing")]
    run(lab, ("curation",))
    remove(lab, "tuned", ("curation",))
    with pytest.raises(MissingError, match="training needs curation, which is missing"):
        plans(lab, ("training",))
