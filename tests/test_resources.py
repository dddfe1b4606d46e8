"""What a stage's job asks of Slurm: by catalog, experiment and `--set`; checked before anything is submitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.care.reproduce import as_written
from registry.errors import UsageError
from registry.layers import CPU_RESOURCES, NO_MODEL, OWN, RESOURCES, SET
from registry.origins import origins
from registry.resolve import effective, resolve
from registry.schema import Resources
from registry.validation import check
from slurm.resources import slurm_parameters
from tests.registry_case import CURATION, tuned, write_lab
from tests.small_lab import answer_of, edit_json, make_small_lab

SLURM: dict[str, Any] = {"curation": {"gpus": 1, "cpus": 8, "memory": "64G"}, "training": {"gpus": 4, "time": 60}}
MISSPELT = (
    "unknown field; did you mean 'gpus'? "
    "(legal: account, constraint, cpus, extra, gpu_memory, gpus, max_requeues, memory, nodes, partition, qos, time)"
)


def found(folder: Path, experiment: dict[str, Any], slurm: Any = SLURM, **settings: Any) -> dict[str, Any]:
    """The effective resources of each stage, or the error's text."""
    lab = write_lab(folder, {"x": experiment}, slurm=slurm)
    config = effective(lab.read().document, lab.catalog, folder, "x", settings)
    return config.slurm.model_dump()


def refused(folder: Path, experiment: dict[str, Any], slurm: Any = SLURM, **settings: Any) -> str:
    with pytest.raises(UsageError) as caught:
        found(folder, experiment, slurm, **settings)
    return str(caught.value)


def test_an_experiment_and_set_win_over_the_catalog_field_by_field(tmp_path: Path) -> None:
    own = tuned(slurm={"training": {"nodes": 2, "gpus": 8, "extra": {"exclusive": True}}})
    training = found(tmp_path, own, **{"slurm.training.gpus": 2, "slurm.training.extra.nice": 100})["training"]
    assert (training["nodes"], training["gpus"], training["time"]) == (2, 2, 60)
    assert training["extra"] == {"exclusive": True, "nice": 100}


@pytest.mark.parametrize(
    ("curation", "gpus"),
    [
        (CURATION, 0),
        ({"method": "all"}, 0),
        ({**CURATION, "difficulty": {}}, 1),
        ({"method": "s1", "n_samples": 5}, 1),
        ({"method": "s1", "n_samples": 5, "difficulty": None}, 0),
    ],
)
def test_curation_asks_for_a_gpu_only_if_it_calls_a_model(tmp_path: Path, curation: dict[str, Any], gpus: int) -> None:
    resources = found(tmp_path, tuned(curation=curation))
    assert (resources["curation"]["gpus"], resources["curation"]["memory"]) == (gpus, "64G")
    assert resources["training"]["gpus"] == 4


def test_a_setting_that_drops_the_difficulty_filter_drops_the_gpu(tmp_path: Path) -> None:
    s1 = tuned(curation={"method": "s1", "n_samples": 5})
    assert found(tmp_path, s1, **{"curation.difficulty": None})["curation"]["gpus"] == 0
    assert found(tmp_path, tuned(), **{"slurm.curation.gpus": 3})["curation"]["gpus"] == 3


@pytest.mark.parametrize("slurm", [None, {"training": None}, {"training": {"gpus": 8}}])
def test_a_setting_reaches_resources_that_the_experiment_does_not_mention(tmp_path: Path, slurm: Any) -> None:
    assert found(tmp_path, tuned(slurm=slurm), **{"slurm.training.gpus": 2})["training"]["gpus"] == 2


def test_the_origin_of_every_resource_is_shown(tmp_path: Path) -> None:
    slurm = {**SLURM, "curation_cpu": {"partition": "cpu", "extra": {"nice": 5}}}
    lab = write_lab(tmp_path, {"x": tuned(slurm={"curation": {"qos": "low"}})}, slurm=slurm)
    resolution = resolve(lab.read().document, lab.catalog, tmp_path, "x", {"slurm.curation.time": 5})
    config = resolution.sound()
    shown = origins(config, resolution.layers, lab.catalog)
    assert config.slurm.curation == Resources(
        partition="cpu", qos="low", cpus=8, memory="64G", time=5, extra={"nice": 5}
    )
    names = ("partition", "gpus", "cpus", "qos", "time", "nodes", "extra.nice")
    assert [shown[f"slurm.curation.{name}"] for name in names] == [
        CPU_RESOURCES,
        NO_MODEL,
        RESOURCES,
        OWN,
        SET,
        "built-in",
        CPU_RESOURCES,
    ]


def test_a_reproduction_writes_only_resources_that_the_catalog_would_not_give(tmp_path: Path) -> None:
    lab = write_lab(tmp_path, {"x": tuned(slurm={"training": {"gpus": 2}})}, slurm=SLURM)
    config = effective(lab.read().document, lab.catalog, tmp_path, "x")
    assert as_written(config, lab.catalog)["slurm"] == {"training": {"gpus": 2}}


def test_a_misspelt_resource_is_refused_with_the_legal_list(tmp_path: Path) -> None:
    said = refused(tmp_path, tuned(slurm={"training": {"gpu": 2}}))
    assert said == f"experiments.x.config.slurm.training.gpu: {MISSPELT}"
    said = refused(tmp_path, tuned(), **{"slurm.training.gpu": 2})
    assert said == f"experiments.x.config.slurm.training.gpu: {MISSPELT}"
    said = refused(tmp_path, tuned(), {"training": {"gpu": 2}})
    assert said == f"catalog: slurm.training.gpu: {MISSPELT}"
    said = refused(tmp_path, tuned(), {"curation_cpu": {"gpu": 2}})
    assert said == f"catalog: slurm.curation_cpu.gpu: {MISSPELT}"
    assert "slurm.trainning: unknown field; did you mean 'training'?" in refused(tmp_path, tuned(), {"trainning": {}})


@pytest.mark.parametrize(
    ("resource", "value", "message"),
    [
        ("gpus", "two", "put a whole number at least 0"),
        ("gpus", -1, "put a whole number at least 0"),
        ("gpus", True, "put a whole number at least 0"),
        ("nodes", 0, "put a whole number at least 1"),
        ("cpus", 2.5, "put a whole number at least 1"),
        ("memory", 64, "put a text"),
        ("memory", "64 GB", "put a text such as 64G or null"),
        ("partition", 3, "put a text"),
        ("time", "12:00", "put a whole number at least 1 or a text such as 12:00:00 or 1-00:00:00"),
        ("time", "1h", "put a whole number at least 1 or a text such as 12:00:00 or 1-00:00:00"),
        ("extra", ["--exclusive"], "put an object"),
        ("extra", {"exclusive": [1]}, "slurm.eval.extra.exclusive"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path: Path, resource: str, value: Any, message: str) -> None:
    assert message in refused(tmp_path, tuned(slurm={"eval": {resource: value}}))


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("array", "0-9", "array is not yours to set: `meds1 submit` makes arrays"),
        ("dependency", "afterok:1", "dependency is not yours to set: the stages of a chain wait for one another"),
        ("comment", "x", "comment is not yours to set"),
        ("output", "x", "output is not yours to set: logs lie in the attempt's folder"),
        ("error", "x", "error is not yours to set"),
        ("signal", "USR1@60", "signal is not yours to set"),
        ("requeue", False, "requeue is not yours to set"),
        ("no_requeue", True, "no_requeue is not yours to set"),
        ("job_name", "x", "job_name is not yours to set"),
        ("parsable", True, "parsable is not yours to set"),
        ("mem", "1G", "mem is a resource: set memory instead"),
        ("gpus-per-node", 2, "gpus-per-node is a resource: set gpus instead"),
        ("--exclusive", True, "'--exclusive' is no long option of sbatch: write it without dashes"),
        ("p", "debug\nrm", "p has a line break"),
    ],
)
def test_options_that_the_project_sets_itself_are_refused_with_the_reason(
    tmp_path: Path, option: str, value: Any, reason: str
) -> None:
    assert reason in refused(tmp_path, tuned(slurm={"eval": {"extra": {option: value}}}))
    assert reason in refused(tmp_path, tuned(), {"eval": {"extra": {option: value}}})


def test_validate_checks_the_catalogs_resources_also_without_an_experiment(tmp_path: Path) -> None:
    slurm = {"eval": {"extra": {"array": "0-9"}, "gpu": 1}, "curation_cpu": {"cpus": "many"}}
    lab = write_lab(tmp_path, {}, slurm=slurm)
    assert sorted(problem.path for problem in check(lab).problems) == [
        "slurm.curation_cpu.cpus",
        "slurm.eval.extra",
        "slurm.eval.gpu",
    ]


@pytest.mark.parametrize("time", [60, "12:00:00", "1-00", "1-12:30", "2-00:00:00"])
def test_time_is_minutes_or_as_slurm_writes_it(time: int | str) -> None:
    assert slurm_parameters("eval", Resources(time=time), "x", None)["time"] == time


def test_an_option_that_is_false_is_left_out() -> None:
    extra: dict[str, str | int | bool] = {"exclusive": False, "hold": True, "nice": 0}
    given = slurm_parameters("eval", Resources(extra=extra), "x", None)["additional_parameters"]
    assert given == {"requeue": True, "hold": True, "nice": 0}


@pytest.mark.slurm
def test_a_dry_run_shows_the_script_with_the_resources_that_are_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_small_lab(tmp_path, monkeypatch)
    edit_json(tmp_path / "config.json", lambda catalog: catalog.update(slurm=SLURM))
    settings = ["slurm.training.gpus=2", "slurm.training.time=12:00:00", 'slurm.training.extra={"exclusive":true}']
    options = [word for setting in settings for word in ("--set", setting)]

    scripts = answer_of(lab, "submit", "tuned", "--cluster", "slurm", "--dry-run", *options)["data"]["sbatch"]

    training, curation = scripts["tuned.training"], scripts["tuned.curation"]
    for line in ("gpus-per-node=2", "ntasks-per-node=2", "time=12:00:00", "exclusive"):
        assert f"#SBATCH --{line}\n" in training
    assert "#SBATCH --mem=64G\n" in curation
    assert "gpus" not in curation
    assert "--time" not in curation
