"""A lab whose model is only weights to be hashed, and results saved through the registry: for the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.job import Job, claim
from registry.plan import Wish, plan
from registry.records import Event
from registry.schema import Stage
from scoring.intervals import wilson_interval
from tests.lab import Lab, lab_environment
from tests.stages import record, write_jsonl

Experiments = dict[str, dict[str, Any]]
DATASETS = {"curate": "train", "eval": "held-out"}
CURATION = {"method": "random", "n_samples": 4, "format": "plain"}
TRAINING = {"learning_rate": 1e-3, "num_epochs": 1}


def make_small_lab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """`base` (eval alone) and `tuned` (all stages), and the lab's environment in this process too."""
    make_weights(folder / "model")
    write_jsonl(folder / "train.jsonl", [record(number) for number in range(8)])
    for name in ("held-out", "second-set"):
        write_jsonl(folder / f"{name}.jsonl", [record(100 + number) for number in range(4)])
    catalog = {
        "models": {"tiny": {"file_path": "model", "max_length": 256}},
        "train_datasets": {"train": {"file_path": "train.jsonl"}},
        "eval_datasets": {name: {"file_path": f"{name}.jsonl"} for name in ("held-out", "second-set")},
    }
    write_json(folder / "config.json", catalog)
    experiments: Experiments = {"base": {"config": {"model_key": "tiny", "datasets": DATASETS}}}
    experiments["tuned"] = {
        "description": "a [few] rows",
        "tags": ["ablation"],
        "config": {
            "model_key": "tiny",
            "datasets": "same as base",
            "curation": CURATION,
            "training_params": TRAINING,
        },
    }
    write_json(folder / "results.json", {"format": 1, "experiments": experiments})
    environment = lab_environment(folder)
    for name in ("CACHE_DIR", "MED_S1K_OUTPUT"):
        monkeypatch.setenv(name, environment[name])
    return Lab(folder, environment)


def make_weights(folder: Path) -> None:
    """A model that is only weights to be hashed, with a tokenizer that says what a training looks for beforehand."""
    import numpy
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message.content }}<end>{% endfor %}")
    save_file({"weight": numpy.zeros(2, dtype="float32")}, folder / "model.safetensors")


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit a registry or catalog as a person would."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    write_json(path, document)


def add(lab: Lab, name: str, like: str = "tuned", **config: Any) -> None:
    """Add an experiment like another one, with some fields of its config changed."""

    def change(document: dict[str, Any]) -> None:
        known = document["experiments"]
        known[name] = {"config": {**known[like]["config"], **config}}

    edit_json(lab.folder / "results.json", change)


def save(lab: Lab, name: str, stage: Stage, event: Event, **result: Any) -> Job:
    """Claim an attempt as a run would, and save a record of what became of it."""
    (step,) = plan(lab.registry, lab.registry.read(), name, Wish((stage,), force=True))
    job = claim(lab.registry, step)
    lab.registry.save(job.record(event, result))
    return job


def scores(**correct_of: tuple[int, int]) -> dict[str, Any]:
    """Metrics of an eval, from (correct, total) by benchmark; `_` in a benchmark's name stands for `-`."""
    found = {}
    for name, (correct, total) in correct_of.items():
        interval = wilson_interval(correct, total)
        found[name.replace("_", "-")] = {
            "accuracy": correct / total,
            "accuracy_ci": list(interval),
            "num_correct": correct,
            "total_examples": total,
        }
    return {"benchmarks": found, "engine": "vllm", "limit": None}


def complete(lab: Lab) -> None:
    """All three stages of `tuned`."""
    save(lab, "tuned", "curation", "completed")
    save(lab, "tuned", "training", "completed")
    save(lab, "tuned", "eval", "completed", metrics=scores(held_out=(2, 4)))


def without_slurm(lab: Lab) -> Lab:
    """The same lab on a machine without Slurm: a PATH that holds nothing but what the launcher needs."""
    tools = lab.folder / "tools"
    tools.mkdir()
    for tool in ("dirname", "readlink"):
        found = next(path for path in os.environ["PATH"].split(os.pathsep) if (Path(path) / tool).exists())
        (tools / tool).symlink_to(Path(found) / tool)
    return Lab(lab.folder, {**lab.environment, "PATH": str(tools)})


def answer_of(lab: Lab, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The JSON object that a command answers with; it must be all of its stdout."""
    done = lab.meds1(*arguments, "--json", code=code)
    body: dict[str, Any] = json.loads(done.stdout)
    assert sorted(body) == ["command", "data", "error", "schema", "warnings"]
    assert (body["error"] or {"exit_code": 0})["exit_code"] == code
    return body


def python_m(lab: Lab, module: str, *arguments: str, code: int = 0) -> str:
    """Run `python -m MODULE` and return its stderr."""
    python = str(Path(lab.environment["VIRTUAL_ENV"]) / "bin" / "python")
    return lab.run([python, "-m", module, *arguments], code).stderr
