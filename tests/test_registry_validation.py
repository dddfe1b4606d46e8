"""`meds1 validate`: every problem of a registry and its catalog in one pass, where it is and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.store import Registry, open_registry
from registry.validation import check
from tests.registry_case import CURATION, TRAINING, base, record, tuned, write_lab


def found(lab: Registry) -> dict[str, str]:
    """The problems by path, as `message; mend`."""
    return {problem.path: "; ".join(filter(None, [problem.message, problem.mend])) for problem in check(lab).problems}


def found_in(folder: Path, **config: Any) -> dict[str, str]:
    """The problems of an experiment `x` with these fields changed, by their path in its config."""
    start = "experiments.x.config."
    return {path.removeprefix(start): said for path, said in found(write_lab(folder, {"x": tuned(**config)})).items()}


def test_no_problem_hides_another(tmp_path: Path) -> None:
    experiments = {
        "broken": {
            "descripton": "a slip",
            "tags": "ablation",
            "notes": [{"txt": "x"}, "a plain one"],
            "config": {
                "model_key": "tinny",
                "datasets": {"curate": "trian", "eval": ["exam", "exma"]},
                "curation": {"method": "random", "n_sample": 5, "format": "huato", "seed": "one"},
                "training_params": "same as nobody",
                "eval": {"limit": 0, "top_p": 2},
                "promting": "step",
                "slurm": {"eval": {"gpu": 1}},
            },
            "results": {"evaluation": {}, "eval": {"status": "done"}},
        },
        "a b": base(),
    }
    lab = write_lab(
        tmp_path,
        experiments,
        models={"tiny": {"file_path": "model"}, "far": {"file_path": "${NOT_SET}/model", "max_length": 5}},
        defaults={"curation": {"sed": 4}, "eval": {"temperature": 9}},
        slurm={"training": {"memory": "lots"}},
        comment="x",
    )
    start = "experiments.broken."

    problems = check(lab).problems

    assert [problem.path for problem in problems if problem.experiment is None] == [
        "models.tiny.max_length",
        "comment",
        "defaults.curation.sed",
        "defaults.eval.temperature",
        "slurm.training.memory",
        "models.far.file_path",
    ]
    assert {problem.path.removeprefix(start) for problem in problems if problem.experiment == "broken"} == {
        "descripton",
        "tags",
        "notes[0].txt",
        "notes[0].text",
        "results.evaluation",
        "results.eval.status",
        "config.model_key",
        "config.datasets.curate",
        "config.datasets.eval[1]",
        "config.curation.n_samples",
        "config.curation.n_sample",
        "config.curation.format",
        "config.curation.seed",
        "config.training_params",
        "config.eval.limit",
        "config.eval.top_p",
        "config.promting",
        "config.slurm.eval.gpu",
    }
    assert [problem.path for problem in problems if problem.experiment == "a b"] == ['experiments."a b"']
    assert all("\n" not in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("config", "path", "said"),
    [
        ({"eval": {"limt": 1}}, "eval.limt", "unknown field; did you mean 'limit'?"),
        ({"eval": {"limit": 0}}, "eval.limit", "(got 0); put a whole number at least 1 or null"),
        ({"eval": {"top_p": 1.5}}, "eval.top_p", "(got 1.5); put a number above 0 and at most 1"),
        ({"eval": {"engine": "vlm"}}, "eval.engine", "(got 'vlm'); did you mean 'vllm'?"),
        ({"training_params": {**TRAINING, "optimizer": {"adam_beta1": 2}}}, "training_params.optimizer.adam_beta1",
         "put a number at least 0 and at most 1"),
        ({"training_params": {"num_epochs": 2}}, "training_params.learning_rate",
         "Field required; add it: a number above 0"),
        ({"curation": {**CURATION, "quality": {"truncation_tokens": [1, 0]}}}, "curation.quality.truncation_tokens[1]",
         "put a whole number at least 1"),
        ({"curation": {**CURATION, "difficulty": {"samples": 2}}}, "curation.difficulty",
         "needs a temperature above 0"),
        ({"datasets": {"curate": "train", "eval": 3}}, "datasets.eval",
         "a valid string or a list (got 3); put a text or a list or null"),
        ({"training_params": "Same as x"}, "training_params", "write it as 'same as x', in small letters"),
        ({"model_key": "same as x"}, "model_key", "'same as x' is not in the catalog's models; legal: tiny"),
        ({"slurm": "same as x"}, "slurm", "must be an object of objects; give one for each stage"),
        ({"slurm": {"eval": {"time": "1:00"}}}, "slurm.eval.time", "put a whole number at least 1 or a text such as"),
        ({"curation": None}, "training_params", "add curation or remove training_params"),
        ({"datasets": {"eval": "exam"}}, "datasets.curate", "has curation but datasets.curate names no data set"),
        ({"curation": {**CURATION, "huatuo_format": False}}, "curation.huatuo_format", "give curation.format instead"),
    ],
)  # fmt: skip
def test_a_problem_has_a_path_and_a_mend(tmp_path: Path, config: dict[str, Any], path: str, said: str) -> None:
    problems = found_in(tmp_path, **config)

    assert list(problems) == [path]
    assert said in problems[path]


def test_a_problem_is_told_once_and_where_it_can_be_mended(tmp_path: Path) -> None:
    experiments = {
        "one": tuned(curation="same as two"),
        "two": tuned(curation={**CURATION, "sed": 1}),
        "three": tuned(curation="same as one", eval={"limit": 1}),
    }
    lab = write_lab(tmp_path, experiments, defaults={"eval": {"limits": 5}})
    assert list(found(lab)) == ["defaults.eval.limits", "experiments.two.config.curation.sed"]
    assert [problem.experiment for problem in check(lab).problems] == [None, "two"]
    assert check(lab).problems[0].file == str(lab.catalog_path)


def test_every_broken_reference_is_told_with_its_chain_and_nothing_that_follows_from_it(tmp_path: Path) -> None:
    experiments = {
        "a": tuned(curation="same as b", datasets="same as a"),
        "b": tuned(curation="same as a", eval="same as c"),
        "c": tuned(training_params="same as base"),
        "base": base(),
    }
    problems = found(write_lab(tmp_path, experiments))
    assert problems == {
        "experiments.a.config.curation": "a -> same as b -> same as a is a circle; give one of them a value",
        "experiments.a.config.datasets": "a -> same as a is a circle; give one of them a value",
        "experiments.b.config.curation": "b -> same as a -> same as b is a circle; give one of them a value",
        "experiments.b.config.eval": "b -> same as c, which has no eval; point to one that has",
        "experiments.c.config.training_params": (
            "c -> same as base, which has no training_params; point to one that has"
        ),
    }


def test_a_long_name_hides_no_problem_of_its_experiment(tmp_path: Path) -> None:
    problems = check(write_lab(tmp_path, {"n" * 300: tuned(curation="same as gone", eval={"limt": 1})})).problems
    assert len(problems) == 3
    assert all(len(str(problem)) < 300 for problem in problems)


def test_a_broken_catalog_entry_is_not_blamed_on_those_who_use_it(tmp_path: Path) -> None:
    lab = write_lab(tmp_path, eval_datasets={"exam": {"file_path": "exam.jsonl", "hf_path": "a/b"}})
    assert found(lab) == {
        "eval_datasets.exam": "give one of hf_path, file_path and merge (or a plugin that loads its questions itself)"
    }


def test_a_catalog_that_is_no_json_hides_nothing_of_the_registrys_own(tmp_path: Path) -> None:
    lab = write_lab(tmp_path, {"a/b": {"tag": []}})
    lab.catalog_path.write_text('{"models": }')
    lines = [str(problem) for problem in check(lab).problems]
    assert len(lines) == 3
    assert "config.json: line 1, column 12" in lines[0]
    assert lines[1].startswith("experiments.a/b.tag: unknown field; did you mean 'tags'?")
    assert "experiment name 'a/b' is not legal" in lines[2]


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ({"experiments": []}, ["experiments"]),
        ({"experiments": {"x": "same as y", "y": base(eval={"limit": 0})}},
         ["experiments.x", "experiments.y.config.eval.limit"]),
        ({"experiments": {"x": {"config": []}, "y": {"results": {"eval": 1}, **base()}}},
         ["experiments.x.config", "experiments.y.results.eval"]),
        ({"experiments": {}, "format": 9}, ["format"]),
    ],
)  # fmt: skip
def test_what_has_not_the_shape_of_a_registry_is_told_with_the_rest(
    tmp_path: Path, document: dict[str, Any], paths: list[str]
) -> None:
    lab = write_lab(tmp_path)
    lab.paths.file.write_text(json.dumps(document))
    assert list(found(lab)) == paths


def test_a_result_that_the_config_has_no_stage_for_is_told(tmp_path: Path) -> None:
    lab = write_lab(tmp_path, {"base": base(), "tuned": tuned()})
    for name in ("base", "tuned"):
        lab.save(record(experiment=name, stage="training", model_path="x"))
    problems = found(lab)
    assert list(problems) == ["experiments.base.results.training"]
    assert problems["experiments.base.results.training"].endswith("`meds1 rm base --stage training`")


def test_what_may_be_as_it_should_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere"))
    models = {"tiny": {"file_path": "model", "max_length": 5}, "far": {"file_path": "${ELSEWHERE}", "max_length": 5}}
    lab = write_lab(tmp_path, models=models, display={"experiments": {"tunde": {"name": "x"}}})
    findings = check(lab)
    assert findings.problems == ()
    assert [warning.path for warning in findings.warnings] == ["models.far.file_path", "display.experiments.tunde"]
    assert "did you mean 'tuned'?" in str(findings.warnings[1])


def test_contradictory_results_are_warnings(tmp_path: Path) -> None:
    times = {"curation": "2026-11-20T18:00:00", "training": "2026-11-20T17:00:00"}
    results = {stage: {"timestamp": time} for stage, time in times.items()}
    findings = check(write_lab(tmp_path, {"v1.0": {**tuned(), "results": results}}))
    assert findings.problems == ()
    (warning,) = findings.warnings
    assert warning.path == 'experiments."v1.0".results.training.timestamp'
    assert "is older than the curation that it was made from" in warning.message
    assert "meds1 run v1.0 --stage training --force" in warning.mend


def test_the_checkouts_own_registry_is_sound() -> None:
    assert check(open_registry()).problems == ()
