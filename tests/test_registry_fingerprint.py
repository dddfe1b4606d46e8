"""A fingerprint changes with everything that decides an outcome, and with nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from registry.canonical import sha256
from registry.catalog import Columns, DatasetEntry, ModelEntry
from registry.contents import Contents
from registry.curation_schema import S1Rows
from registry.effective import EffectiveConfig
from registry.errors import MissingError
from registry.fingerprint import Fingerprints, Inputs, changed_fields, pinned
from registry.resolve import parse_overrides
from registry.schema import EvalConfig, Resources, Stage
from registry.store import Registry
from registry.training_schema import TrainingParams
from tests.registry_case import TRAINING, tuned, write_lab

MODELS: dict[str, dict[str, Any]] = {name: {"file_path": "model", "max_length": 512} for name in ("tiny", "judge")}
MODELS["other"] = {"file_path": "model", "max_length": 99}
MODELS["served"] = {"api_model": "gpt", "max_length": 512}
DATASETS = {name: {"file_path": "train.jsonl"} for name in ("train", "copy")}
EVAL = {
    "max_tokens": 64,
    "temperature": 0.7,
    "thinking": {"budget_tokens": 100},
    "few_shot": {"dataset": "train"},
    "judge": {"model_key": "tiny", "engine": "vllm", "rubrics": ["report"]},
}
CALL: dict[str, Any] = {"model_key": "tiny", "engine": "transformers"}
S1 = {
    "method": "s1",
    "n_samples": 1000,
    "difficulty": {"temperature": 0.5, "judge": CALL},
    "labels": CALL,
    "extract": "step",
    "perturbation": {"type": "skip", "rate": 1.0},
    "rewriter": CALL,
}
STAGE: dict[str, Stage] = {"curation": "curation", "training_params": "training", "eval": "eval", "prompting": "eval"}

CALLS = ("curation.difficulty.judge", "curation.labels", "curation.rewriter")
# Another legal value for each field of the stages' models.
OTHER: dict[str, Any] = {
    "curation.n_samples": 5000,
    "curation.format": "qwen",
    "curation.quality": None,
    "curation.quality.truncation_tokens": [512],
    "curation.quality.max_tokens": 99,
    "curation.difficulty": None,
    "curation.difficulty.model_key": "judge",
    **{f"{place}.model_key": "other" for place in CALLS},
    "curation.difficulty.engine": "transformers",
    "curation.difficulty.samples": 4,
    "curation.difficulty.temperature": 0.6,
    "curation.difficulty.max_tokens": 99,
    "curation.difficulty.pass_rate": [0.0, 0.5],
    "curation.difficulty.unjudged": "keep",
    "curation.long_tokens": 5,
    "curation.specialty_weights": {"Oncology": 2.0},
    "curation.decontamination": None,
    "curation.decontamination.ngram": 8,
    "curation.decontamination.coverage": 0.9,
    "curation.decontamination.similarity": None,
    "curation.duplicates": None,
    "curation.duplicates.similarity": 0.5,
    "curation.validation_fraction": 0.1,
    "curation.seed": 1,
    "training_params.method": "lora",
    "training_params.learning_rate": 2e-5,
    "training_params.batch_size": 2,
    "training_params.gradient_accumulation_steps": 2,
    "training_params.total_batch_size": 8,
    "training_params.num_epochs": 3,
    "training_params.weight_decay": 0.1,
    "training_params.warmup_ratio": 0.1,
    "training_params.lr_scheduler": "linear",
    "training_params.optimizer.adam_beta1": 0.8,
    "training_params.optimizer.adam_beta2": 0.8,
    "training_params.optimizer.adam_epsilon": 1e-7,
    "training_params.optimizer.no_decay_params": ["embed"],
    "training_params.lora": {"rank": 4},
    "training_params.lora.rank": 4,
    "training_params.lora.alpha": 8,
    "training_params.lora.dropout": 0.1,
    "training_params.lora.target_modules": ["q_proj"],
    "training_params.lora.modules_to_save": ["lm_head"],
    "training_params.lora.merge": False,
    "training_params.grpo": {"beta": 0.1},
    "training_params.grpo.num_generations": 4,
    "training_params.grpo.max_tokens": 10,
    "training_params.grpo.temperature": 0.5,
    "training_params.grpo.top_p": 0.5,
    "training_params.grpo.beta": 0.1,
    "training_params.grpo.epsilon": 0.1,
    "training_params.grpo.rewards": {"letter": 1.0},
    "training_params.max_length": 100,
    "training_params.truncation": "cut",
    "training_params.max_grad_norm": 2.0,
    "training_params.seed": 1,
    "training_params.evaluations_per_epoch": 2,
    "training_params.keep": "best",
    "training_params.metric": "token_accuracy",
    "training_params.early_stopping": {},
    "training_params.early_stopping.patience": 5,
    "training_params.early_stopping.threshold": 0.1,
    "eval.engine": "transformers",
    "eval.max_tokens": 10,
    "eval.temperature": 0.2,
    "eval.top_p": 0.5,
    "eval.seed": 1,
    "eval.limit": 5,
    "eval.repetitions": 3,
    "eval.thinking": None,
    "eval.thinking.budget_tokens": [64, 128],
    "eval.thinking.waits": 2,
    "eval.few_shot": None,
    "eval.few_shot.n": 1,
    "eval.judge": None,
    "eval.judge.engine": "transformers",
    "eval.judge.rubrics": ["report", "reasoning"],
    "eval.judge.max_tokens": 10,
    "eval.judge.temperature": 0.5,
    **{
        f"{place}.{field}": value
        for place in CALLS
        for field, value in {"engine": "vllm", "temperature": 0.5, "max_tokens": 7, "retries": 1}.items()
    },
    "curation.difficulty.judge": None,
    "curation.labels": None,
    "curation.labels.relabel": True,
    "curation.extract": ["cot", "step"],
    "curation.perturbation": None,
    "curation.perturbation.type": "shuffle",
    "curation.perturbation.rate": 0.25,
    "curation.restore": True,
    "curation.rewriter": {**CALL, "temperature": 1.0},
    "prompting": "step",
}
WITHOUT_OUTCOME = {
    "curation.shards": 4,
    "curation.max_cost": 5.0,
    "eval.max_cost": 5.0,
    **{f"{place}.{field}": value for place in CALLS for field, value in {"concurrency": 2, "batch": True}.items()},
    "curation.decontamination.against": ["exam"],
    "training_params.per_device_batch_size": 4,
    "training_params.packing": True,
    "training_params.gradient_checkpointing": False,
    "training_params.checkpoints_per_epoch": 3,
    "training_params.time_budget": "12:00:00",
    "eval.tensor_parallel": 2,
    "eval.data_parallel": 2,
    "eval.concurrency": 2,
    "eval.judge.model_key": "judge",
    "eval.few_shot.dataset": "copy",
}
# What these decide is hashed as such: three numbers by their product, a catalog key by what lies behind it.
HASHED_AS = {
    "curation.difficulty.judge.model_key": "difficulty_judge_model",
    "curation.labels.model_key": "labels_model",
    "curation.rewriter.model_key": "rewriter_model",
    "curation.difficulty.model_key": "difficulty_model",
    "training_params.batch_size": "global_batch",
    "training_params.gradient_accumulation_steps": "global_batch",
    "training_params.total_batch_size": "global_batch",
}
# What the fields of an object that the experiment lacks need beside them.
BESIDE: dict[str, dict[str, Any]] = {
    "training_params.lora": {"training_params.method": "lora"},
    "training_params.grpo": {"training_params.method": "grpo", "training_params.total_batch_size": 8},
    "training_params.early_stopping.": {"training_params.early_stopping": {}},
}


@pytest.fixture
def lab(tmp_path: Path) -> Registry:
    experiment = tuned(curation=S1, eval=EVAL)
    return write_lab(tmp_path / "lab", {"tuned": experiment}, models=MODELS, train_datasets=DATASETS)


def effective(lab: Registry, **overrides: Any) -> EffectiveConfig:
    return lab.effective(lab.read(), "tuned", overrides)


def inputs(lab: Registry, stage: Stage, **overrides: Any) -> Inputs:
    return Fingerprints(effective(lab, **overrides), Contents()).inputs(stage)


def paths_of(model: type[BaseModel], prefix: str) -> set[str]:
    """The dotted paths of a model's fields, those of the models inside it included."""
    found = set()
    for name, info in model.model_fields.items():
        kinds = [info.annotation, *getattr(info.annotation, "__args__", ())]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        found |= {path for kind in inner for path in paths_of(kind, f"{prefix}.{name}")}
        if not inner or type(None) in kinds:
            found.add(f"{prefix}.{name}")
    return found


def test_the_tables_above_know_every_field() -> None:
    models: dict[str, type[BaseModel]] = {
        "curation": S1Rows,
        "training_params": TrainingParams,
        "eval": EvalConfig,
    }
    known = {path for name, model in models.items() for path in paths_of(model, name)}
    assert known - {"curation.method"} | {"prompting"} == OTHER.keys() | WITHOUT_OUTCOME.keys()


@pytest.mark.parametrize("path", OTHER)
def test_every_field_that_decides_an_outcome_counts_and_is_named(lab: Registry, path: str) -> None:
    stage = STAGE[path.split(".")[0]]
    beside = next((more for start, more in BESIDE.items() if path.startswith(start)), {})
    before, after = inputs(lab, stage, **beside), inputs(lab, stage, **beside, **{path: OTHER[path]})
    assert sha256(before) != sha256(after)
    assert any(change.startswith(HASHED_AS.get(path, path)) for change in changed_fields(before, after))


def test_the_version_of_the_rewritings_counts_where_something_is_rewritten(
    lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {"curation.extract": None, "curation.perturbation": None}
    before, untouched = inputs(lab, "curation"), inputs(lab, "curation", **plain)
    monkeypatch.setattr("registry.fingerprint.REWRITING_VERSION", 99)
    assert changed_fields(before, inputs(lab, "curation")) == ["rewriting_version 1 -> 99"]
    assert inputs(lab, "curation", **plain) == untouched
    assert "rewriting_version" not in untouched


@pytest.mark.parametrize("path", WITHOUT_OUTCOME)
def test_a_field_without_outcome_does_not_count(lab: Registry, path: str) -> None:
    call, _, field = path.rpartition(".")
    beside = {f"{call}.model_key": "served", f"{call}.engine": "openai"} if field == "batch" else {}  # a vendor's alone
    assert inputs(lab, "eval", **beside) == inputs(lab, "eval", **beside, **{path: WITHOUT_OUTCOME[path]})


def test_resources_do_not_count(lab: Registry) -> None:
    wanted: dict[str, Any] = {
        "partition": "gpu",
        "account": "lab",
        "qos": "high",
        "nodes": 2,
        "gpus": 8,
        "gpu_memory": "80G",
        "cpus": 4,
        "memory": "1G",
        "time": 5,
        "constraint": "a100",
        "max_requeues": 3,
        "extra": {"exclusive": True},
    }
    assert wanted.keys() == Resources.model_fields.keys()
    for stage in ("curation", "training", "eval"):
        assert inputs(lab, "eval") == inputs(lab, "eval", **{f"slurm.{stage}": wanted})


def test_a_change_runs_down_to_the_children_and_not_up(lab: Registry) -> None:
    change = {"training_params.seed": 1}
    assert inputs(lab, "curation") == inputs(lab, "curation", **change)
    assert changed_fields(inputs(lab, "eval"), inputs(lab, "eval", **change)) == ["upstream training changed"]
    assert changed_fields(inputs(lab, "training"), inputs(lab, "training", **{"curation.seed": 1})) == [
        "upstream curation changed"
    ]


def test_changed_fields_are_named_with_both_values(lab: Registry) -> None:
    after = inputs(lab, "curation", **{"curation.n_samples": 5000, "curation.quality.max_tokens": 7})
    assert changed_fields(inputs(lab, "curation"), after) == [
        "curation.n_samples 1000 -> 5000",
        "curation.quality.max_tokens null -> 7",
    ]
    assert changed_fields({"a": "x" * 100}, {"a": "é"}) == [f'a "{"x" * 36}... -> "é"']
    assert changed_fields({"content": "a" * 64}, {"content": "b" * 64}) == ["content aaaaaaaaaaaa -> bbbbbbbbbbbb"]


def test_equal_meaning_is_an_equal_fingerprint(lab: Registry) -> None:
    written = {**TRAINING, "num_epochs": 2.0, "seed": 42, "optimizer": {"adam_beta1": 0.9}}
    reordered = dict(reversed(written.items()))
    assert sha256(inputs(lab, "eval")) == sha256(inputs(lab, "eval", training_params=reordered))
    filters = {**S1, "quality": {"truncation_tokens": [1024]}}
    assert sha256(inputs(lab, "eval")) == sha256(inputs(lab, "eval", curation=filters))


def test_numbers_with_an_equal_global_batch_are_the_same_training(lab: Registry) -> None:
    same = {"training_params.batch_size": 4, "training_params.gradient_accumulation_steps": 8}
    half = {"training_params.batch_size": 2, "training_params.gradient_accumulation_steps": 16}
    total = {"training_params.total_batch_size": 128}
    assert inputs(lab, "training", **same) == inputs(lab, "training", **half) == inputs(lab, "training", **total)


def test_the_reference_number_of_gpus_counts_in_training(lab: Registry, tmp_path: Path) -> None:
    other = write_lab(
        tmp_path / "other", {"tuned": tuned(curation=S1, eval=EVAL)}, models=MODELS, defaults={"reference_gpus": 2}
    )
    assert inputs(lab, "curation") == inputs(other, "curation")
    assert changed_fields(inputs(lab, "training"), inputs(other, "training")) == ["global_batch 4 -> 2"]


def test_place_name_and_time_do_not_count(lab: Registry, tmp_path: Path) -> None:
    shutil.copytree(lab.paths.file.parent, tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*"):
        os.utime(path, (1, 1))
    file = tmp_path / "elsewhere" / "results.json"
    file.write_text(file.read_text().replace('"tuned"', '"renamed"'))
    other = Registry(type(lab.paths)(file), tmp_path / "elsewhere" / "config.json")
    config = other.effective(other.read(), "renamed")
    assert sha256(Fingerprints(config, Contents(tmp_path / "hashes")).inputs("eval")) == sha256(inputs(lab, "eval"))


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("train.jsonl", {"curation", "training", "eval"}),
        ("exam.jsonl", {"curation", "training", "eval"}),
        ("model/model.safetensors", {"curation", "training", "eval"}),
        ("model/tokenizer.json", {"curation", "training", "eval"}),
        ("model/chat_template.jinja", {"curation", "training", "eval"}),
        ("model/README.md", set()),
    ],
)
def test_files_count_by_content(lab: Registry, file: str, stages: set[str]) -> None:
    every: tuple[Stage, ...] = ("curation", "training", "eval")
    before = {stage: sha256(inputs(lab, stage)) for stage in every}
    with open(lab.paths.file.parent / file, "ab") as opened:
        opened.write(b"more\n")
    assert {stage for stage in every if sha256(inputs(lab, stage)) != before[stage]} == stages


def test_a_data_folder_counts_by_its_files_names_and_content(lab: Registry) -> None:
    folder = lab.paths.file.parent
    (folder / "train.jsonl").unlink()
    (folder / "train.jsonl").mkdir()
    seen = set()
    for name, content in (("a", "1"), ("b", "1"), ("b", "2")):
        (folder / "train.jsonl" / name).write_text(content)
        seen.add(sha256(inputs(lab, "curation")))
    assert len(seen) == 3


def test_what_a_catalog_entry_says_of_a_file_counts(lab: Registry) -> None:
    config = effective(lab)
    assert config.train_dataset is not None
    before = sha256(Fingerprints(config, Contents()).inputs("curation"))
    other: dict[str, Any] = {
        "answer_index_base": 1,
        "columns": Columns(question="Question"),
        "task": "text",
        "labels": ("yes", "no"),
        "plugin": str(lab.paths.file),
        "merge": {"part": config.train_dataset},
        "hf_split": "test",
    }
    left_out = {"hf_path", "revision", "file_path", "hf_config", "max_length", "license"}
    assert other.keys() | left_out == DatasetEntry.model_fields.keys()
    for field, value in other.items():
        changed = config.model_copy(update={"train_dataset": config.train_dataset.model_copy(update={field: value})})
        assert sha256(Fingerprints(changed, Contents()).inputs("curation")) != before, field
    counted = {"max_length": 10, "system_prompt": "Think.", "format": "qwen", "api_model": "x", "vertex_model": "x"}
    for field, value in counted.items():
        changed = config.model_copy(update={"model": config.model.model_copy(update={field: value})})
        assert sha256(Fingerprints(changed, Contents()).inputs("curation")) != before, field
    ungated = config.model_copy(update={"model": config.model.model_copy(update={"gated": True})})
    assert sha256(Fingerprints(ungated, Contents()).inputs("curation")) == before
    place = {"hf_path", "revision", "file_path", "base_url", "api_key_env"}
    place |= {"vertex_project", "vertex_location", "vertex_bucket"}
    terms = {"gated", "prices", "requests_per_minute"}
    assert place | counted.keys() | terms == ModelEntry.model_fields.keys()


def test_the_name_of_the_training_data_counts_as_the_source_of_its_rows(lab: Registry) -> None:
    renamed = inputs(lab, "curation", **{"datasets.curate": "copy"})
    assert changed_fields(inputs(lab, "curation"), renamed) == ['dataset.name "train" -> "copy"']


def test_the_modules_around_an_embedding_model_count(lab: Registry) -> None:
    folder = lab.paths.file.parent / "model"
    (folder / "modules.json").write_text('[{"path": ""}, {"path": "1_Pooling"}]')
    (folder / "1_Pooling").mkdir()
    seen = set()
    for mode in ("mean", "cls"):
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}))
        seen.add(Contents().model(str(folder)))
    assert len(seen) == 2
    (folder / "modules.json").write_text("{")
    with pytest.raises(MissingError, match="lists no modules; fetch the model again"):
        Contents().model(str(folder))


def test_a_remembered_hash_is_used_until_size_or_time_change(lab: Registry, tmp_path: Path) -> None:
    large, hashes = lab.paths.file.parent / "train.jsonl", tmp_path / "hashes"
    large.write_bytes(b"a" * (2**20 + 1))
    os.utime(large, ns=(10, 10))
    config = effective(lab)
    first = Fingerprints(config, Contents(hashes)).inputs("curation")
    assert first == Fingerprints(config, Contents()).inputs("curation")
    (memory,) = hashes.iterdir()
    memory.write_text(json.dumps({**json.loads(memory.read_text()), "sha256": "remembered"}))
    assert Fingerprints(config, Contents(hashes)).inputs("curation")["dataset"]["content"] == "remembered"
    os.utime(large, ns=(11, 11))
    assert Fingerprints(config, Contents(hashes)).inputs("curation") == first
    memory.write_text("{")
    assert Fingerprints(config, Contents(hashes)).inputs("curation") == first


def test_large_weights_count_by_header_and_size(lab: Registry) -> None:
    weights = lab.paths.file.parent / "model" / "model.safetensors"
    seen = []
    for header, size in ((b"{1}", 2**26 + 9), (b"{1}", 2**26 + 9), (b"{2}", 2**26 + 9), (b"{2}", 2**26 + 10)):
        with open(weights, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(size)
        seen.append(sha256(inputs(lab, "curation")))
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_what_is_not_here_is_one_line(lab: Registry) -> None:
    folder = lab.paths.file.parent
    (folder / "train.jsonl").unlink()
    with pytest.raises(MissingError, match=r"train\.jsonl: no such file; check file_path in the catalog"):
        inputs(lab, "curation")
    (folder / "model" / "model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"model: is no model: a folder with config\.json and \*\.safetensors"):
        inputs(lab, "eval")


HUB: dict[str, Any] = {
    "models": {"tiny": {"hf_path": "lab/tiny", "max_length": 512}},
    "train_datasets": {"train": {"hf_path": "lab/train", "hf_config": "en"}},
}


def fill_hub(folder: Path, commit: str, revision: str = "main") -> None:
    """A made-up hub cache in which `revision` of both repositories is `commit`."""
    for repository in ("models--lab--tiny", "datasets--lab--train"):
        (folder / "hub" / repository / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "hub" / repository / "refs" / revision).write_text(commit)
        (folder / "hub" / repository / "snapshots" / commit).mkdir(parents=True, exist_ok=True)


def test_a_hub_entry_counts_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    lab = write_lab(tmp_path / "lab", **HUB)
    one, two = "1" * 40, "2" * 40
    assert inputs(lab, "curation")["model"]["revision"] is None
    fill_hub(tmp_path / "home", one)
    first = inputs(lab, "curation")
    assert first["model"] == {"hf_path": "lab/tiny", "revision": one, "max_length": 512, "system_prompt": None}
    assert (first["dataset"]["revision"], first["dataset"]["hf_config"]) == (one, "en")
    fill_hub(tmp_path / "home", two)
    config = effective(lab)
    assert Fingerprints(config, Contents()).inputs("curation")["dataset"]["revision"] == two
    assert Fingerprints(config, Contents(), {"curation": first}).inputs("curation") == first
    frozen = pinned(config, first)
    assert Fingerprints(frozen, Contents()).inputs("curation") == first
    assert frozen.train_dataset is not None
    assert (frozen.model.revision, frozen.train_dataset.revision) == (one, one)
    for update in ({"hf_path": "lab/other"}, {"hf_config": "zh"}, {"hf_split": "test"}, {"revision": two}):
        other = config.model_copy(update={"train_dataset": frozen.train_dataset.model_copy(update=update)})
        assert sha256(Fingerprints(other, Contents()).inputs("curation")) != sha256(first), update


def test_a_tag_counts_by_its_commit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    fill_hub(tmp_path / "home", "1" * 40, "v1")
    tagged = {"tiny": {**HUB["models"]["tiny"], "revision": "v1"}}
    lab = write_lab(tmp_path / "lab", **{**HUB, "models": tagged})
    assert inputs(lab, "training")["model"]["revision"] == "1" * 40


def test_settings_of_the_command_line_are_what_the_file_would_say(lab: Registry) -> None:
    after = inputs(lab, "curation", **parse_overrides(["curation.n_samples=1000", "curation.quality.max_tokens=null"]))
    assert after == inputs(lab, "curation")
