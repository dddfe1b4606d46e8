"""An invented lab: a registry of some forty experiments with predictions, made in seconds and without any model.

It serves whoever wants to see tables, figures and the report without a GPU. What the models answer is invented, and so
is all that is said of their training; what is counted of it is counted by the code that counts real answers, and saved
as real records.
"""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from demo.study_answers import evaluate
from demo.study_experiments import Invented, catalog, experiments
from demo.study_questions import SMALLEST, write_questions
from demo.study_results import curate, spending, train
from demo.world import make_world
from eval.benchmarks import Benchmark, load_benchmarks
from eval.stage import PREDICTIONS, RESULTS
from registry.contents import Contents
from registry.document import render
from registry.durable import make_folder, write_shared
from registry.effective import EffectiveConfig
from registry.errors import UsageError
from registry.fingerprint import Fingerprints
from registry.job import Job
from registry.paths import OutputPaths, RegistryPaths
from registry.provenance import gather
from registry.records import Event, claim_attempt
from registry.schema import STAGES, Stage
from registry.store import Registry, results_of

SEED = 0
ORIGINAL, SUMMARY = "original", "summary.json"
_BEGINNING = datetime(2026, 1, 5, 8, tzinfo=UTC)
_HOURS: Mapping[Stage, float] = {"curation": 0.4, "training": 3.0, "eval": 1.1}
_HOST, _USER = "invented-node", "nobody"
_FAILURE = "RuntimeError: the loss is not a number at step 31"


def make_study(folder: Path, *, questions: int = 200, more_seeds: int = 0, seed: int = SEED) -> Registry:
    """Make the study in `folder`, which must be empty or new: registry, catalog, data, `cache` and `output`.

    `questions` are those of the first benchmark, `more_seeds` more experiments like random-1k. Returns the registry,
    folded. Raises `UsageError` for a folder that holds something, or too few questions.
    """
    if questions < SMALLEST:
        raise UsageError(f"a study needs at least {SMALLEST} questions, not {questions}")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name a new folder for the study")
    folder.mkdir(parents=True, exist_ok=True)
    invented = experiments(more_seeds)
    write_questions(folder, make_world(seed), questions, seed)
    for number, name in enumerate(("model-a", "model-b")):
        _write_weights(folder / name, number)
    _write_json(folder / "config.json", catalog(invented))
    document = {"format": 1, "experiments": {one.name: one.entry() for one in invented}}
    (folder / "results.json").write_bytes(render(document))
    lab = Registry(RegistryPaths(folder / "results.json"), folder / "config.json")
    outputs = OutputPaths(folder / "cache", folder / "output")
    lab.paths.inbox.mkdir(parents=True)
    view, provenance = lab.read(), _provenance()
    loaded = load_benchmarks({name: lab.eval_dataset(name) for name in lab.catalog.eval_datasets}, None)
    for number, one in enumerate(invented):
        clock = _BEGINNING + timedelta(hours=6 * number)
        course = _Course(lab, outputs, one, lab.effective(view, one.name), view.contents, loaded, provenance)
        course.run(clock)
    lab.fold()
    _edit_afterwards(lab, invented)
    lab.fold()
    return lab


@dataclass(frozen=True)
class _Course:
    """One experiment on its way through its stages."""

    lab: Registry
    outputs: OutputPaths
    invented: Invented
    config: EffectiveConfig
    contents: Contents
    benchmarks: Mapping[str, Benchmark]
    provenance: Mapping[str, Any]

    def run(self, clock: datetime) -> None:
        """Record every stage that applies, up to the one that failed or still runs."""
        rows = 0
        if self.invented.fate == "original":
            _write_original(self, self.outputs.cache.parent / ORIGINAL)
            return
        for stage in STAGES:
            if not self.config.applies(stage):
                continue
            job = self._claim(stage)
            self._save(job, "intent", {"config": dict(job.config), "run_dir": job.run_dir}, clock)
            clock += timedelta(minutes=2)
            self._save(job, "started", {"job": _identity()}, clock)
            if stage == "training" and self.invented.fate == "failed":
                self._save(job, "failed", _failure(job), clock + timedelta(minutes=9))
                return
            if stage == "eval" and self.invented.fate == "running":
                return
            clock += timedelta(hours=_HOURS[stage])
            result = self._result(job, rows)
            rows = result["metrics"].get("n_train", rows)
            self._save(job, "completed", result, clock)

    def _result(self, job: Job, rows: int) -> dict[str, Any]:
        run_dir = Path(job.run_dir)
        link, extra = run_dir, dict[str, Any]()
        if job.stage == "curation":
            metrics, artifacts = curate(self.invented, self.config, run_dir)
            extra = spending(self.config, metrics)
        elif job.stage == "training":
            metrics, artifacts = train(self.invented, self.config, rows, run_dir)
            link = artifacts["model_path"] = run_dir / "model"
            _write_weights(link, rows)
        else:
            metrics = evaluate(self.invented, self.config, self.benchmarks, run_dir)
            artifacts = {"results_path": run_dir / RESULTS, "predictions_path": run_dir / PREDICTIONS}
        seen = self.outputs.link(job.experiment, job.stage)
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.symlink_to(link)
        paths = {name: str(path) for name, path in artifacts.items()}
        return {"job": _identity(), **paths, "metrics": metrics, "run_dir": job.run_dir, "link": str(link), **extra}

    def _claim(self, stage: Stage) -> Job:
        fingerprints = Fingerprints(self.config, self.contents)
        name, fingerprint = self.config.experiment, fingerprints.of(stage)
        run_dir = self.outputs.run_dir(name, stage, fingerprint)
        job = Job(
            experiment=name,
            stage=stage,
            attempt=claim_attempt(self.lab.paths.attempts(name, stage), lasting=False),
            fingerprint=fingerprint,
            inputs=fingerprints.inputs(stage),
            overrides={},
            config=self.config.model_dump(mode="json", by_alias=True),
            run_dir=str(run_dir),
            registry=str(self.lab.paths.file),
            catalog=str(self.lab.catalog_path),
        )
        make_folder(job.folder, lasting=False)
        _write_json(job.file, {field: value for field, value in vars(job).items() if field != "shard"})
        log = "".join(f"{stage}: {name}: line {number} of an invented log\n" for number in range(1, 31))
        (job.folder / "invented_0_log.err").write_text(log, encoding="utf-8")
        return job

    def _save(self, job: Job, event: Event, result: Mapping[str, Any], clock: datetime) -> None:
        """Save a record as a run would, but for the flush: hundreds of files one by one would take long."""
        stamp = _stamp(clock)
        provenance = {} if event == "intent" else {**self.provenance, "started": stamp}
        if event in ("completed", "failed"):
            seconds = 3600 * _HOURS[job.stage]
            begun = _stamp(clock - timedelta(seconds=seconds))
            provenance |= {"started": begun, "ended": stamp, "seconds": seconds}
        record = job.record(event, {"timestamp": stamp, **result}, provenance)
        write_shared(self.lab.paths.inbox / record.file_name, record.to_bytes())


def _edit_afterwards(lab: Registry, invented: list[Invented]) -> None:
    """What became of some experiments later: edited, deleted, or known from the original project's files alone."""
    view = lab.read()
    document = json.loads(lab.paths.file.read_bytes())
    for one in invented:
        body = document["experiments"][one.name]
        if one.fate == "stale":
            body["config"]["curation"]["seed"] += 1
        elif one.fate == "deleted":
            Path(results_of(view, one.name)["eval"]["predictions_path"]).unlink()
        elif one.fate == "original":
            folder = lab.paths.file.parent / ORIGINAL
            stamp = {"timestamp": _stamp(_BEGINNING)}
            body["results"] = {
                "curation": {"dataset_path": str(folder / "formatted"), **stamp},
                "training": {"model_path": str(folder / "model"), "metrics": None, **stamp},
                "eval": {"output_dir": str(folder), "summary_file": str(folder / SUMMARY), **stamp},
            }
    lab.paths.file.write_bytes(render(document))


def _write_original(course: _Course, folder: Path) -> None:
    """All that the original project leaves of an eval: a summary, and no predictions."""
    fields = ("accuracy", "accuracy_ci", "num_correct", "total_examples")
    with tempfile.TemporaryDirectory() as scratch:
        benchmarks = evaluate(course.invented, course.config, course.benchmarks, Path(scratch))["benchmarks"]
    summary = {name: {field: numbers[field] for field in fields} for name, numbers in benchmarks.items()}
    folder.mkdir()
    _write_json(folder / SUMMARY, {"summary": summary})


def _provenance() -> dict[str, Any]:
    """This machine's versions and commit, on an invented host."""
    here = {key: value for key, value in gather().items() if key in ("python", "packages", "git")}
    return {"user": _USER, "host": _HOST, "pid": 1, "device": "4 invented GPUs", **here, "slurm": {}}


def _identity() -> dict[str, Any]:
    return {"cluster": "here", "host": _HOST, "pid": 1, "start": None, "user": _USER}


def _failure(job: Job) -> dict[str, Any]:
    lines = ["Traceback (most recent call last):", '  File "train/stage.py", in run', _FAILURE]
    (job.folder / "traceback.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"job": _identity(), "error": _FAILURE, "traceback": lines, "log": str(job.folder)}


def _stamp(clock: datetime) -> str:
    return clock.isoformat(timespec="seconds").replace("+00:00", "Z")


def _write_weights(folder: Path, number: int) -> None:
    """A model that is only weights to be hashed, with the safetensors header of one tensor."""
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        _write_json(folder / name, {"number": number})
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<ff", 0, number))


def _write_json(path: Path, body: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
