"""`track`: a training or evaluation script that is not this project's reports to the registry like a stage.

    from registry import track

    with track("my-experiment") as run:
        for step in range(steps):
            run.log_metrics({"loss": loss}, step=step)
        run.log_evaluation({"benchmarks": {...}})
        run.finish(model_path="out/model")

An attempt is claimed and recorded as `started`; `finish` completes it. An error, a signal to end, or an end without
`finish` is recorded as such. The script is among the inputs that the fingerprint hashes, so that its result is never
taken for that of the project's own stage. Only rank 0 reports; elsewhere every call does nothing.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from registry import script
from registry.attempt import Attempt, sole_user
from registry.canonical import sha256
from registry.contents import Contents
from registry.errors import MissingError, StageFailure, UsageError, nearest
from registry.fingerprint import Inputs, own_inputs, pinned
from registry.job import Job, claim, load_job
from registry.logbook import Logbook, checked_evaluation, plain
from registry.paths import job_file
from registry.plan import Plan, Wish, plan
from registry.provenance import restart_count, slurm_job_id
from registry.ranks import ranks
from registry.runner import publish
from registry.schema import Stage
from registry.stage import StageOutput
from registry.store import Registry, experiments_of, open_registry

TRACKED: tuple[Stage, ...] = ("training", "eval")
_REMEDY: dict[Stage, str] = {"training": "curation and training_params", "eval": "datasets.eval"}


def track(name: str, stage: Stage = "training", registry: Registry | None = None) -> Tracked:
    """Begin to report a run of `stage` of experiment `name`; a context manager, or a plain object to be finished.

    `registry` is that of `open_registry()` unless given. Raises `UsageError` for an experiment that is not there or
    has no such stage, `MissingError` when its parent stage has not completed, and `StageFailure` when another run of
    the same script is at work on it.
    """
    rank, _ = ranks()
    if rank != 0:
        return Tracked(None)
    if stage not in TRACKED:
        raise UsageError(f"{name}: {stage!r} cannot be tracked{nearest(stage, TRACKED)}")
    opened = registry or open_registry()
    return Tracked(_begin(opened, _planned(opened, name, stage)))


@dataclass(frozen=True)
class _Evaluation:
    inputs: Inputs
    metrics: Mapping[str, Any]
    artifacts: Mapping[str, Path]


@dataclass
class _Run:
    """A run that is being recorded. `stack` holds its lock and its attempt; leaving it records the end."""

    registry: Registry
    job: Job
    plan: Plan
    attempt: Attempt
    stack: ExitStack
    log: Logbook
    evaluation: _Evaluation | None = None
    closed: bool = False


class Tracked:
    """What `track` returns."""

    def __init__(self, run: _Run | None) -> None:
        self._run = run
        self._pid = os.getpid()
        if run is not None:
            atexit.register(self._at_exit)

    @property
    def run_dir(self) -> Path | None:
        """A folder for this run's outputs, the same when the same script starts again; null where rank is not 0."""
        return Path(self._run.job.run_dir) if self._run else None

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint that this run, or an earlier one in its folder, has logged and that is still there."""
        return self._run.log.last_checkpoint() if self._run else None

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Append a line to `metrics.jsonl` in the run directory: numbers by name; NaN and infinities become null."""
        run = self._recording("log_metrics")
        if run:
            run.log.metrics(metrics, step)

    def log_checkpoint(self, path: str | Path, step: int) -> None:
        """Note a checkpoint that lies at `path`; `MissingError` when nothing does."""
        run = self._recording("log_checkpoint")
        if run:
            run.log.checkpoint(_existing(run.job, "log_checkpoint", path), step)

    def log_evaluation(self, metrics: Mapping[str, Any], predictions: str | Path | None = None) -> None:
        """Note an evaluation of the model; the last one before `finish` becomes the experiment's eval result.

        `{"benchmarks": {name: {accuracy, accuracy_ci, num_correct, total_examples}}}` is what tables read (shares
        between 0 and 1); other metrics are kept as they are. `predictions` is a file of the single answers.
        """
        run = self._recording("log_evaluation")
        if run is None:
            return
        found = checked_evaluation(metrics, run.job.experiment)
        artifacts = {"predictions_path": _existing(run.job, "log_evaluation", predictions)} if predictions else {}
        run.evaluation = _Evaluation(_eval_inputs(run), found, artifacts)
        run.log.evaluation(found)

    def finish(self, model_path: str | Path | None = None, metrics: Mapping[str, Any] | None = None) -> None:
        """Complete the run: record its result, and the evaluation that was logged, and fold.

        Raises `MissingError` when nothing lies at `model_path` and `StageFailure` for metrics that are no JSON (NaN);
        the run then goes on, and can still be finished.
        """
        run = self._recording("finish")
        if run is None:
            return
        output = _output(run, model_path, plain(metrics or {}))
        run.attempt.complete(output)
        self._leave(None)
        publish(run.registry, [run.job])
        if run.evaluation is not None and run.job.stage == "training":
            _record_evaluation(run, run.evaluation)

    def __enter__(self) -> Tracked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is None or self._run.closed:
            return
        self._leave(error or _unfinished(self._run.job))
        if error is None:
            raise _unfinished(self._run.job)

    def _recording(self, verb: str) -> _Run | None:
        if self._run is not None and self._run.closed:
            job = self._run.job
            raise UsageError(
                f"{job.experiment}: {job.stage}: {verb}() after the end of the run; its record cannot change: "
                "call it before finish(), or begin a new run with track()"
            )
        return self._run

    def _leave(self, error: BaseException | None) -> None:
        assert self._run is not None
        self._run.closed = True
        atexit.unregister(self._at_exit)
        self._run.stack.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)

    def _at_exit(self) -> None:
        # A forked child inherits the hook, not the run.
        if self._run is not None and not self._run.closed and os.getpid() == self._pid:
            self._leave(getattr(sys, "last_value", None) or _unfinished(self._run.job))


def _unfinished(job: Job) -> StageFailure:
    return StageFailure(f"{job.experiment}: {job.stage}: the script ended without finish()")


def _planned(registry: Registry, name: str, stage: Stage) -> Plan:
    view = registry.read()
    known = experiments_of(view)
    if name not in known:
        raise UsageError(
            f"no experiment {name!r} in {registry.paths.file}{nearest(name, known)}; "
            f"make one with `meds1 new {name} --from BASE`"
        )
    # Forced: whoever starts the script wants it to run.
    (step,) = plan(registry, view, name, Wish((stage,), force=True))
    if step.action == "n/a":
        raise UsageError(f"{name}: its config has no {stage}, so there is none to track; give it {_REMEDY[stage]}")
    inputs = {**(step.inputs or {}), "script": script.identity()}
    fingerprint = sha256(inputs)
    run_dir = registry.outputs.run_dir(name, stage, fingerprint)
    return replace(step, inputs=inputs, fingerprint=fingerprint, run_dir=run_dir)


def _begin(registry: Registry, step: Plan) -> _Run:
    assert step.run_dir is not None
    try:
        step.run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StageFailure(f"{step.experiment}: {step.run_dir}: {error.strerror}; check CACHE_DIR") from None
    with ExitStack() as stack:
        stack.enter_context(sole_user(step.run_dir, step.experiment))
        job = _restarted(registry, step) or claim(registry, step)
        stack.callback(_listen_to_sigterm())
        attempt = Attempt(registry, job)
        attempt.provenance["script"] = script.provenance(job.folder)
        stack.enter_context(attempt)
        attempt.start()
        return _Run(registry, job, step, attempt, stack.pop_all(), Logbook(job))


def _restarted(registry: Registry, step: Plan) -> Job | None:
    """The attempt that a requeued Slurm job goes on with."""
    job = slurm_job_id()
    if job is None or restart_count() == 0 or step.run_dir is None:
        return None
    for header in reversed(registry.read().state.headers(step.experiment, step.stage)):
        if header.job.get("id") == job and header.fingerprint == step.fingerprint:
            return load_job(job_file(step.run_dir, header.attempt))
    return None


def _listen_to_sigterm() -> Any:
    """Let SIGTERM end the script like Ctrl-C, so that its end is recorded; returns what undoes that."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None  # the script has a handler of its own
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _existing(job: Job, verb: str, path: str | Path) -> Path:
    found = Path(path).absolute()
    if not found.exists():
        raise MissingError(f"{job.experiment}: {job.stage}: {verb}(): nothing lies at {found}; save it there first")
    return found


def _eval_inputs(run: _Run) -> Inputs:
    """What decides the evaluation, by the config that was frozen when the run began."""
    job, config = run.job, run.plan.config
    if job.stage == "eval":
        return dict(job.inputs)
    if not config.applies("eval"):
        raise UsageError(f"{job.experiment}: log_evaluation(): its config has no datasets.eval; add what was evaluated")
    inputs = own_inputs(config, "eval", Contents.from_environment())
    upstream = {"stage": job.stage, "fingerprint": job.fingerprint}
    return {**inputs, "upstream": upstream, "script": job.inputs["script"]}


def _output(run: _Run, model_path: str | Path | None, metrics: dict[str, Any]) -> StageOutput:
    job, folder = run.job, Path(run.job.run_dir)
    artifacts = run.log.artifacts()
    link = folder
    if model_path is not None:
        artifacts["model_path"] = _existing(job, "finish", model_path)
        link = artifacts["model_path"] if artifacts["model_path"].is_dir() else folder
    if job.stage == "eval":
        if run.evaluation is None:
            raise UsageError(f"{job.experiment}: eval: nothing was evaluated: call log_evaluation() before finish()")
        metrics = {**run.evaluation.metrics, **metrics}
        artifacts |= {**run.evaluation.artifacts, "results_path": run.log.results(run.evaluation.metrics, folder)}
    return StageOutput({**metrics, **run.log.counts()}, artifacts, link)


def _record_evaluation(run: _Run, found: _Evaluation) -> None:
    """The eval result that a training script brought about, as an attempt of its own."""
    name, fingerprint = run.job.experiment, sha256(found.inputs)
    folder = run.registry.outputs.run_dir(name, "eval", fingerprint)
    step = replace(
        run.plan,
        stage="eval",
        config=pinned(run.plan.config, found.inputs),
        fingerprint=fingerprint,
        inputs=found.inputs,
        run_dir=folder,
    )
    job = claim(run.registry, step)
    with Attempt(run.registry, job) as attempt, sole_user(folder, name):
        attempt.provenance["script"] = run.attempt.provenance["script"]
        attempt.start()
        results = run.log.results(found.metrics, folder)
        attempt.complete(StageOutput(found.metrics, {**found.artifacts, "results_path": results}, folder))
    publish(run.registry, [job])
