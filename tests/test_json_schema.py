"""The committed JSON Schemas: equal to the models, and true of the files as people write them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from registry.curation_schema import CURATIONS
from registry.document import load, render
from registry.json_schema import FOLDER, config_schema, results_schema
from registry.schema import EvalConfig
from registry.training_schema import TrainingParams
from tests.original_registry import original_document
from tests.registry_case import CURATION, TRAINING, base, tuned

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = {"results": results_schema(), "config": config_schema()}


def refused(name: str, document: Any) -> list[str]:
    """Where the schema of this name refuses a document."""
    # Not one of the project's own dependencies; it comes with others of them.
    library = pytest.importorskip("jsonschema")
    validator = library.Draft202012Validator(SCHEMAS[name])
    validator.check_schema(SCHEMAS[name])
    # Of a field that may be one of several things, the branch that fits best says what is wrong.
    return [library.exceptions.best_match([error]).json_path for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name", ["results", "config"])
def test_the_committed_schema_is_that_of_the_models(name: str) -> None:
    committed = (FOLDER / f"{name}.schema.json").read_bytes()
    assert committed == render(SCHEMAS[name]), "run `make schema`"


@pytest.mark.parametrize("name", ["results", "config"])
def test_the_shipped_file_names_its_schema_keeps_to_it_and_is_canonical(name: str) -> None:
    document, raw = load(ROOT / f"{name}.json")
    assert (ROOT / document["$schema"]) == FOLDER / f"{name}.schema.json"
    assert refused(name, json.loads(raw)) == []
    assert render(document) == raw


def test_a_registry_of_the_original_project_keeps_to_the_schema_but_for_its_own_names() -> None:
    document = original_document("/cluster")
    assert refused("results", document) == []
    assert refused("results", {"experiments": {"x": {"config": None, "results": None}}}) == []


@pytest.mark.parametrize(
    "body",
    [
        tuned(curation="same as base", training_params="same as  base", datasets="same as base", eval="same as base"),
        tuned(curation={"n_samples": 4}, training_params={"optimizer": {"adam_beta1": 0.8}}),
        tuned(curation=None, training_params=None, eval=None, slurm={"eval": None, "training": {"gpus": 2}}),
        tuned(curation={**CURATION, "huatuo_format": True, "extract": "step"}, format="huatuo"),
        tuned(curation={**CURATION, "extract": ["cot", "step"], "perturbation": {"type": "skip", "rate": 0.33}}),
        tuned(eval={"repetitions": {"GPQA_Medical_test": 5}}),
        {**base(), "tags": ["a"], "notes": ["plain", {"text": "x", "author": "y", "timestamp": "z"}]},
        {**base(), "results": {"curation": None, "training": {"model_path": "x", "metrics": None}, "eval": {"own": 1}}},
    ],
)
def test_what_people_and_jobs_write_is_taken(body: dict[str, Any]) -> None:
    assert refused("results", {"$schema": "x", "format": 1, "experiments": {"x": body}}) == []


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (tuned(curation="like base"), ".config.curation"),
        (tuned(model_key=None), ".config.model_key"),
        (tuned(training_params={**TRAINING, "learning_rate": 0}), ".config.training_params.learning_rate"),
        (tuned(prompting="stepp"), ".config.prompting"),
        (tuned(trainig_params={}), ".config"),
        ({**base(), "descripton": "x"}, ""),
        ({**base(), "results": {"evaluation": {}}}, ".results"),
        ({**base(), "results": {"eval": {"status": "done"}}}, ".results.eval.status"),
        ({**base(), "notes": [{"author": "me"}]}, ".notes[0]"),
    ],
)
def test_what_the_command_would_refuse_is_refused(body: dict[str, Any], place: str) -> None:
    paths = refused("results", {"experiments": {"x": body}})
    assert paths == [f"$.experiments.x{place}"]


@pytest.mark.parametrize("name", ["a b", "../x", ".hidden", "n" * 129])
def test_illegal_names_are_refused(name: str) -> None:
    assert refused("results", {"experiments": {name: base()}}) == ["$.experiments"]


@pytest.mark.parametrize(
    ("catalog", "path"),
    [
        ({"models": {"tiny": {"hf_path": "a/b"}}}, "$.models.tiny"),
        ({"modles": {}}, "$"),
        ({"defaults": {"eval": {"engine": "vlm"}}}, "$.defaults.eval.engine"),
        ({"defaults": {"curation": {"seed": 1}, "training_params": {"seed": 1}}}, None),
        ({"slurm": {"train": {}}}, "$.slurm"),
        ({"slurm": {"training": {"gpus": -1}}}, "$.slurm.training.gpus"),
        ({"display": {"experiments": {"x": {"color": "red"}}}}, "$.display.experiments.x.color"),
    ],
)
def test_the_catalogs_schema(catalog: dict[str, Any], path: str | None) -> None:
    assert refused("config", catalog) == ([path] if path else [])


def test_editors_can_show_what_a_field_is_for() -> None:
    models: list[type[BaseModel]] = [*CURATIONS.values(), TrainingParams, EvalConfig]
    for model in models:
        assert [name for name, field in model.model_fields.items() if not field.description] == []
    properties = SCHEMAS["results"]["$defs"]["WrittenConfig"]["properties"]
    assert properties["prompting"]["enum"] == ["plain", "strict", "step"]
    assert all("description" in field for field in properties.values())
    assert not any({"no_outcome", "optional"} & part.keys() for part in _objects(SCHEMAS))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(below)
