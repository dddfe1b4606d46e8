"""`meds1 config`: where each value of an effective config comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.json_path import join
from registry.layers import assign
from registry.origins import origins, values
from registry.resolve import effective, resolve
from tests.registry_case import CURATION, TRAINING, tuned, write_lab

EXPERIMENTS: dict[str, Any] = {
    "mine": tuned(
        curation="same as between",
        eval={"max_tokens": 64},
        slurm={"training": {"gpus": 2, "qos": None}},
        training_params={**TRAINING, "optimizer": {"adam_beta1": 0.8}},
    ),
    "between": tuned(curation="same as theirs"),
    "theirs": tuned(curation={**CURATION, "quality": {"max_tokens": 9}, "difficulty": None}),
}
CATALOG: dict[str, Any] = {
    "models": {"tiny": {"file_path": "model", "max_length": 512}},
    "eval_datasets": {"exam": {"file_path": "exam.jsonl", "columns": {"question": "q"}}},
    "defaults": {
        "curation": {"seed": 1, "n_samples": 3},
        "training_params": {"optimizer": {"adam_beta1": 0.7, "adam_beta2": 0.7}},
        "eval": {"temperature": 0.5},
        "reference_gpus": 8,
    },
    "slurm": {"training": {"gpus": 4, "cpus": 3}},
}
SETTINGS = {"eval.limit": 3, "curation.quality": {}, "curation.method": "s1", "prompting": "step"}


@pytest.fixture
def found(tmp_path: Path) -> dict[str, str]:
    lab = write_lab(tmp_path, EXPERIMENTS, **CATALOG)
    resolution = resolve(lab.read().document, lab.catalog, tmp_path, "mine", SETTINGS)
    assert resolution.config is not None
    return origins(resolution.config, resolution.layers, lab.catalog)


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("model_key", "own"),
        ("model.max_length", "catalog"),
        ("model.gated", "built-in"),
        ("train_dataset_key", "own"),
        ("eval_datasets.exam.columns.question", "catalog"),
        ("eval_datasets.exam.columns.answer", "built-in"),
        ("curation.n_samples", "same as theirs"),
        ("curation.difficulty", "same as theirs"),
        ("curation.method", "--set"),
        ("curation.quality.max_tokens", "built-in"),  # --set has replaced the object that it stood in
        ("curation.seed", "config.json defaults"),
        ("curation.long_tokens", "built-in"),
        ("training.learning_rate", "own"),
        ("training.optimizer.adam_beta1", "own"),
        ("training.optimizer.adam_beta2", "config.json defaults"),
        ("training.optimizer.adam_epsilon", "built-in"),
        ("eval.max_tokens", "own"),
        ("eval.limit", "--set"),
        ("eval.temperature", "config.json defaults"),
        ("prompting", "--set"),
        ("reference_gpus", "config.json defaults"),
        ("slurm.training.gpus", "own"),
        ("slurm.training.qos", "own"),
        ("slurm.training.cpus", "config.json slurm"),
        ("slurm.eval.gpus", "built-in"),
        ("difficulty_model", "built-in"),
    ],
)
def test_each_value_says_where_it_comes_from(found: dict[str, str], path: str, origin: str) -> None:
    assert found[path] == origin


def test_every_value_has_an_origin_and_asking_changes_none(tmp_path: Path, found: dict[str, str]) -> None:
    lab = write_lab(tmp_path, EXPERIMENTS, **CATALOG)
    config = effective(lab.read().document, lab.catalog, tmp_path, "mine", SETTINGS)
    assert list(found) == [join(*steps) for steps, _ in values(config)]


def test_overrides_leave_the_registry_as_it_is(tmp_path: Path) -> None:
    lab = write_lab(tmp_path, EXPERIMENTS, **CATALOG)
    document = lab.read().document
    before = repr(document)
    resolve(document, lab.catalog, tmp_path, "mine", {"curation.quality.max_tokens": 1, "slurm.training.extra.x": 1})
    assert repr(document) == before


def test_a_setting_can_name_a_key_with_a_dot(tmp_path: Path) -> None:
    lab = write_lab(tmp_path)
    overrides = {'slurm.eval.extra."a.b"': "c"}
    layers = resolve(lab.read().document, lab.catalog, tmp_path, "tuned", overrides).layers
    assert layers.merged["slurm"]["eval"]["extra"] == {"a.b": "c"}


def test_a_value_put_below_a_reference_changes_that_place_only() -> None:
    experiments: dict[str, Any] = {"a": tuned(curation="same as b", eval="same as b"), "b": tuned(eval={"limit": 2})}
    config = dict(experiments["a"]["config"])
    assert assign(config, experiments, "a", "curation.seed", 5) == ("curation", "seed")
    assert config == {**experiments["a"]["config"], "curation": {**CURATION, "seed": 5}}
    assert experiments["b"]["config"]["curation"] == CURATION
