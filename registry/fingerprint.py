"""Fingerprints: the SHA-256 of everything that decides a stage's outcome, and nothing else.

What is hashed (`inputs`) is kept with the result, so that `status` can name what has changed. Files count by content,
hub entries by commit, models by their tokenizer, config and weights; paths, hosts, times and resources never count.
No network is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from registry.canonical import sha256
from registry.catalog import DatasetEntry, HubOrFile, ModelEntry
from registry.contents import Contents
from registry.effective import EffectiveConfig
from registry.errors import naming
from registry.hub_cache import RepoType, cached_revision
from registry.json_path import ABSENT
from registry.schema import PARENT, Stage
from registry.versions import REWRITING_VERSION, STAGE_VERSION

Inputs = dict[str, Any]
E = TypeVar("E", bound=HubOrFile)


class Fingerprints:
    """What decides the outcome of one experiment's stages, made once for each; `MissingError` where a file is not here.

    `recorded` are the inputs of earlier results by stage: a hub entry without a pinned revision keeps the commit that
    was resolved then. A result that another program's script made has the script among its inputs
    (`registry.tracking`): it stays there as long as all else is as it was; what would run anew is this project's own
    stage, without it.
    """

    def __init__(
        self, config: EffectiveConfig, contents: Contents, recorded: Mapping[Stage, Inputs] | None = None
    ) -> None:
        self.config, self.contents, self.recorded = config, contents, recorded or {}
        self._inputs: dict[Stage, Inputs] = {}
        self._hashes: dict[Stage, str] = {}

    def inputs(self, stage: Stage) -> Inputs:
        """What decides the outcome of `stage`, its parents' included."""
        if stage not in self._inputs:
            inputs = own_inputs(self.config, stage, self.contents, self.recorded.get(stage))
            parent = parent_of(self.config, stage)
            if parent is not None:
                inputs["upstream"] = {"stage": parent, "fingerprint": self.of(parent)}
            before = self.recorded.get(stage) or {}
            tracked = {**inputs, "script": before.get("script")}
            self._inputs[stage] = tracked if "script" in before and sha256(tracked) == sha256(before) else inputs
        return self._inputs[stage]

    def of(self, stage: Stage) -> str:
        """The fingerprint of `stage`: the SHA-256 of its inputs."""
        if stage not in self._hashes:
            self._hashes[stage] = sha256(self.inputs(stage))
        return self._hashes[stage]


def own_inputs(
    config: EffectiveConfig, stage: Stage, contents: Contents, recorded: Mapping[str, Any] | None = None
) -> Inputs:
    """What decides the outcome of `stage` beside its parent's outcome; `recorded` are the stage's earlier inputs."""
    before = recorded or {}
    inputs: Inputs = {"stage": stage, "version": STAGE_VERSION[stage]}
    inputs["model"] = _model(config.model, contents, before.get("model"))
    if stage == "curation":
        assert config.curation is not None
        assert config.train_dataset is not None
        inputs["curation"] = outcome(config.curation)
        if config.curation.rewrites:
            inputs["rewriting_version"] = REWRITING_VERSION
        inputs["dataset"] = _dataset(config.train_dataset, contents, before.get("dataset"))
        if config.train_dataset.merge is None:
            # Rows that name no source have the key as theirs; their ids, and so all draws, depend on it.
            inputs["dataset"]["name"] = config.train_dataset_key
        if config.difficulty_model is not None:
            inputs["difficulty_model"] = _model(config.difficulty_model, contents, before.get("difficulty_model"))
        if config.benchmarks:
            inputs["benchmarks"] = _datasets(config.benchmarks, contents, before.get("benchmarks"))
        if config.query_dataset is not None:
            inputs["queries"] = _dataset(config.query_dataset, contents, before.get("queries"))
        if config.embedding_model is not None:
            inputs["embedding_model"] = _model(config.embedding_model, contents, before.get("embedding_model"))
        for role, entry in config.called_models.items():
            inputs[f"{role}_model"] = _model(entry, contents, before.get(f"{role}_model"))
    elif stage == "training":
        assert config.training is not None
        inputs["training_params"] = outcome(config.training)
        inputs["global_batch"] = config.training.global_batch(config.reference_gpus)
    else:
        inputs["eval"] = outcome(config.eval)
        inputs["prompting"] = config.prompting
        if config.judge_model is not None:
            inputs["judge_model"] = _model(config.judge_model, contents, before.get("judge_model"))
        if config.few_shot_dataset is not None:
            inputs["few_shot"] = _dataset(config.few_shot_dataset, contents, before.get("few_shot"))
        inputs["datasets"] = _datasets(config.eval_datasets, contents, before.get("datasets"))
    return inputs


def pinned(config: EffectiveConfig, inputs: Inputs) -> EffectiveConfig:
    """The config with every hub entry of the stage set to the commit that `inputs` name: what a job may load."""
    update: dict[str, Any] = {"model": _pin(config.model, inputs["model"])}
    if "dataset" in inputs and config.train_dataset is not None:
        update["train_dataset"] = _pin(config.train_dataset, inputs["dataset"])
    if "difficulty_model" in inputs and config.difficulty_model is not None:
        update["difficulty_model"] = _pin(config.difficulty_model, inputs["difficulty_model"])
    if "judge_model" in inputs and config.judge_model is not None:
        update["judge_model"] = _pin(config.judge_model, inputs["judge_model"])
    if "few_shot" in inputs and config.few_shot_dataset is not None:
        update["few_shot_dataset"] = _pin(config.few_shot_dataset, inputs["few_shot"])
    if "benchmarks" in inputs:
        update["benchmarks"] = _pin_all(config.benchmarks, inputs["benchmarks"])
    if "queries" in inputs and config.query_dataset is not None:
        update["query_dataset"] = _pin(config.query_dataset, inputs["queries"])
    if "embedding_model" in inputs and config.embedding_model is not None:
        update["embedding_model"] = _pin(config.embedding_model, inputs["embedding_model"])
    if config.called_models and inputs["stage"] == "curation":
        update["called_models"] = {
            role: _pin(entry, inputs[f"{role}_model"]) for role, entry in config.called_models.items()
        }
    if "datasets" in inputs:
        update["eval_datasets"] = _pin_all(config.eval_datasets, inputs["datasets"])
    return config.model_copy(update=update)


def parent_of(config: EffectiveConfig, stage: Stage) -> Stage | None:
    """The stage that `stage` builds on in this experiment."""
    parent = PARENT[stage]
    return parent if parent is not None and config.applies(parent) else None


def changed_fields(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name each input that differs, as `curation.n_samples 1000 -> 5000`."""
    changes = []
    for key in sorted({*before, *now}):
        old, new = before.get(key, ABSENT), now.get(key, ABSENT)
        if old == new:
            continue
        if key == "upstream" and isinstance(old, Mapping) and isinstance(new, Mapping):
            changes.append(f"upstream {new['stage']} changed")
        elif key == "script" and isinstance(old, Mapping) and new is ABSENT:
            changes.append(f"script {old['name']} -> this project's own stage")
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += changed_fields(old, new, f"{prefix}{key}.")
        else:
            changes.append(f"{prefix}{key} {_shown(old)} -> {_shown(new)}")
    return changes


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "nothing"
    text = value[:12] if isinstance(value, str) and len(value) == 64 else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def outcome(model: BaseModel) -> dict[str, Any]:
    """The fields of a config model that decide an outcome, as JSON values."""
    return _decisive(model, model.model_dump(mode="json"))


def _decisive(model: BaseModel, values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for name, info in type(model).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("no_outcome"):
            continue
        inner = getattr(model, name)
        if inner is None and isinstance(extra, dict) and extra.get("optional"):
            continue
        kept[name] = _decisive(inner, values[name]) if isinstance(inner, BaseModel) else values[name]
    return kept


def _datasets(
    entries: Mapping[str, DatasetEntry], contents: Contents, recorded: Mapping[str, Any] | None
) -> dict[str, Inputs]:
    old = recorded or {}
    found = {}
    for key, entry in sorted(entries.items()):
        with naming(f"data set '{key}'"):
            found[key] = _dataset(entry, contents, old.get(key))
    return found


def _dataset(entry: DatasetEntry, contents: Contents, recorded: Mapping[str, Any] | None) -> Inputs:
    layout: Inputs = {"columns": entry.columns.model_dump(mode="json"), "answer_index_base": entry.answer_index_base}
    layout |= entry.model_dump(mode="json", include={"task", "labels"}, exclude_none=True)
    if entry.plugin is not None:
        layout["plugin"] = contents.data(entry.plugin)
    if isinstance(entry.merge, dict):
        # Rows keep the name of their part as their source, so that the names count, and not the order.
        return {"merge": _datasets(entry.merge, contents, (recorded or {}).get("merge")), **layout}
    if entry.file_path is not None:
        # Of a saved DatasetDict the split counts; the default is left out, as it has always been.
        layout |= entry.model_dump(mode="json", include={"hf_split"}, exclude_defaults=True)
        return {"content": contents.data(entry.file_path), **layout}
    if entry.hf_path is None:
        return layout
    return {**_hub(entry, "dataset", recorded), "hf_config": entry.hf_config, "hf_split": entry.hf_split, **layout}


def _model(entry: ModelEntry, contents: Contents, recorded: Mapping[str, Any] | None) -> Inputs:
    how = {"max_length": entry.max_length, "system_prompt": entry.system_prompt}
    if entry.format is not None:
        how["format"] = entry.format
    if entry.api_model is not None:
        return {"api_model": entry.api_model, **how}
    if entry.vertex_model is not None:
        return {"vertex_model": entry.vertex_model, **how}
    if entry.file_path is None:
        return {**_hub(entry, "model", recorded), **how}
    return {"content": contents.model(entry.file_path), **how}


def _hub(entry: HubOrFile, kind: RepoType, recorded: Mapping[str, Any] | None) -> Inputs:
    kept = None
    if recorded and entry.revision is None and recorded.get("hf_path") == entry.hf_path:
        kept = recorded.get("revision")
    return {"hf_path": entry.hf_path, "revision": kept or cached_revision(entry, kind) or entry.revision}


def _pin_all(entries: Mapping[str, DatasetEntry], inputs: Mapping[str, Inputs]) -> dict[str, DatasetEntry]:
    return {key: _pin(entry, inputs[key]) for key, entry in entries.items()}


def _pin(entry: E, inputs: Inputs) -> E:
    if isinstance(entry, DatasetEntry) and isinstance(entry.merge, dict):
        return entry.model_copy(update={"merge": _pin_all(entry.merge, inputs["merge"])})
    revision = inputs.get("revision")
    return entry.model_copy(update={"revision": revision}) if revision else entry
