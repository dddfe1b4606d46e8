"""The one stage runner: claim an attempt, run the stage's function, record what happened, fold, switch the link.

The same code serves `meds1 run` here and the batch job there. A job is frozen when its attempt is claimed (the intent
record and `job.json` in the attempt's folder hold its effective config); a job re-checks its parent when it starts.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from registry.attempt import Attempt, OtherRank, fold_or_warn, job_identity, sole_user, taken
from registry.canonical import sha256
from registry.contents import Contents
from registry.effective import EffectiveConfig
from registry.errors import Meds1Error, MissingError, UsageError
from registry.fingerprint import changed_fields, own_inputs
from registry.history import Entry
from registry.job import Job, claim_all, save_end
from registry.paths import CHECKOUT
from registry.plan import Plan
from registry.provenance import now
from registry.ranks import ranks
from registry.reading import View
from registry.schema import Stage
from registry.stage import ENTRY_POINT, SHARD_ENTRY_POINT, ShardFunction, StageContext, StageFunction, Upstream
from registry.stopping import StopFlag
from registry.store import Registry

log = logging.getLogger("meds1")
# What a result says of itself, and not of what was made: a result that is reused has cost nothing.
_OWN = frozenset(
    ("status", "fingerprint", "inputs", "attempt", "restart", "provenance", "record", "timestamp", "last_attempt")
) | {"overrides", "spending", "gpu_hours"}
End = Literal["failed", "cancelled"]


def reuse(registry: Registry, plans: Sequence[Plan]) -> None:
    """Record that results of other experiments, or earlier ones, with the same fingerprints are these stages' too."""
    view = registry.read()
    sources = [_source(registry, view, plan) for plan in plans]
    jobs = claim_all(registry, plans, CHECKOUT)
    registry.save_all(
        [
            job.record(
                "completed",
                {**{key: value for key, value in source.items() if key not in _OWN}, "reused_from": plan.reused_from},
                source.get("provenance"),
            )
            for plan, job, source in zip(plans, jobs, sources, strict=True)
        ]
    )
    publish(registry, jobs)


def _source(registry: Registry, view: View, plan: Plan) -> Entry:
    assert plan.reused_from is not None
    source = registry.find_completed(view, plan.reused_from, plan.stage, plan.fingerprint)
    if source is None:
        raise MissingError(f"{plan.experiment}: the result of {plan.reused_from} is gone; run again")
    return source


def run_job(job: Job, stop: StopFlag | None = None) -> Entry | None:
    """Run a claimed attempt in this process; every rank calls it, rank 0 records. Returns the saved result.

    Whoever listens for signals that ask the stage to stop hands over the flag that they set.
    """
    rank, _ = ranks()
    stop = stop or StopFlag()
    config = EffectiveConfig.model_validate(job.config)
    registry = job.open()
    if rank != 0:
        with OtherRank(job, rank), stop:
            _function(job.stage)(_context(registry, job, config, stop))
        return None
    with Attempt(registry, job) as attempt, sole_user(Path(job.run_dir), job.experiment):
        attempt.start()
        _check_unchanged(registry, job, config)
        with stop:
            output = _function(job.stage)(_context(registry, job, config, stop))
        result = attempt.complete(output)
    publish(registry, [job])
    return result


def run_shard(job: Job, stop: StopFlag) -> None:
    """Do one shard's part for an attempt whose job comes after all of them; only a failure is recorded.

    Shards work side by side: they write nothing but what any job may use again, so none owns the run directory.
    """
    assert job.shard is not None
    config = EffectiveConfig.model_validate(job.config)
    registry = job.open()
    with Attempt(registry, job):
        _check_unchanged(registry, job, config)
        with stop:
            prepare = cast(ShardFunction, _named(SHARD_ENTRY_POINT))
            prepare(_context(registry, job, config, stop), job.shard, job.shards)


def record_failure(job: Job, error: str) -> None:
    """Record that an attempt ended without a word of its own (killed, for instance)."""
    record_end(job, "failed", error)


def record_end(job: Job, event: End, error: str) -> None:
    """Record for an attempt how it ended."""
    registry = job.open()
    result = {"job": job_identity(), "error": error, "log": str(job.folder), **taken(Path(job.run_dir))}
    save_end(registry, job, event, result, {"ended": now()})
    fold_or_warn(registry)


def _context(registry: Registry, job: Job, config: EffectiveConfig, stop: StopFlag) -> StageContext:
    upstream: dict[Stage, Upstream] = {}
    needed = job.inputs.get("upstream")
    if needed:
        stage, fingerprint = cast(Stage, needed["stage"]), needed["fingerprint"]
        entry = registry.find_completed(registry.read(), job.experiment, stage, fingerprint)
        if entry is None:
            raise MissingError(
                f"{job.experiment}: {job.stage} needs {stage} with fingerprint {fingerprint[:12]}, which has not "
                f"completed; run `meds1 run {job.experiment} --stage {stage}` first"
            )
        upstream[stage] = Upstream(stage, job.experiment, fingerprint, entry)
    earlier = Path(job.earlier) if job.earlier else None
    shared = registry.outputs.shared
    return StageContext(config, Path(job.run_dir), job.folder, shared, upstream, *ranks(), stop, earlier)


def _check_unchanged(registry: Registry, job: Job, config: EffectiveConfig) -> None:
    """A file that changed between submission and start would be recorded under a fingerprint that is not its own.

    The parent's result is found by the fingerprint that the job was frozen with, so what that was made from may change.
    """
    upstream = {key: value for key, value in job.inputs.items() if key == "upstream"}
    inputs = {**own_inputs(config, job.stage, Contents.from_environment()), **upstream}
    if sha256(inputs) != job.fingerprint:
        changes = "; ".join(changed_fields(job.inputs, inputs))
        raise UsageError(f"{job.experiment}: {job.stage} changed since it was submitted ({changes}); submit it again")


def _function(stage: Stage) -> StageFunction:
    return cast(StageFunction, _named(ENTRY_POINT[stage]))


def _named(entry_point: str) -> object:
    module, name = entry_point.split(":")
    return getattr(importlib.import_module(module), name)


def publish(registry: Registry, jobs: Sequence[Job]) -> None:
    """Fold, and point the paths that users look in at the results that count, which need not be these jobs'."""
    fold_or_warn(registry)
    try:
        results = registry.read().state.results
        for job in jobs:
            entry = results.get(job.experiment, {}).get(job.stage, {})
            if entry.get("status") == "completed":
                _switch_link(registry.outputs.link(job.experiment, job.stage), Path(entry["link"]))
    except (Meds1Error, OSError) as error:
        log.warning("the result is saved, but its link is left as it was: %s", error)


def _switch_link(link: Path, target: Path) -> None:
    """Point the path that users look in at the new outputs, in one step; a real folder there is left alone."""
    if link.exists() and not link.is_symlink():
        log.warning("%s is a folder of its own and is left as it is; the outputs are in %s", link, target)
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)
