"""A lab of 1,000 experiments with 10,000 records, made through the project's own functions in seconds.

Its models and data sets are real local files, so that `status` checks freshness as it does for a lab: weights beyond
64 MiB (sparse files) with a safetensors header, tokenizers and data sets of some MiB whose hashes are remembered.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.registry.payloads import completed
from registry.contents import Contents
from registry.document import render
from registry.effective import EffectiveConfig
from registry.fingerprint import Fingerprints
from registry.job import Job
from registry.paths import RegistryPaths
from registry.provenance import gather
from registry.records import Event, Record, claim_attempt
from registry.schema import STAGES, Stage
from registry.store import Registry

Payload = Callable[[EffectiveConfig, Stage, str, random.Random], dict[str, Any]]
EXPERIMENTS = 1_000
RECORDS_EACH = 10
STALE_EVERY = 20  # of every 20 experiments, one is changed after it has run
_FAMILY = 20  # experiments that share data sets and training parameters by reference
_SIZES = (1_000, 2_000, 5_000, 10_000, 25_000)
_EVENTS: dict[Stage, tuple[Event, ...]] = {
    "curation": ("intent", "started", "completed"),
    "training": ("intent", "submitted", "started", "completed"),
    "eval": ("intent", "started", "completed"),
}
_MIB = 2**20
_CONTENTS = Contents()  # the files of a big lab never change


def make_big_lab(folder: Path, cache: Path, experiments: int = EXPERIMENTS, payload: Payload = completed) -> Registry:
    """A registry in `folder` whose records all wait in the inbox; no fold has seen them yet.

    `cache` is the lab's CACHE_DIR, which remembers content hashes. `payload` makes what a completed record holds.
    """
    folder.mkdir(parents=True)
    _write_files(folder)
    (folder / "config.json").write_text(json.dumps(_catalog(), indent=2), encoding="utf-8")
    document = {"format": 1, "experiments": {name_of(i): _experiment(i) for i in range(experiments)}}
    (folder / "results.json").write_bytes(render(document))
    lab = Registry(RegistryPaths(folder / "results.json"), folder / "config.json")
    view, provenance = lab.read(), gather()
    lab.paths.inbox.mkdir(parents=True)
    for i in range(experiments):
        for record in _records(lab, lab.effective(view, name_of(i)), cache, provenance, payload):
            # Not `save`: flushing 10,000 files one by one would take minutes, and nobody pulls a plug here.
            (lab.paths.inbox / record.file_name).write_bytes(record.to_bytes())
    return lab


def name_of(index: int) -> str:
    """The name of an experiment."""
    return f"family-{index // _FAMILY:03d}-variant-{index % _FAMILY:02d}"


def one_more(lab: Registry, name: str, cache: Path) -> Record:
    """A completed record of one more evaluation of an experiment."""
    config = lab.effective(lab.read(), name)
    *_, last = _of_stage(lab, config, "eval", cache, gather())
    return last


def make_stale(lab: Registry) -> int:
    """Change the config of some experiments in the file, as a person would; returns how many."""
    document = json.loads(lab.paths.file.read_bytes())
    names = list(document["experiments"])[1::STALE_EVERY]
    for name in names:
        document["experiments"][name]["config"]["curation"]["seed"] += 1
    lab.paths.file.write_bytes(render(document))
    return len(names)


def _experiment(index: int) -> dict[str, Any]:
    family, variant = divmod(index, _FAMILY)
    head = name_of(family * _FAMILY)
    chance = random.Random(index)
    curation = {
        "method": "random" if variant % 4 else "s1",
        "n_samples": _SIZES[variant % len(_SIZES)],
        "format": "huatuo",
        "seed": variant,
    }
    config: dict[str, Any] = {
        "model_key": f"model-{family % 2}",
        "datasets": f"same as {head}",
        "curation": curation,
        "training_params": f"same as {head}",
        "prompting": "step",
    }
    if variant == 0:
        config["datasets"] = {"curate": f"train-{family % 4}", "eval": ["exam-0", "exam-1", "exam-2"]}
        config["training_params"] = {
            "learning_rate": chance.choice((5e-06, 1e-05, 2e-05)),
            "batch_size": 2,
            "gradient_accumulation_steps": 16,
            "num_epochs": 5,
            "weight_decay": 0.1,
            "warmup_ratio": 0.05,
            "optimizer": {"adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-08},
        }
    description = f"{curation['n_samples']} questions by {curation['method']}, seed {variant}, family {family}"
    return {"description": description, "tags": ["study", f"family-{family:03d}"], "config": config}


def _catalog() -> dict[str, Any]:
    return {
        "models": {f"model-{i}": {"file_path": f"model-{i}", "max_length": 8_192} for i in range(2)},
        "train_datasets": {f"train-{i}": {"file_path": f"train-{i}.jsonl"} for i in range(4)},
        "eval_datasets": {f"exam-{i}": {"file_path": f"exam-{i}.jsonl"} for i in range(3)},
        "defaults": {"reference_gpus": 4, "eval": {"engine": "vllm", "temperature": 0.0}},
    }


def _write_files(folder: Path) -> None:
    for i in range(2):
        model = folder / f"model-{i}"
        model.mkdir()
        (model / "config.json").write_text(json.dumps({"model_type": "llama", "number": i}), encoding="utf-8")
        (model / "tokenizer.json").write_text("x" * (8 * _MIB), encoding="utf-8")
        for shard in range(4):
            _sparse_weights(model / f"model-{shard + 1:05d}-of-00004.safetensors", 70)
    for i in range(4):
        (folder / f"train-{i}.jsonl").write_text(f'{{"question": "Which drug {i}?"}}\n' * 200_000, encoding="utf-8")
    for i in range(3):
        (folder / f"exam-{i}.jsonl").write_text(f'{{"question": "Which dose {i}?"}}\n' * 60_000, encoding="utf-8")


def _sparse_weights(path: Path, tensors: int) -> None:
    """A safetensors file with the header of an 8B model's shard, 5 GB long, that takes no space on the disk."""
    names = (f"model.layers.{i // 9}.block.{i % 9}.weight" for i in range(tensors))
    header = json.dumps(
        {name: {"dtype": "BF16", "shape": [4096, 4096], "data_offsets": [0, 2**25]} for name in names}
    ).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(5 * 2**30)


def _records(
    lab: Registry, config: EffectiveConfig, cache: Path, provenance: dict[str, Any], payload: Payload
) -> Iterator[Record]:
    for stage in STAGES:
        yield from _of_stage(lab, config, stage, cache, provenance, payload)


def _of_stage(
    lab: Registry,
    config: EffectiveConfig,
    stage: Stage,
    cache: Path,
    provenance: dict[str, Any],
    payload: Payload = completed,
) -> Iterator[Record]:
    """The records of one more attempt at a stage, from its intent to its completion."""
    name = config.experiment
    fingerprints = Fingerprints(config, _CONTENTS)
    inputs, fingerprint = fingerprints.inputs(stage), fingerprints.of(stage)
    run_dir = str(cache / "runs" / name / stage / fingerprint[:12])
    number = claim_attempt(lab.paths.attempts(name, stage))
    job = Job(
        experiment=name,
        stage=stage,
        attempt=number,
        fingerprint=fingerprint,
        inputs=inputs,
        overrides={},
        config=config.model_dump(mode="json", by_alias=True),
        run_dir=run_dir,
        registry=str(lab.paths.file),
        catalog=str(lab.catalog_path),
    )
    chance = random.Random(f"{name} {stage} {number}")
    where = {"cluster": "slurm", "id": str(chance.randint(10**6, 10**7)), "host": "node-07", "user": "kim"}
    source = {**provenance, "host": "node-07", "user": "kim", "slurm": {"JOB_ID": where["id"]}}
    ended = {**source, "ended": source["started"], "seconds": round(chance.random() * 9_000, 3)}
    for event in _EVENTS[stage]:
        if event == "intent":
            yield job.record(event, {"config": job.config, "run_dir": run_dir})
        elif event == "completed":
            yield job.record(event, {"job": where, **payload(config, stage, run_dir, chance)}, ended)
        else:
            yield job.record(event, {"job": where}, source if event == "started" else None)
