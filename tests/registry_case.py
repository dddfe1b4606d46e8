"""Made-up registries, records and stages, for the tests of `registry/`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from registry.document import render
from registry.errors import StageFailure, StageStopped
from registry.job import claim
from registry.paths import RegistryPaths
from registry.plan import Plan, Wish, plan
from registry.records import Event, Record
from registry.runner import ENTRY_POINT, reuse, run_job
from registry.schema import STAGES, Stage
from registry.stage import StageContext, StageOutput
from registry.store import Registry, results_of

CURATION = {"method": "random", "n_samples": 10}
TRAINING = {"learning_rate": 1e-5, "num_epochs": 2}
ALL_RUN = ["run", "run", "run"]


def record(
    attempt: int = 1,
    event: Event = "completed",
    restart: int = 0,
    experiment: str = "tuned",
    stage: Stage = "eval",
    fingerprint: str = "0" * 64,
    **result: Any,
) -> Record:
    """A record; `result` is its payload."""
    return Record(
        experiment=experiment,
        stage=stage,
        event=event,
        attempt=attempt,
        restart=restart,
        fingerprint=fingerprint,
        inputs={"version": 1},
        result={"timestamp": "2026-11-20T17:00:00Z", **result},
        provenance={"host": "node1"},
    )


def tuned(**config: Any) -> dict[str, Any]:
    """An experiment with all three stages; `config` changes or adds fields."""
    body = {
        "model_key": "tiny",
        "datasets": {"curate": "train", "eval": "exam"},
        "curation": dict(CURATION),
        "training_params": dict(TRAINING),
    }
    return {"description": "a made-up experiment", "config": {**body, **config}}


def base(**config: Any) -> dict[str, Any]:
    """An experiment that evaluates the base model as it is."""
    return {"config": {"model_key": "tiny", "datasets": {"eval": "exam"}, **config}}


def write_lab(folder: Path, experiments: Mapping[str, Any] | None = None, **catalog: Any) -> Registry:
    """A registry, its catalog and the files that both name, in `folder`; `catalog` replaces whole sections."""
    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "tokenizer.json").write_text('{"version": "1.0"}')
    (model / "model.safetensors").write_bytes(b"weights")
    (folder / "train.jsonl").write_text('{"question": "Which drug?"}\n')
    (folder / "exam.jsonl").write_text('{"question": "Which dose?"}\n')
    sections = {
        "models": {"tiny": {"file_path": "model", "max_length": 512}},
        "train_datasets": {"train": {"file_path": "train.jsonl"}},
        "eval_datasets": {"exam": {"file_path": "exam.jsonl"}},
    }
    (folder / "config.json").write_text(json.dumps({**sections, **catalog}))
    document = {"experiments": {"tuned": tuned()} if experiments is None else dict(experiments)}
    (folder / "results.json").write_bytes(render(document))
    return Registry(RegistryPaths(folder / "results.json"), folder / "config.json")


def edit(registry: Registry, name: str = "tuned", **config: Any) -> None:
    """Change fields of an experiment's config in the file, as a person would."""
    file = registry.paths.file
    document = json.loads(file.read_text(encoding="utf-8"))
    document["experiments"][name]["config"].update(config)
    file.write_bytes(render(document))


def result_in_file(registry: Registry, name: str = "tuned", stage: Stage = "eval") -> dict[str, Any]:
    """A stage's entry as the file itself has it, records that are not folded left out."""
    document = json.loads(registry.paths.file.read_text(encoding="utf-8"))
    entry: dict[str, Any] = document["experiments"][name]["results"][stage]
    return entry


def use_stages(monkeypatch: pytest.MonkeyPatch, **functions: str) -> None:
    """Let the runner find the stages of this module; `functions` names another one for a stage."""
    names = {"curation": "curate", "training": "train", "eval": "evaluate", **functions}
    for stage, name in names.items():
        monkeypatch.setitem(ENTRY_POINT, stage, f"{__name__}:{name}")  # type: ignore[misc]


def plans(registry: Registry, stages: Sequence[Stage] = STAGES, name: str = "tuned", **wish: Any) -> list[Plan]:
    """What is planned for an experiment as it stands."""
    return plan(registry, registry.read(), name, Wish(stages=tuple(stages), **wish))


def run(registry: Registry, stages: Sequence[Stage] = STAGES, name: str = "tuned", **wish: Any) -> list[str]:
    """Do what is planned, in this process; returns the actions."""
    done: list[str] = []
    for step in plans(registry, stages, name, **wish):
        if step.action == "run":
            run_job(claim(registry, step))
        elif step.action == "reuse":
            reuse(registry, [step])
        done.append(step.action)
    return done


def staged_lab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A lab in `folder` with output folders, small stages and four experiments, three of them alike."""
    monkeypatch.setenv("CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("MED_S1K_OUTPUT", str(folder / "output"))
    use_stages(monkeypatch)
    return write_lab(folder / "lab", {"tuned": tuned(), "base": base(), "twin": tuned(), "half": tuned()})


def reasons(steps: list[Plan]) -> list[tuple[str, str]]:
    """What is planned, as (action, reason)."""
    return [(step.action, step.reason) for step in steps]


def states(registry: Registry, name: str = "tuned") -> dict[Stage, str]:
    """The status of each stage."""
    return {stage: status.status for stage, status in registry.statuses(registry.read(), name).items()}


def entry(registry: Registry, stage: Stage = "eval", name: str = "tuned") -> dict[str, Any]:
    """A stage's entry with every saved record."""
    found: dict[str, Any] = results_of(registry.read(), name)[stage]
    return found


def link(registry: Registry, stage: Stage = "eval", name: str = "tuned") -> Path:
    """Where the path that users look in leads."""
    return registry.outputs.link(name, stage).resolve()


def curate(context: StageContext) -> StageOutput:
    """A small real stage: the rows of the training file, as often as the config says."""
    assert context.config.curation is not None
    assert context.config.train_dataset is not None
    count = context.config.curation.wanted or 1
    text = Path(str(context.config.train_dataset.file_path)).read_text(encoding="utf-8")
    output = context.run_dir / "rows.jsonl"
    output.write_text(text * count, encoding="utf-8")
    return StageOutput({"rows": count}, {"dataset_path": output}, context.run_dir)


def train(context: StageContext) -> StageOutput:
    """A small real stage: the model is the number of rows that it has seen."""
    rows = context.upstream["curation"].path("dataset_path").read_text(encoding="utf-8").count("\n")
    output = context.run_dir / "model.txt"
    output.write_text(str(rows), encoding="utf-8")
    return StageOutput({"rows": rows}, {"model_path": output}, context.run_dir)


def evaluate(context: StageContext) -> StageOutput:
    """A small real stage: the score is what the trained model holds, 0 for a base model."""
    trained = context.upstream.get("training")
    score = int(trained.path("model_path").read_text(encoding="utf-8")) if trained else 0
    output = context.run_dir / "eval_results.json"
    output.write_text(json.dumps({"score": score}), encoding="utf-8")
    return StageOutput({"score": score}, {"results_path": output}, context.run_dir)


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that are gone and the lines that are new."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [line[2:] for line in lines if line[0] == "-"], [line[2:] for line in lines if line[0] == "+"]


def fail(context: StageContext) -> StageOutput:
    """A stage that breaks."""
    raise ValueError(f"no room for {context.config.experiment}")


def give_up(context: StageContext) -> StageOutput:
    """A stage that ends with one clear line."""
    raise StageFailure(f"{context.config.experiment}: no row is left")


def interrupt(context: StageContext) -> StageOutput:
    """A stage in which a person presses Ctrl-C."""
    raise KeyboardInterrupt


def diverge(context: StageContext) -> StageOutput:
    """A stage whose metrics are no JSON."""
    return StageOutput({"losses": [1.0, float("nan")]}, {}, context.run_dir)


def stop(context: StageContext) -> StageOutput:
    """A stage that a signal asks to stop."""
    raise StageStopped("stopped by SIGUSR2")


def lock_out(context: StageContext) -> StageOutput:
    """A stage during which the registry's folder, which stands beside the model, can be written no more."""
    root = Path(str(context.config.model.file_path)).parent / ".registry"
    (root / "inbox").rename(root / "applied")
    (root / "inbox").symlink_to("nowhere")
    return curate(context)


def lock_out_and_fail(context: StageContext) -> StageOutput:
    """The same, and then it breaks."""
    lock_out(context)
    raise StageFailure(f"no room for {context.config.experiment}")


def tear(context: StageContext) -> StageOutput:
    """A stage during which the registry's file, which stands beside the model, is torn."""
    (Path(str(context.config.model.file_path)).parent / "results.json").write_text('{"experiments"', encoding="utf-8")
    return curate(context)
