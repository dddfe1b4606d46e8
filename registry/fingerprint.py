"""Fingerprints: the SHA-256 of everything that decides a stage's outcome, and nothing else.

What is hashed (`inputs`) is kept with the result, so that `status` can name what has changed. Files count by content,
hub entries by commit, models by their tokenizer, config and weights; paths, hosts, times and resources never count.
No network is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from registry.canonical import sha256
from registry.catalog import DatasetEntry, HubOrFile, ModelEntry
from registry.durable import write_durably
from registry.effective import EffectiveConfig
from registry.errors import MissingError
from registry.hub_cache import RepoType, cached_revision
from registry.schema import PARENT, Stage
from registry.versions import STAGE_VERSION

Inputs = dict[str, Any]
E = TypeVar("E", bound=HubOrFile)

_MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "chat_template.jinja",
)
_BY_HEADER = 64 * 2**20
_SMALL = 2**20


def stage_inputs(
    config: EffectiveConfig, stage: Stage, hashes: Path | None, recorded: Mapping[Stage, Inputs] | None = None
) -> Inputs:
    """What decides the outcome of `stage`, its parents' included; `MissingError` when a needed file is not here.

    `recorded` are the inputs of earlier results by stage: a hub entry without a pinned revision keeps the commit that
    was resolved then. `hashes` is the folder that remembers content hashes, if there is one.
    """
    inputs = own_inputs(config, stage, hashes, (recorded or {}).get(stage))
    parent = parent_of(config, stage)
    if parent is not None:
        inputs["upstream"] = {"stage": parent, "fingerprint": sha256(stage_inputs(config, parent, hashes, recorded))}
    return inputs


def own_inputs(
    config: EffectiveConfig, stage: Stage, hashes: Path | None, recorded: Mapping[str, Any] | None = None
) -> Inputs:
    """What decides the outcome of `stage` beside its parent's outcome; `recorded` are the stage's earlier inputs."""
    before = recorded or {}
    inputs: Inputs = {"stage": stage, "version": STAGE_VERSION[stage]}
    inputs["model"] = _model(config.model, hashes, before.get("model"))
    if stage == "curation":
        assert config.curation is not None
        assert config.train_dataset is not None
        inputs["curation"] = outcome(config.curation)
        inputs["dataset"] = _dataset(config.train_dataset, hashes, before.get("dataset"))
        if config.difficulty_model is not None:
            inputs["difficulty_model"] = _model(config.difficulty_model, hashes, before.get("difficulty_model"))
    elif stage == "training":
        assert config.training is not None
        inputs["training_params"] = outcome(config.training)
        inputs["global_batch"] = config.training.global_batch(config.reference_gpus)
    else:
        inputs["eval"] = outcome(config.eval)
        inputs["prompting"] = config.prompting
        old = before.get("datasets") or {}
        inputs["datasets"] = {
            key: _dataset(entry, hashes, old.get(key)) for key, entry in sorted(config.eval_datasets.items())
        }
    return inputs


def pinned(config: EffectiveConfig, inputs: Inputs) -> EffectiveConfig:
    """The config with every hub entry of the stage set to the commit that `inputs` name: what a job may load."""
    update: dict[str, Any] = {"model": _pin(config.model, inputs["model"])}
    if "dataset" in inputs and config.train_dataset is not None:
        update["train_dataset"] = _pin(config.train_dataset, inputs["dataset"])
    if "difficulty_model" in inputs and config.difficulty_model is not None:
        update["difficulty_model"] = _pin(config.difficulty_model, inputs["difficulty_model"])
    if "datasets" in inputs:
        update["eval_datasets"] = {
            key: _pin(entry, inputs["datasets"][key]) for key, entry in config.eval_datasets.items()
        }
    return config.model_copy(update=update)


def parent_of(config: EffectiveConfig, stage: Stage) -> Stage | None:
    """The stage that `stage` builds on in this experiment."""
    parent = PARENT[stage]
    return parent if parent is not None and config.applies(parent) else None


def changed_fields(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name each input that differs, as `curation.n_samples 1000 -> 5000`."""
    changes = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if key == "upstream" and old and new:
            changes.append(f"upstream {new['stage']} changed")
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += changed_fields(old, new, f"{prefix}{key}.")
        else:
            changes.append(f"{prefix}{key} {_shown(old)} -> {_shown(new)}")
    return changes


def _shown(value: Any) -> str:
    text = value[:12] if isinstance(value, str) and len(value) == 64 else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def outcome(model: BaseModel) -> dict[str, Any]:
    """The fields of a config model that decide an outcome, as JSON values."""
    kept = {}
    for name, info in type(model).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("no_outcome"):
            continue
        value = getattr(model, name)
        kept[name] = (
            outcome(value) if isinstance(value, BaseModel) else model.model_dump(mode="json", include={name})[name]
        )
    return kept


def _dataset(entry: DatasetEntry, hashes: Path | None, recorded: Mapping[str, Any] | None) -> Inputs:
    layout = {"columns": entry.columns.model_dump(mode="json"), "answer_index_base": entry.answer_index_base}
    if entry.file_path is None:
        return {**_hub(entry, "dataset", recorded), "hf_config": entry.hf_config, "hf_split": entry.hf_split, **layout}
    return {"content": _content(Path(entry.file_path), hashes), **layout}


def _model(entry: ModelEntry, hashes: Path | None, recorded: Mapping[str, Any] | None) -> Inputs:
    how = {"max_length": entry.max_length, "system_prompt": entry.system_prompt}
    if entry.file_path is None:
        return {**_hub(entry, "model", recorded), **how}
    folder = Path(entry.file_path)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise MissingError(
            f"{folder}: is no model: a folder with config.json and *.safetensors is needed; check the catalog"
        )
    files = {name: _file_hash(folder / name, hashes) for name in _MODEL_FILES if (folder / name).is_file()}
    files.update({path.name: _weights_hash(path, hashes) for path in weights})
    return {"content": sha256(files), **how}


def _hub(entry: HubOrFile, kind: RepoType, recorded: Mapping[str, Any] | None) -> Inputs:
    kept = None
    if recorded and entry.revision is None and recorded.get("hf_path") == entry.hf_path:
        kept = recorded.get("revision")
    return {"hf_path": entry.hf_path, "revision": kept or cached_revision(entry, kind) or entry.revision}


def _pin(entry: E, inputs: Inputs) -> E:
    revision = inputs.get("revision")
    return entry.model_copy(update={"revision": revision}) if revision else entry


def _content(path: Path, hashes: Path | None) -> str:
    if path.is_dir():
        files = sorted(child for child in path.rglob("*") if child.is_file())
        return sha256({str(child.relative_to(path)): _file_hash(child, hashes) for child in files})
    return _file_hash(path, hashes)


def _weights_hash(path: Path, hashes: Path | None) -> str:
    size = path.stat().st_size
    if size <= _BY_HEADER:
        return _file_hash(path, hashes)
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return hashlib.sha256(file.read(length) + str(size).encode()).hexdigest()


def _file_hash(path: Path, hashes: Path | None) -> str:
    """SHA-256 of a file's content, remembered by its size and time of change."""
    try:
        stat = path.stat()
    except OSError:
        raise MissingError(f"{path}: no such file; check file_path in the catalog") from None
    if hashes is None or stat.st_size <= _SMALL:
        return _digest(path)
    key = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    memory = hashes / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
    try:
        remembered = json.loads(memory.read_bytes())
        if {name: remembered[name] for name in key} == key:
            return str(remembered["sha256"])
    except (OSError, ValueError, KeyError):
        pass
    digest = _digest(path)
    with contextlib.suppress(OSError):  # a read-only mount only costs time
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_durably(memory, json.dumps({**key, "sha256": digest}).encode())
    return digest


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MissingError(f"{path}: cannot be read: {error.strerror}; mend its permissions") from None
