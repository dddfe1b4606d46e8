"""`reproduce`: the config that a result was made with, again, and everything that differs from then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from registry.care.reproduce import Reproduction, reproduction
from registry.errors import MissingError, UsageError
from registry.records import parse_record
from registry.store import Registry
from registry.versions import STAGE_VERSION
from tests.lab import Lab
from tests.registry_case import CURATION, TRAINING, base, edit, entry, plans, reasons, run, staged_lab, tuned, write_lab
from tests.small_lab import answer_of, make_small_lab, save


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = staged_lab(tmp_path, monkeypatch)
    run(made)
    return made


def found(lab: Registry, name: str = "tuned", **how: Any) -> Reproduction:
    fresh = Registry(lab.paths, lab.catalog_path)  # reads the catalog anew
    return reproduction(fresh, fresh.read(), name, **how)


def created(lab: Registry, made: Reproduction) -> str:
    from registry.edits import create

    create(lab, {made.name: made.body}, "test")
    return made.name


def change_catalog(lab: Registry, **sections: Any) -> None:
    catalog = json.loads(lab.catalog_path.read_text())
    lab.catalog_path.write_text(json.dumps({**catalog, **sections}))


def change_provenance(lab: Registry, **fields: Any) -> None:
    """Save the eval's completed record again, as if it had been made elsewhere."""
    (path,) = [path for path in lab.paths.applied.iterdir() if "~eval~" in path.name and "~completed~" in path.name]
    record = parse_record(path.read_bytes())
    provenance = {**record.provenance, **fields}
    path.unlink()
    lab.paths.state.unlink()
    body = {**record.__dict__, "provenance": provenance}
    lab.save(type(record)(**body))


def test_when_nothing_has_changed_the_results_would_be_reused(lab: Registry) -> None:
    made = found(lab)
    assert (made.name, made.stage, made.attempt) == ("tuned-reproduced", "eval", 1)
    assert made.stages == {"curation": (), "training": (), "eval": ()}
    assert made.differences == {"code": (), "environment": (), "catalog": (), "config": ()}
    name = created(lab, made)
    again = Registry(lab.paths, lab.catalog_path)
    own, new = (again.effective(again.read(), one) for one in ("tuned", name))
    assert new.model_dump(exclude={"experiment"}) == own.model_dump(exclude={"experiment"})
    assert run(again, name=name) == ["reuse", "reuse", "reuse"]
    assert entry(again, name=name)["fingerprint"] == entry(again)["fingerprint"]
    assert found(lab).name == "tuned-reproduced-2"


def test_the_recorded_config_is_taken_not_the_current_one(lab: Registry) -> None:
    edit(lab, curation={**CURATION, "n_samples": 50}, prompting="step", datasets={"curate": "train"})
    made = found(lab, stage="training")
    assert made.body["config"]["curation"]["n_samples"] == 10
    assert set(made.differences["config"]) == {
        "curation.n_samples 10 -> 50",
        'prompting "plain" -> "step"',
        'eval_keys ["exam"] -> []',
    }
    assert made.stages == {"curation": (), "training": ()}
    name = created(lab, made)
    assert reasons(plans(lab, name=name))[:2] == [
        ("reuse", "tuned has completed this very stage"),
        ("reuse", "tuned has completed this very stage"),
    ]


def test_later_defaults_and_references_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged_lab(tmp_path, monkeypatch)
    experiments = {
        "tuned": tuned(slurm={"training": {"gpus": 2, "memory": "8G"}}),
        "other": tuned(curation="same as tuned", training_params="same as tuned"),
        "base": base(datasets={"eval": ["exam", "second"]}),
    }
    lab = write_lab(tmp_path / "second", experiments)
    shutil.copy(lab.paths.file.parent / "exam.jsonl", lab.paths.file.parent / "second.jsonl")
    sets = {"exam": {"file_path": "exam.jsonl"}, "second": {"file_path": "second.jsonl"}}
    change_catalog(
        lab,
        eval_datasets=sets,
        defaults={"reference_gpus": 2, "curation": {"seed": 7}, "eval": {"max_tokens": 9}},
        slurm={"training": {"nodes": 2}},
    )
    lab = Registry(lab.paths, lab.catalog_path)
    run(lab, name="other")
    run(lab, ("eval",), name="base")
    edit(lab, training_params={**TRAINING, "num_epochs": 9})
    change_catalog(lab, defaults={"reference_gpus": 8, "training_params": {"weight_decay": 0.5}, "eval": {"seed": 3}})
    made = found(lab, "other")
    assert made.body["config"]["training_params"]["total_batch_size"] == 2
    assert made.stages == {"curation": (), "training": (), "eval": ()}
    assert made.differences["catalog"] == ("reference_gpus 2 -> 8",)
    assert any(line.startswith("training.num_epochs 2.0 -> 9.0") for line in made.differences["config"])
    assert found(lab, "base").body["config"]["datasets"] == {"eval": ["exam", "second"]}
    assert found(lab, "base").stages == {"eval": ()}
    assert made.body["config"]["slurm"] == {}


def test_own_resources_are_kept_and_those_of_the_catalog_are_not(lab: Registry) -> None:
    edit(lab, slurm={"training": {"gpus": 2}})
    run(lab, force=True)
    assert found(lab).body["config"]["slurm"] == {"training": {"gpus": 2}}


def test_changed_data_and_catalog_entries_are_named(lab: Registry) -> None:
    folder = lab.paths.file.parent
    (folder / "exam.jsonl").write_text('{"question": "Another?"}\n')
    shutil.copytree(folder / "model", folder / "moved")
    change_catalog(lab, models={"tiny": {"file_path": "moved", "max_length": 512}})
    made = found(lab)
    assert [line.split(" ")[0] for line in made.differences["catalog"]] == ["model.file_path"]
    assert made.stages["training"] == ()  # the model's content is the same
    assert [line.split(" ")[0] for line in made.stages["eval"]] == ["datasets.exam.content"]
    (folder / "exam.jsonl").unlink()
    assert found(lab).stages["eval"][0].startswith("cannot be compared here: ")


def test_a_catalog_entry_that_is_gone_is_refused_with_what_it_was(lab: Registry) -> None:
    change_catalog(lab, train_datasets={})
    with pytest.raises(
        UsageError, match=r"tuned: the catalog's train_datasets has no 'train' any more; put it back: .*"
    ):
        found(lab)


def test_another_stage_version_is_named(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    before = STAGE_VERSION["eval"]
    monkeypatch.setitem(STAGE_VERSION, "eval", 99)
    assert found(lab).stages["eval"] == (f"version {before} -> 99",)


def test_other_code_and_packages_are_named(lab: Registry, tmp_path: Path) -> None:
    patch = tmp_path / "code-0.diff"
    commit = "1" * 40
    git = {"commit": commit, "branch": "idea", "dirty": True, "diff": str(patch), "diff_sha256": "2" * 64}
    packages = {**entry(lab)["provenance"]["packages"], "torch": "1.0"}
    change_provenance(lab, git={**git, "left_out": ["big.bin"]}, python="3.10.1", packages=packages)
    code, environment = found(lab).differences["code"], found(lab).differences["environment"]
    assert code[0].startswith("commit 111111111111 (idea) -> ")
    assert code[0].endswith(f": `git checkout {commit}`")
    assert code[1] == f"had uncommitted changes, whose patch {patch} is gone (without big.bin)"
    assert environment[0].startswith("python 3.10.1 -> 3.11")
    assert [line.split(" -> ")[0] for line in environment[1:]] == ["torch 1.0"]
    patch.write_text("diff")
    assert found(lab).differences["code"][1] == f"had uncommitted changes: `git apply {patch}` (without big.bin)"


def test_a_result_without_provenance_says_so(lab: Registry) -> None:
    change_provenance(lab, git={"unknown": "no git clone"})
    assert found(lab).differences["code"] == ("commit: not recorded (no git clone)",)


def test_what_cannot_be_reproduced_is_one_line(lab: Registry) -> None:
    with pytest.raises(MissingError, match="half: has no completed stage to reproduce; see `meds1 status half`"):
        found(lab, "half")
    with pytest.raises(MissingError, match="base: training has not completed, so there is nothing to reproduce"):
        found(lab, "base", stage="training")
    with pytest.raises(UsageError, match="no experiment 'tunde' in the registry; did you mean 'tuned'"):
        found(lab, "tunde")
    with pytest.raises(UsageError, match="twin: there is such an experiment already; choose another name"):
        reproduction(lab, lab.read(), "tuned", None, "twin")
    with pytest.raises(UsageError, match="experiment name 'a/b'"):
        reproduction(lab, lab.read(), "tuned", None, "a/b")
    (intent,) = [path for path in lab.paths.applied.iterdir() if "~eval~" in path.name and "~intent~" in path.name]
    intent.unlink()
    lab.paths.state.unlink()
    with pytest.raises(MissingError, match=r"the intent record of eval, attempt 1, is not in .*; restore it"):
        found(lab)


def test_a_result_of_another_program_has_no_recorded_config(lab: Registry) -> None:
    document = json.loads(lab.paths.file.read_text())
    document["experiments"]["half"]["results"] = {"curation": {"dataset_path": "x"}}
    lab.paths.file.write_text(json.dumps(document))
    with pytest.raises(
        MissingError, match="half: curation was recorded by another program, without its config; `meds1"
    ):
        found(lab, "half")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = make_small_lab(tmp_path / "small", monkeypatch)
    job = save(made, "tuned", "curation", "started")
    made.registry.save(job.record("completed", {"metrics": {}, "run_dir": job.run_dir, "link": job.run_dir}))
    return made


def test_the_command_makes_the_experiment(command: Lab) -> None:
    said = command.meds1("reproduce", "tuned", "--dry-run").stdout
    assert "tuned-reproduced: would have the config of tuned: curation, attempt 1" in said
    assert "tuned-reproduced" not in command.meds1("list").stdout
    body = answer_of(command, "reproduce", "tuned", "--name", "again", "--stage", "curation")["data"]
    assert (body["name"], body["created"], body["stages"]) == ("again", True, {"curation": []})
    document = json.loads((command.folder / "results.json").read_text())
    assert document["experiments"]["again"]["config"] == body["body"]["config"]
    (step, *_) = answer_of(command, "run", "again", "--dry-run", "--stage", "curation")["data"]["plans"]
    assert (step["action"], step["reason"]) == ("reuse", "tuned has completed this very stage")
    done = command.meds1("reproduce", "tuned", "--name", "again", code=2)
    assert done.stderr == "meds1 reproduce: again: there is such an experiment already; choose another name\n"
