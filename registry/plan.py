"""Decide, for each stage of an experiment, whether it has to run, and why."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from registry.effective import EffectiveConfig
from registry.errors import MissingError
from registry.fingerprint import Fingerprints, Inputs, changed_fields, parent_of, pinned
from registry.history import Header
from registry.paths import is_here
from registry.provenance import process_start, restart_count, same_node, slurm_job_id
from registry.reading import View
from registry.rescore import earlier_predictions
from registry.schema import STAGES, Stage
from registry.status import being_submitted, ended_as, in_flight_with, recorded_inputs
from registry.store import Registry, experiments_of, refuse_newer, results_of

Action = Literal["run", "skip", "busy", "reuse", "n/a"]
IsGone = Callable[[Header], bool]
_SUBMISSION_TAKES = timedelta(minutes=10)


@dataclass(frozen=True)
class Plan:
    """What to do about one stage: `busy` means that another attempt with its fingerprint is in flight.

    `overrides` is empty unless `--set` changed the stage's fingerprint. `last_attempt` is the newest one on record.
    `earlier` are the predictions that the eval is to score again in place of asking the model.
    """

    experiment: str
    stage: Stage
    action: Action
    reason: str
    config: EffectiveConfig
    fingerprint: str = ""
    inputs: Mapping[str, Any] | None = None
    run_dir: Path | None = None
    overrides: Mapping[str, Any] | None = None
    reused_from: str | None = None
    last_attempt: int = 0
    earlier: str = ""


@dataclass(frozen=True)
class Wish:
    """What a user asked for: which stages, which `--set`, whether completed ones run again.

    `may_wait` says that a stage may be planned whose parent is still in flight: a batch job can wait for it. `rescore`
    scores the predictions of the last eval again, without a model.
    """

    stages: tuple[Stage, ...] = STAGES
    overrides: Mapping[str, Any] | None = None
    force: bool = False
    may_wait: bool = False
    rescore: bool = False


def gone_from_here(header: Header) -> bool:
    """Whether an attempt in flight has surely ended without a record, as far as this process can tell by itself.

    A process of this host is looked for by its id. Of Slurm's jobs only the one that this process belongs to is judged:
    an earlier restart of it was put back into the queue, so that run has ended.
    """
    job = header.job
    if job.get("cluster") == "slurm":
        if job.get("id") != slurm_job_id():
            return False
        if restart_count() > header.restart:
            return True
    here = job.get("host") == socket.gethostname() and same_node(job)
    return here and job.get("pid") is not None and not _is_alive(int(job["pid"]), job.get("start"))


def is_abandoned(intent: Header, at_least: timedelta = timedelta()) -> bool:
    """Whether the command that saved an intent has surely died before its job was in the queue.

    Of one on another host it is taken for sure when it is older than any submission takes. Only one that is `at_least`
    so old is judged at all.
    """
    job = intent.job
    age = datetime.now(UTC) - datetime.fromisoformat(intent.timestamp)
    if job.get("host") == socket.gethostname():
        return age >= at_least and not _is_alive(int(job["pid"]), job.get("start"))
    return age > max(at_least, _SUBMISSION_TAKES)


def _is_alive(pid: int, start: str | None) -> bool:
    now = process_start(pid)
    if start is not None and now is not None:
        return now == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def plan(registry: Registry, view: View, name: str, wish: Wish, is_gone: IsGone = gone_from_here) -> list[Plan]:
    """One plan per stage in `wish`, parents first.

    `MissingError` when a stage needs a parent that is neither completed and fresh nor part of the wish.
    """
    refuse_newer(registry, view)
    config = registry.effective(view, name, wish.overrides)
    recorded = recorded_inputs(results_of(view, name))
    if wish.force:  # asks the hub's cache anew for what runs again, not for the parents that stay
        recorded = {key: value for key, value in recorded.items() if key not in wish.stages}
    wanted = Fingerprints(config, view.contents, recorded)
    own = Fingerprints(registry.effective(view, name), view.contents, recorded) if wish.overrides else None
    plans: list[Plan] = []
    for stage in sorted(wish.stages, key=STAGES.index):
        if not config.applies(stage):
            plans.append(Plan(name, stage, "n/a", "not part of this experiment", config))
            continue
        plans.append(_plan_stage(registry, view, _Case(wanted, own, stage, wish, is_gone), plans))
    return plans


@dataclass(frozen=True)
class _Case:
    """One stage to be planned: the fingerprints with `--set` and, where that was used, without."""

    wanted: Fingerprints
    own: Fingerprints | None
    stage: Stage
    wish: Wish
    is_gone: IsGone

    @property
    def config(self) -> EffectiveConfig:
        return self.wanted.config

    @property
    def foreign(self) -> bool:
        """Whether `--set` makes the stage another experiment's."""
        if self.own is None:
            return False
        return not self.own.config.applies(self.stage) or self.own.of(self.stage) != self.wanted.of(self.stage)


def _plan_stage(registry: Registry, view: View, case: _Case, before: Iterable[Plan]) -> Plan:
    config, stage, name = case.config, case.stage, case.config.experiment
    inputs, fingerprint = case.wanted.inputs(stage), case.wanted.of(stage)
    parent = parent_of(config, stage)
    upstream = next((plan for plan in before if plan.stage == parent), None)
    if upstream is None and parent is not None:
        _require_parent(registry, view, case, inputs)
    action, reason, source = _decide(registry, view, case, inputs)
    earlier = ""
    if case.wish.rescore and action != "busy":
        earlier = earlier_predictions(name, results_of(view, name).get(stage) or {}, inputs)
        action, reason, source = "run", f"scores {earlier} again", None
    return Plan(
        experiment=name,
        stage=stage,
        action=action,
        reason=reason,
        config=pinned(config, inputs),
        fingerprint=fingerprint,
        inputs=inputs,
        run_dir=registry.outputs.run_dir(name, stage, fingerprint),
        overrides=dict(case.wish.overrides or {}) if case.foreign else {},
        reused_from=source,
        last_attempt=max((header.attempt for header in view.state.headers(name, stage)), default=0),
        earlier=earlier,
    )


def _decide(registry: Registry, view: View, case: _Case, inputs: Inputs) -> tuple[Action, str, str | None]:
    name, stage, fingerprint = case.config.experiment, case.stage, case.wanted.of(case.stage)
    flying = in_flight_with(view.state.headers(name, stage), fingerprint)
    if flying is not None and not case.is_gone(flying) and not (case.wish.force and _is_elsewhere(flying)):
        job = flying.job.get("id") or flying.job.get("pid") or "?"
        state = f"attempt {flying.attempt} is {flying.event} (job {job}); wait for it (`meds1 status {name}`)"
        mend = "use --force if it has ended" if _is_elsewhere(flying) else f"end it (`meds1 cancel {name}`)"
        return "busy", f"{state}, or {mend}", None
    rival = _being_submitted(view, name, stage, fingerprint)
    if rival is not None:
        return "busy", rival, None
    if case.wish.force:
        return "run", "forced", None
    entry = results_of(view, name).get(stage) or {}
    found = registry.find_completed(view, name, stage, fingerprint)
    if found and (case.foreign or found.get("record") == entry.get("record")):
        return "skip", "completed and fresh", None
    if found and _has_files(found):  # in the history only: the config went back to it, or took over a `--set`
        return "reuse", f"attempt {found['attempt']} has completed this very stage", name
    other = _twin(view, name, stage, fingerprint)
    if other is not None:
        return "reuse", f"{other} has completed this very stage", other
    status = ended_as(entry)
    if status == "completed":
        changes = changed_fields(entry.get("inputs") or {}, inputs)
        return "run", f"stale: {'; '.join(changes)}" if entry.get("fingerprint") else "fingerprint unknown", None
    return "run", "missing" if status == "missing" else f"the last attempt {status}", None


def _being_submitted(view: View, name: str, stage: Stage, fingerprint: str) -> str | None:
    for intent in being_submitted(view.state.headers(name, stage), fingerprint):
        if not is_abandoned(intent):
            job = intent.job
            who = f"{job.get('user')} on {job.get('host')} (process {job.get('pid')}, since {intent.timestamp})"
            return f"attempt {intent.attempt} is being submitted by {who}; try again when that command has ended"
    return None


def _is_elsewhere(header: Header) -> bool:
    """Whether it is a process that only another host could look for, and no queue knows."""
    return header.job.get("cluster") != "slurm" and header.job.get("host") != socket.gethostname()


def _twin(view: View, name: str, stage: Stage, fingerprint: str) -> str | None:
    """Another experiment whose current result of this stage has the same fingerprint and still has its files."""
    for other, body in experiments_of(view).items():
        entry = ((body.get("results") or {}).get(stage) or {}) if other != name else {}
        if entry.get("fingerprint") == fingerprint and entry.get("status") == "completed" and _has_files(entry):
            return other
    return None


def _has_files(entry: Mapping[str, Any]) -> bool:
    paths = [value for key, value in entry.items() if key.endswith("_path") and isinstance(value, str)]
    return all(is_here(path) for path in paths)


def _require_parent(registry: Registry, view: View, case: _Case, inputs: Inputs) -> None:
    upstream = inputs["upstream"]
    name, stage, parent = case.config.experiment, case.stage, upstream["stage"]
    if registry.find_completed(view, name, parent, upstream["fingerprint"]):
        return
    flying = in_flight_with(view.state.headers(name, parent), upstream["fingerprint"])
    if flying is not None and not case.is_gone(flying):
        if case.wish.may_wait:
            return
        raise MissingError(
            f"{name}: {stage} needs {parent}, which is still in flight (attempt {flying.attempt}); "
            f"run again when `meds1 status {name}` shows it as completed"
        )
    rival = _being_submitted(view, name, parent, upstream["fingerprint"])
    if rival is not None:
        raise MissingError(f"{name}: {stage} needs {parent}, of which {rival}")
    entry = results_of(view, name).get(parent) or {}
    status = ended_as(entry)
    if status == "completed" and entry.get("fingerprint") is None:
        state = "was recorded by another program, with unknown fingerprint"
    else:
        state = {"completed": "is stale", "missing": "is missing"}.get(status, f"has {status}")
    raise MissingError(f"{name}: {stage} needs {parent}, which {state}; run `meds1 run {name} --stage {parent}` first")
