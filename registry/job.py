"""A claimed attempt: frozen in the intent record and in `job.json`, which is all that a batch job needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.durable import make_folder, write_durably, write_shared
from registry.errors import MissingError, StageFailure, UsageError
from registry.history import Entry, entry_of
from registry.paths import CHECKOUT, RegistryPaths, attempt_dir, job_file, records_in, shard_dir
from registry.plan import Plan
from registry.provenance import now, restart_count
from registry.reading import load_record
from registry.records import TERMINAL, Event, Record, claim_attempt
from registry.schema import Stage
from registry.store import Registry


@dataclass(frozen=True)
class Job:
    """A claimed attempt, frozen. Its `job.json` is all that a batch job needs.

    `code` is the folder of the code that runs it: a snapshot, or a checkout as it will be then. `earlier` are
    predictions that an eval scores again, or "". `shard` is not in the file: it says which of the attempt's shards a
    process is, from 0.
    """

    experiment: str
    stage: Stage
    attempt: int
    fingerprint: str
    inputs: Mapping[str, Any]
    overrides: Mapping[str, Any]
    config: Mapping[str, Any]
    run_dir: str
    registry: str
    catalog: str
    code: str = ""
    earlier: str = ""
    shard: int | None = None

    @property
    def folder(self) -> Path:
        """This attempt's own folder, or its shard's."""
        own = attempt_dir(Path(self.run_dir), self.attempt)
        return own if self.shard is None else shard_dir(own, self.shard)

    @property
    def shards(self) -> int:
        """How many shards come before it where it is submitted to Slurm; 1: none."""
        return int((self.config.get("curation") or {}).get("shards", 1)) if self.stage == "curation" else 1

    @property
    def file(self) -> Path:
        """Where the job lies as JSON."""
        return job_file(Path(self.run_dir), self.attempt)

    def open(self) -> Registry:
        """The registry that the job reports to."""
        return Registry(RegistryPaths(Path(self.registry)), Path(self.catalog))

    def record(self, event: Event, result: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> Record:
        """A record of this attempt."""
        overrides = {"overrides": dict(self.overrides)} if self.overrides else {}
        return Record(
            experiment=self.experiment,
            stage=self.stage,
            event=event,
            attempt=self.attempt,
            restart=restart_count() if event not in ("intent", "submitted") else 0,
            fingerprint=self.fingerprint,
            inputs=self.inputs,
            result={"timestamp": now(), **result, **overrides},
            provenance=provenance or {},
        )

    def save(
        self, registry: Registry, event: Event, result: Mapping[str, Any], provenance: Mapping[str, Any] | None = None
    ) -> None:
        """Save a record of this attempt, in its own folder where the registry's cannot be written (`StageFailure`)."""
        fallback = records_in(attempt_dir(Path(self.run_dir), self.attempt))
        registry.save(self.record(event, result, provenance), fallback)


def load_job(path: Path) -> Job:
    """Read a `job.json` back."""
    try:
        return Job(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise MissingError(f"{path}: no such job file; submit the stage again") from None
    except OSError as error:
        raise StageFailure(f"{path}: cannot be read: {error.strerror}; ask its owner") from None
    except (ValueError, TypeError):
        raise UsageError(f"{path}: not a job file; submit the stage again") from None


def claim(registry: Registry, plan: Plan) -> Job:
    """Take an attempt number for a planned stage and save its intent."""
    job = _claim(registry, plan, CHECKOUT, lasting=True)
    # Without a fallback: nothing has been done yet, and a fold finds an attempt's folder through its intent.
    registry.save(_intent(job))
    return job


def claim_all(
    registry: Registry, plans: Sequence[Plan], code: Path, identity: Mapping[str, Any] | None = None
) -> list[Job]:
    """Take attempt numbers for many planned stages and save their intents, in which `identity` says who submits them.

    Only the records have to last: without its intent, an attempt has never been.
    """
    jobs = [_claim(registry, plan, code, lasting=False) for plan in plans]
    registry.save_all([_intent(job, identity) for job in jobs])
    return jobs


def save_end(
    registry: Registry, job: Job, event: Event, result: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Save how an attempt ended that did not complete. Of its shards the first that fails speaks for all.

    A shard that is cancelled says nothing: whoever cancels the attempt says so himself.
    """
    if job.shard is not None:
        if event == "cancelled" or last_word(registry, job) is not None or not _is_first_to_fail(job):
            return
        result = {**result, "error": f"shard {job.shard}: {result['error']}"}
    job.save(registry, event, result, provenance)


def _is_first_to_fail(job: Job) -> bool:
    try:
        (job.folder.parent / "failed").mkdir()
    except FileExistsError:
        return False
    except OSError:  # a full disk, say: better said twice than not at all
        return True
    return True


def record_ends(registry: Registry, jobs: Sequence[Job], event: Event, why: str | Mapping[str, str]) -> None:
    """Record how attempts ended that leave no word of their own, and why: for all of them, or by experiment."""
    reasons = {job.experiment: why if isinstance(why, str) else why[job.experiment] for job in jobs}
    registry.save_all([job.record(event, {"error": reasons[job.experiment], "log": str(job.folder)}) for job in jobs])


def _intent(job: Job, identity: Mapping[str, Any] | None = None) -> Record:
    """The record that an attempt has been claimed."""
    who = {"job": dict(identity)} if identity else {}
    return job.record("intent", {"config": job.config, "run_dir": job.run_dir, **who})


def _claim(registry: Registry, plan: Plan, code: Path, lasting: bool) -> Job:
    assert plan.run_dir is not None
    assert plan.inputs is not None
    with _writing_in(plan.run_dir, plan.experiment):  # before a number is taken
        make_folder(plan.run_dir, lasting)
    number = claim_attempt(registry.paths.attempts(plan.experiment, plan.stage), plan.last_attempt, lasting)
    job = Job(
        experiment=plan.experiment,
        stage=plan.stage,
        attempt=number,
        fingerprint=plan.fingerprint,
        inputs=plan.inputs,
        overrides=plan.overrides or {},
        config=plan.config.model_dump(mode="json", by_alias=True),
        run_dir=str(plan.run_dir),
        registry=str(registry.paths.file),
        catalog=str(registry.catalog_path),
        code=str(code),
        earlier=plan.earlier,
    )
    written = {field: value for field, value in vars(job).items() if field != "shard"}
    content = (json.dumps(written, indent=2, ensure_ascii=False) + "\n").encode()
    with _writing_in(job.folder, job.experiment):
        make_folder(job.folder, lasting)
        if lasting:
            write_durably(job.file, content)
        else:
            write_shared(job.file, content)
    return job


@contextmanager
def _writing_in(folder: Path, experiment: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StageFailure(f"{experiment}: {folder}: {error.strerror}; check CACHE_DIR and its permissions") from None


def has_completed(job: Job) -> bool:
    """Whether this attempt has completed, whatever came after."""
    headers = job.open().read().state.headers(job.experiment, job.stage)
    return any(header.attempt == job.attempt and header.event == "completed" for header in headers)


def last_word(registry: Registry, job: Job) -> Entry | None:
    """What the attempt recorded when it ended, if it has."""
    for header in reversed(registry.read().state.headers(job.experiment, job.stage)):
        if header.attempt == job.attempt and header.event in TERMINAL:
            return entry_of(load_record(registry.paths, job.experiment, job.stage, header))
    return None
