"""From what a registry says to an effective config: references, defaults, old spellings, overrides, clear errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.effective import EffectiveConfig
from registry.errors import UsageError
from registry.references import follow
from registry.resolve import parse_overrides
from registry.validation import check
from tests.registry_case import CURATION, TRAINING, base, tuned, write_lab

SIMILAR = {"method": "embedding-similarity", "embedding_model": "hashing", "n_samples": 2}


def resolve(folder: Path, experiments: dict[str, Any], overrides: dict[str, Any] | None = None, **catalog: Any) -> Any:
    """The effective config of the first experiment."""
    lab = write_lab(folder, experiments, **catalog)
    return lab.effective(lab.read(), next(iter(experiments)), overrides)


def resolve_tuned(folder: Path, catalog: dict[str, Any] | None = None, **config: Any) -> EffectiveConfig:
    config_: EffectiveConfig = resolve(folder, {"tuned": tuned(**config)}, **(catalog or {}))
    return config_


def test_a_reference_is_the_whole_field_followed_through(tmp_path: Path) -> None:
    config = resolve(
        tmp_path,
        {
            "a": tuned(curation="same as b", training_params="same as c", datasets="same as c", eval="same as c"),
            "b": tuned(curation="same as  c "),
            "c": tuned(curation={**CURATION, "seed": 7}, training_params={**TRAINING, "seed": 8}, eval={"limit": 3}),
        },
    )
    assert (config.curation.seed, config.training.seed, config.eval.limit) == (7, 8, 3)
    assert list(config.eval_datasets) == ["exam"]


def test_the_chain_says_where_a_value_stands() -> None:
    experiments = {"a": {"config": {"eval": "same as b"}}, "b": {"config": {"eval": {"limit": 1}}}}
    assert follow(experiments, "a", "eval") == ({"limit": 1}, ("a", "b"))
    assert follow(experiments, "b", "curation") == (None, ("b",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"b": "same as cc", "cccc": None},
            "a -> same as b -> same as cc: no such experiment; did you mean 'cccc'?",
        ),
        (
            {"b": "same as c", "c": "same as b"},
            "a -> same as b -> same as c -> same as b is a circle; give one of them a value",
        ),
        (
            {"b": "same as a"},
            "a -> same as b -> same as a is a circle; give one of them a value",
        ),
        (
            {"b": "same as c", "c": None},
            "a -> same as b -> same as c, which has no curation; point to one that has",
        ),
    ],
)
def test_a_bad_reference_prints_the_chain(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    others = {name: tuned(curation=value) for name, value in fields.items()}
    with pytest.raises(UsageError) as caught:
        resolve(tmp_path, {"a": tuned(curation="same as b"), **others})
    assert str(caught.value) == f"experiments.a.config.curation: {message}"


def test_defaults_fill_fields_but_never_a_stage(tmp_path: Path) -> None:
    defaults = {
        "curation": {"seed": 5, "n_samples": 99},
        "training_params": {"weight_decay": 0.1, "optimizer": {"adam_beta1": 0.8, "adam_beta2": 0.9}},
        "eval": {"max_tokens": 64},
    }
    config = resolve_tuned(
        tmp_path / "a", {"defaults": defaults}, training_params={**TRAINING, "optimizer": {"adam_beta1": 0.7}}
    )
    assert config.curation is not None
    assert config.training is not None
    assert (config.curation.seed, config.curation.wanted) == (5, 10)
    assert config.training.weight_decay == 0.1
    assert (config.training.optimizer.adam_beta1, config.training.optimizer.adam_beta2) == (0.7, 0.9)
    assert config.eval.max_tokens == 64
    plain = resolve(tmp_path / "b", {"base": base(curation=None)}, defaults=defaults)
    assert (plain.curation, plain.training, plain.eval.max_tokens) == (None, None, 64)
    assert [stage for stage in ("curation", "training", "eval") if plain.applies(stage)] == ["eval"]


def test_slurm_resources_are_the_catalogs_with_the_experiments_over_them(tmp_path: Path) -> None:
    catalog = {"slurm": {"training": {"gpus": 4, "memory": "64G"}}}
    config = resolve_tuned(tmp_path, catalog, slurm={"training": {"gpus": 2}})
    assert (config.slurm.training.gpus, config.slurm.training.memory, config.slurm.eval.gpus) == (2, "64G", 0)


def test_overrides_reach_into_referenced_and_absent_objects(tmp_path: Path) -> None:
    overrides = parse_overrides(["curation.n_samples=5", "eval.limit=2", "model_key=tiny", "prompting=step"])
    config = resolve(tmp_path, {"a": tuned(curation="same as b"), "b": tuned()}, overrides)
    assert (config.curation.n_samples, config.eval.limit, config.prompting) == (5, 2, "step")


def test_settings_are_json_where_they_parse_and_text_elsewhere() -> None:
    assert parse_overrides(["a=1", "b.c=null", "d=x=y", 'e={"f": [1.5]}', "g="]) == {
        "a": 1,
        "b.c": None,
        "d": "x=y",
        "e": {"f": [1.5]},
        "g": "",
    }
    for wrong in ("eval.limit", "=3"):
        with pytest.raises(UsageError, match="write it as key=value"):
            parse_overrides([wrong])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"eval.limitt": 1}, "experiments.a.config.eval.limitt: unknown field; did you mean 'limit'?"),
        ({"training_params.seed": 1}, "a: --set training_params.seed: training_params does not apply"),
        ({"curation.seed": 1}, "a: --set curation.seed: curation does not apply"),
        ({"model_key.x": 1}, "a: --set model_key.x: model_key is a plain value"),
        ({"eval.limit": 0}, "experiments.a.config.eval.limit: Input should be greater than or equal to 1"),
        ({"eval.temperature": float("nan")}, "experiments.a.config.eval.temperature: Input should be a finite number"),
        (
            {"model_key": "tinny"},
            "experiments.a.config.model_key: 'tinny' is not in the catalog's models; did you",
        ),
        ({"datasets.eval": "none"}, "'none' is not in the catalog's eval_datasets; legal: exam"),
    ],
)
def test_a_wrong_override_is_one_line(tmp_path: Path, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(tmp_path, {"a": base(training_params=None)}, overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"curation": {**CURATION, "n_sample": 5}},
            "config.curation.n_sample: unknown field; did you mean 'n_samples'",
        ),
        ({"trainning_params": {}}, "config.trainning_params: unknown field; did you mean 'training_params'?"),
        (
            {"curation": {"method": "randm", "n_samples": 1}},
            "curation.method: unknown method 'randm'; did you mean 'random'?",
        ),
        (
            {"curation": {"method": "random"}},
            "curation.n_samples: Field required; add it: a whole number at least 1",
        ),
        ({"curation": {"method": "all", "n_samples": 3}}, "method 'all' takes every row"),
        ({"curation": None}, "config.training_params: has training_params but no curation, so no data to train on"),
        ({"datasets": {"eval": "exam"}}, "config.datasets.curate: has curation but datasets.curate names no data set"),
        ({"slurm": {"training": 4}}, "config.slurm: must be an object of objects"),
        ({"slurm": {"train": {}}}, "config.slurm.train: unknown field"),
        ({"training_params": "Same as base"}, "config.training_params: Input should be an object"),
        ({"training_params": {**TRAINING, "optimizer": {"adam_beta3": 1}}}, "adam_beta3: unknown field; did you mean"),
        (
            {"training_params": {**TRAINING, "method": "grpo", "total_batch_size": 8, "grpo": {"num_generations": 3}}},
            "grpo.num_generations: a global batch of 8 completions does not hold whole groups of 3; set",
        ),
        (
            {"curation": {**SIMILAR, "queries": "exma"}},
            "curation.queries: 'exma' is in neither train_datasets nor eval_datasets of the catalog; did you mean",
        ),
        (
            {"curation": {**SIMILAR, "queries": "exam"}},
            "curation.queries: 'exam' holds the questions of the benchmark 'exam'; name a data set that no model is",
        ),
    ],
)
def test_a_wrong_config_is_one_line_that_names_the_field(tmp_path: Path, config: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_tuned(tmp_path, **config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "refused"),
    [
        ({"file_path": "./exams/../exam.jsonl"}, True),
        ({"file_path": "other.jsonl"}, False),
        ({"hf_path": "lab/exam", "hf_split": "test[:10]"}, True),
        ({"hf_path": "lab/exam", "hf_split": "validation+test"}, True),
        ({"hf_path": "lab/exam", "hf_split": "train"}, False),
        ({"merge": ["train", "copy"]}, True),
        ({"merge": ["train"]}, False),
        ({"file_path": "exa?.jsonl"}, True),
        ({"file_path": "link.jsonl"}, True),
        ({"file_path": "saved", "hf_split": "train"}, False),
        ({"file_path": "saved", "hf_split": "test"}, True),
    ],
)
def test_a_benchmark_under_another_name_is_no_query_set_either(tmp_path: Path, written: Any, refused: bool) -> None:
    files = {"train": {"file_path": "train.jsonl"}, "copy": {"file_path": "exam.jsonl"}}
    exams = {
        "exam": {"file_path": "exam.jsonl"},
        "hub": {"hf_path": "lab/exam", "hf_split": "test"},
        "saved": {"file_path": "saved", "hf_split": "test"},
    }
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").write_text("{}")
    (tmp_path / "link.jsonl").symlink_to("exam.jsonl")
    catalog = {"train_datasets": {**files, "questions": written}, "eval_datasets": exams}
    curation = {**SIMILAR, "queries": "questions"}
    if refused:
        with pytest.raises(UsageError, match=r"'questions' holds the questions of the benchmark '(exam|hub|saved)'"):
            resolve_tuned(tmp_path, catalog, curation=curation)
        curation["eval_queries"] = True
    assert resolve_tuned(tmp_path, catalog, curation=curation).query_dataset is not None


def test_queries_are_used_from_the_section_that_holds_them(tmp_path: Path) -> None:
    for key, section in (("train", "train_datasets"), ("exam", "eval_datasets")):
        config = resolve_tuned(tmp_path, curation={**SIMILAR, "queries": key, "eval_queries": True})
        assert (section, key, ("curation",)) in {(used.section, used.key, used.stages) for used in config.used()}


def test_an_unknown_experiment_is_named_with_the_nearest(tmp_path: Path) -> None:
    lab = write_lab(tmp_path)
    with pytest.raises(UsageError, match="no experiment 'tunde' in the registry; did you mean 'tuned'"):
        lab.effective(lab.read(), "tunde")
    for name in ("a/b", "..", "a\n", "n" * 300):
        with pytest.raises(UsageError, match="experiment name"):
            lab.effective(lab.read(), name)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"curation": {**CURATION, "huatuo_format": True}}, "huatuo"),
        ({"curation": {**CURATION, "huatuo_format": False, "format": "qwen"}}, "qwen"),
        ({"curation": CURATION, "format": "nemotron"}, "nemotron"),
        ({"curation": {**CURATION, "format": "plain"}, "format": "qwen"}, "plain"),
        ({"curation": {**CURATION, "extract": None, "restore": False, "perturbation": None}}, "huatuo"),
    ],
)
def test_old_spellings_are_read(tmp_path: Path, config: dict[str, Any], expected: str) -> None:
    found = resolve_tuned(tmp_path, **config).curation
    assert found is not None
    assert found.format == expected


def test_rewritings_as_the_original_wrote_them_take_the_catalogs_rewriter(tmp_path: Path) -> None:
    curations = {
        "one": {**CURATION, "extract": "step"},
        "several": {**CURATION, "extract": ["cot", "step"], "perturbation": {"type": "skip", "rate": 0.33}},
        "restored": {**CURATION, "extract": "step", "perturbation": {"type": "answer", "rate": 1}, "restore": True},
        "none": {**CURATION, "extract": "none"},
        "plain": {**CURATION, "extract": None, "perturbation": None, "restore": None},
    }
    tiny = {"file_path": "model", "max_length": 512}
    models = {"tiny": tiny, "writer": {"api_model": "gpt", "max_length": 1000}}
    defaults = {"curation": {"rewriter": {"model_key": "writer"}}}
    experiments = {name: tuned(curation=curation) for name, curation in curations.items()}
    lab = write_lab(tmp_path, experiments, models=models, defaults=defaults)
    found = {name: lab.effective(lab.read(), name) for name in curations}
    styles = {name: config.curation.styles for name, config in found.items() if config.curation}
    assert styles == {
        "one": ("step",),
        "several": ("cot", "step"),
        "restored": ("step",),
        "none": ("none",),
        "plain": (),
    }
    called = {name for name, config in found.items() if config.called_models}
    assert called == {"one", "several", "restored"}


def test_a_rewriter_that_names_another_model_takes_no_engine_from_the_default_one(tmp_path: Path) -> None:
    written = {"same": {"max_tokens": 50}, "another": {"model_key": "gpt"}}
    models = {
        "tiny": {"file_path": "model", "max_length": 512},
        "gemini": {"vertex_model": "gemini", "max_length": 1000},
        "gpt": {"api_model": "gpt", "max_length": 1000},
    }
    defaults = {"curation": {"rewriter": {"model_key": "gemini", "engine": "vertex", "max_tokens": 9}}}
    experiments = {
        name: tuned(curation={**CURATION, "extract": "step", "rewriter": own}) for name, own in written.items()
    }
    lab = write_lab(tmp_path, experiments, models=models, defaults=defaults)
    found = {name: lab.effective(lab.read(), name).curation for name in written}
    used = {name: curation.calls["rewriter"] for name, curation in found.items() if curation}
    assert {name: (call.model_key, call.engine, call.max_tokens) for name, call in used.items()} == {
        "same": ("gemini", "vertex", 50),
        "another": ("gpt", "openai", 8192),
    }


@pytest.mark.parametrize(
    ("curation", "said"),
    [
        ({"extract": "steps"}, "curation.extract"),
        ({"extract": "step"}, "this takes a model that rewrites: give rewriter"),
        ({"extract": ["none", "step"], "rewriter": {"model_key": "tiny"}}, "put it last"),
        (
            {"extract": "qa", "perturbation": {"type": "skip", "rate": 0.5}},
            "extract ends with 'qa'; end it",
        ),
        ({"perturbation": {"type": "skip", "rate": 0}}, "curation.perturbation.rate"),
        ({"restore": True, "rewriter": {"model_key": "tiny"}}, "restore mends what a perturbation has damaged"),
        ({"extract": "step", "rewriter": {"model_key": "nobody"}}, "curation.rewriter.model_key"),
    ],
)
def test_rewritings_that_cannot_be_are_refused(tmp_path: Path, curation: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve_tuned(tmp_path, curation={**CURATION, **curation})


def test_an_old_format_switch_that_names_no_format_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"huatuo_format: false names no format; give curation\.format"):
        resolve_tuned(tmp_path, curation={**CURATION, "huatuo_format": False})


def test_a_registry_of_the_original_project_is_loaded_unchanged(tmp_path: Path) -> None:
    experiments = {
        "base": {"description": "x", "config": {"model_key": "tiny", "datasets": {"eval": "exam"}}, "results": None},
        "huatuo": tuned(curation={**CURATION, "huatuo_format": True, "extract": ["step"]}, format="huatuo")
        | {"results": {"curation": {"dataset_path": "x", "stats_file": None}, "training": None, "eval": {}}},
    }
    lab = write_lab(tmp_path, experiments)
    before = lab.paths.file.read_bytes()
    assert lab.fold().warnings == ()
    assert lab.paths.file.read_bytes() == before
    assert lab.read().document["experiments"] == experiments


def test_a_relative_path_is_relative_to_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB", str(tmp_path / "elsewhere"))
    models = {"tiny": {"file_path": "../shared/model", "max_length": 5}}
    exams = {"exam": {"file_path": "${LAB}/exam.jsonl"}}
    config = resolve_tuned(tmp_path / "lab", {"models": models, "eval_datasets": exams})
    assert config.model.file_path == str(tmp_path / "shared" / "model")
    assert config.eval_datasets["exam"].file_path == str(tmp_path / "elsewhere" / "exam.jsonl")


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB", raising=False)
    with pytest.raises(UsageError, match=r"catalog: models\.tiny\.file_path: \$\{LAB\} is not set in the environment"):
        resolve_tuned(tmp_path, {"models": {"tiny": {"file_path": "${LAB}/model", "max_length": 5}}})


def test_a_frozen_config_is_loaded_again_unchanged(tmp_path: Path) -> None:
    s1 = {"method": "s1", "n_samples": 5, "difficulty": None}
    for index, config in enumerate((resolve_tuned(tmp_path / "a"), resolve_tuned(tmp_path / "b", curation=s1))):
        frozen = json.loads(json.dumps(config.model_dump(mode="json", by_alias=True)))
        assert EffectiveConfig.model_validate(frozen) == config, index


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        (
            {"models": {"tiny": {"max_length": 5}}},
            "models.tiny: give one of hf_path, file_path, api_model and",
        ),
        (
            {"models": {"tiny": {"hf_path": "a/b", "file_path": "c", "max_length": 5}}},
            "give one of hf_path, file_path, api_model and",
        ),
        ({"models": {"tiny": {"hf_path": "a/b"}}}, "models.tiny.max_length: Field required"),
        (
            {"train_datasets": {"x": {"hf_paht": "a/b"}}},
            "x.hf_paht: unknown field; did you mean 'hf_path'",
        ),
        ({"display": {"experiments": {"x": {"color": "red"}}}}, "display.experiments.x.color"),
        ({"slurm": {"train": {}}}, "slurm.train"),
        ({"modles": {}}, "modles: unknown field; did you mean 'models'"),
    ],
)
def test_a_wrong_catalog_is_one_line(tmp_path: Path, catalog: dict[str, Any], message: str) -> None:
    lab = write_lab(tmp_path, **catalog)
    with pytest.raises(UsageError) as caught:
        lab.effective(lab.read(), "tuned")
    assert message in str(caught.value)
    assert str(lab.catalog_path) in str(caught.value)
    assert message in str(check(lab).problems[0])


def test_repetitions_need_sampling(tmp_path: Path) -> None:
    several = {"repetitions": {"exam": 5}}
    lab = write_lab(tmp_path, {"greedy": tuned(eval=several), "sampled": tuned(eval={**several, "temperature": 0.7})})
    view = lab.read()
    with pytest.raises(UsageError, match=r"experiments\.greedy\.config\.eval: repetitions above 1 need a temperature"):
        lab.effective(view, "greedy")
    settings = lab.effective(view, "sampled").eval
    assert (settings.repetitions_of("exam"), settings.repetitions_of("other")) == (5, 1)


def test_a_model_behind_an_api_is_evaluated_and_not_trained(tmp_path: Path) -> None:
    models = {"tiny": {"api_model": "gpt", "base_url": "http://${SERVER}/v1", "max_length": 100}}
    asked = base(eval={"engine": "openai"})
    lab = write_lab(tmp_path, {"asked": asked, "trained": tuned()}, models=models)
    view = lab.read()
    with pytest.raises(UsageError, match=r"models\.tiny\.base_url: \$\{SERVER\} is not set"):
        lab.effective(view, "asked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVER", "here:8000")
        assert lab.effective(view, "asked").model.base_url == "http://here:8000/v1"
    with pytest.raises(UsageError, match=r"trained\.config\.model_key: is behind an API, so training_params cannot"):
        lab.effective(view, "trained")


@pytest.mark.parametrize(("engine", "gpus"), [("vllm", 2), ("openai", 0)])
def test_the_merge_has_gpus_where_it_rewrites_with_a_model_that_it_loads(
    engine: str, gpus: int, tmp_path: Path
) -> None:
    served = {"api_model": "big-2026", "base_url": "https://example.org/v1", "api_key_env": "KEY", "max_length": 512}
    local = {"hf_path": "org/big", "max_length": 512}
    catalog = {"models": {"tiny": local, "big": local if engine == "vllm" else served}}
    curation = {
        **CURATION,
        "difficulty": {},
        "extract": "step",
        "rewriter": {"model_key": "big", "engine": engine},
        "shards": 4,
    }
    config = resolve_tuned(tmp_path, catalog, curation=curation, slurm={"curation": {"gpus": 2}})
    assert config.slurm.curation.gpus == 2
    assert config.merge_resources is not None
    assert config.merge_resources.gpus == gpus
