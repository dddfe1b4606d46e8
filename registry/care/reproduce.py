"""A new experiment with the config that a result was made with, and what is different here and now.

The config is the frozen one of the intent record, not what the registry says today. It is written out in full, so that
neither defaults nor references can change it; catalog entries are taken as they are now, and compared.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.canonical import sha256
from registry.catalog import Catalog
from registry.checking import validate
from registry.effective import EffectiveConfig
from registry.errors import Meds1Error, MissingError, UsageError
from registry.fingerprint import Fingerprints, Inputs, changed_fields, parent_of, pinned
from registry.history import Entry
from registry.layers import default_resources
from registry.names import check_name
from registry.paths import is_here
from registry.provenance import gather
from registry.reading import View, load_record
from registry.resolve import effective
from registry.schema import STAGES, Resources, Stage
from registry.status import ended_as
from registry.store import Registry, experiments_of, results_of

_ENTRIES = ("model", "train_dataset", "difficulty_model", "judge_model", "few_shot_dataset", "eval_datasets")
_CATALOG = (*_ENTRIES, "reference_gpus")


@dataclass(frozen=True)
class Reproduction:
    """What would be written as experiment `name`, and what differs from when `source` was made.

    `differences` are lines by kind: `code`, `environment`, `catalog`, and `config` (how the source's own has changed).
    `stages` has, for each stage up to the reproduced one, what its fingerprint would find changed: nothing means that
    the recorded result would be reused.
    """

    source: str
    stage: Stage
    attempt: int
    name: str
    body: Mapping[str, Any]
    differences: Mapping[str, tuple[str, ...]]
    stages: Mapping[Stage, tuple[str, ...]]


def reproduction(
    registry: Registry, view: View, source: str, stage: Stage | None = None, name: str | None = None
) -> Reproduction:
    """Work out the reproduction of a completed stage, the last one unless `stage` says otherwise; writes nothing.

    `MissingError` when there is no such result with a recorded config, `UsageError` when `name` is taken or the catalog
    lacks an entry that the config needs.
    """
    chosen = stage or _last_completed(view, source)
    entry = _completed(view, source, chosen)
    recorded = _recorded_config(registry, view, source, chosen, entry)
    _check_catalog(source, recorded, registry.catalog)
    new = _free_name(view, source, name)
    description = f"{source} as it was at attempt {entry['attempt']} of {chosen}, to be reproduced"
    body = {"description": description, "config": as_written(recorded, registry.catalog)}
    document = {"experiments": {**experiments_of(view), new: body}}
    config = effective(document, registry.catalog, registry.catalog_path.parent, new)
    fingerprints = Fingerprints(config, view.contents)
    then, now = entry.get("provenance") or {}, _here_and_now()
    differences = {
        "code": tuple(_code(then.get("git") or {}, now["git"])),
        "environment": tuple(_environment(then, now)),
        "catalog": tuple(_catalog(fingerprints, recorded, chosen)),
        "config": tuple(_config_since(registry, view, source, recorded)),
    }
    stages = _stages(registry, view, source, entry, fingerprints)
    return Reproduction(source, chosen, entry["attempt"], new, body, differences, stages)


def as_written(config: EffectiveConfig, catalog: Catalog) -> dict[str, Any]:
    """An experiment's config whose effective config is `config`, as far as the catalog's entries are what they were."""
    dumped = config.model_dump(mode="json", by_alias=True)
    keys = list(config.eval_datasets)
    datasets = {"curate": config.train_dataset_key, "eval": keys[0] if len(keys) == 1 else keys or None}
    body: dict[str, Any] = {"model_key": config.model_key, "datasets": {k: v for k, v in datasets.items() if v}}
    if config.curation is not None:
        body["curation"] = dumped["curation"]
    if config.training is not None:
        body["training_params"] = dumped["training"]
        if catalog.defaults.reference_gpus != config.reference_gpus:
            body["training_params"]["total_batch_size"] = config.training.global_batch(config.reference_gpus)
    body |= {"prompting": config.prompting, "eval": dumped["eval"]}
    defaults = default_resources(catalog, config.curation is None or config.curation.calls_model)
    slurm = {stage: _own_resources(dumped["slurm"][stage], defaults[stage]) for stage in STAGES}
    return {**body, "slurm": {stage: own for stage, own in slurm.items() if own}}


def _own_resources(recorded: Mapping[str, Any], of_catalog: Mapping[str, Any]) -> dict[str, Any]:
    """Resources decide no outcome: only what differs from the catalog is written."""
    given = Resources.model_validate(of_catalog).model_dump(mode="json")
    return {key: value for key, value in recorded.items() if value != given[key]}


def _last_completed(view: View, source: str) -> Stage:
    results = results_of(view, source)
    done = [stage for stage in STAGES if ended_as(results.get(stage)) == "completed"]
    if not done:
        raise MissingError(f"{source}: has no completed stage to reproduce; see `meds1 status {source}`")
    recorded = [stage for stage in done if "record" in results[stage]]
    return (recorded or done)[-1]


def _completed(view: View, source: str, stage: Stage) -> Entry:
    entry: Entry = results_of(view, source).get(stage) or {}
    if ended_as(entry) != "completed":
        raise MissingError(f"{source}: {stage} has not completed, so there is nothing to reproduce")
    if "record" not in entry:
        raise MissingError(
            f"{source}: {stage} was recorded by another program, without its config; "
            f"`meds1 new NAME --from {source}` takes the config as it is written now"
        )
    return entry


def _recorded_config(registry: Registry, view: View, source: str, stage: Stage, entry: Entry) -> EffectiveConfig:
    for header in view.state.headers(source, stage):
        if header.event == "intent" and header.attempt == entry["attempt"]:
            found = load_record(registry.paths, source, stage, header).result["config"]
            return validate(EffectiveConfig, found, f"{source}: recorded config of {stage}, attempt {header.attempt}")
    raise MissingError(
        f"{source}: the intent record of {stage}, attempt {entry['attempt']}, is not in {registry.paths.applied}; "
        "restore it from a backup"
    )


def _check_catalog(source: str, config: EffectiveConfig, catalog: Catalog) -> None:
    for used in config.used():
        if used.key not in getattr(catalog, used.section):
            was = json.dumps(used.entry.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
            raise UsageError(f"{source}: the catalog's {used.section} has no {used.key!r} any more; put it back: {was}")


def _free_name(view: View, source: str, name: str | None) -> str:
    known = experiments_of(view)
    if name is not None:
        if name in known:
            raise UsageError(f"{name}: there is such an experiment already; choose another name")
        return check_name(name)
    name, number = f"{source}-reproduced", 1
    while name in known:
        number += 1
        name = f"{source}-reproduced-{number}"
    return check_name(name)


def _here_and_now() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:  # the patch is compared, not kept
        return gather(Path(folder))


def _code(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if not then.get("commit"):
        yield f"commit: not recorded ({then.get('unknown', 'no reason')})"
        return
    if then["commit"] != now.get("commit"):
        here = now.get("commit") or now.get("unknown", "none")
        yield f"commit {then['commit'][:12]} ({then.get('branch')}) -> {here[:12]}: `git checkout {then['commit']}`"
    if then.get("diff_sha256") == now.get("diff_sha256") and bool(then.get("dirty")) == bool(now.get("dirty")):
        return
    if then.get("dirty"):
        yield _patch(then)
    if now.get("dirty"):
        yield "this checkout has uncommitted changes that were not there then: `git stash`"


def _patch(then: Mapping[str, Any]) -> str:
    diff, left_out = then.get("diff"), then.get("left_out")
    without = f" (without {', '.join(left_out)})" if left_out else ""
    if not diff:
        return (
            f"had uncommitted changes, which were not saved ({then.get('diff_lost', 'recorded by an older version')})"
        )
    if not is_here(diff):
        return f"had uncommitted changes, whose patch {diff} is gone{without}"
    return f"had uncommitted changes: `git apply {diff}`{without}"


def _environment(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in ("python", "device"):
        if then.get(key) != now[key]:
            yield f"{key} {then.get(key)} -> {now[key]}"
    before, here = then.get("packages") or {}, now["packages"]
    for package in sorted({*before, *here}):
        if before.get(package) != here.get(package):
            yield f"{package} {before.get(package, 'none')} -> {here.get(package, 'none')}"


def _catalog(fingerprints: Fingerprints, recorded: EffectiveConfig, stage: Stage) -> Iterator[str]:
    """Both as a job of this stage would load them, hub entries with their commits."""
    try:
        now = pinned(fingerprints.config, fingerprints.inputs(stage))
    except MissingError as error:
        yield f"cannot be compared here: {error}"
        now = fingerprints.config
    before, after = (one.model_dump(mode="json", by_alias=True, include=set(_CATALOG)) for one in (recorded, now))
    yield from changed_fields(before, after)


def _config_since(registry: Registry, view: View, source: str, recorded: EffectiveConfig) -> Iterator[str]:
    """What people have changed in the source's own config since; catalog entries are compared apart."""
    try:
        now = registry.effective(view, source)
    except Meds1Error as error:
        yield str(error)
        return
    apart = {*_CATALOG, "slurm"}
    before, after = (one.model_dump(mode="json", by_alias=True, exclude=apart) for one in (recorded, now))
    before_keys, after_keys = sorted(recorded.eval_datasets), sorted(now.eval_datasets)
    yield from changed_fields({**before, "eval_keys": before_keys}, {**after, "eval_keys": after_keys})


def _stages(
    registry: Registry, view: View, source: str, entry: Entry, fingerprints: Fingerprints
) -> dict[Stage, tuple[str, ...]]:
    """The reproduced stage and the parents that it was made from, parents first."""
    found: dict[Stage, tuple[str, ...]] = {}
    inputs: Inputs | None = entry["inputs"]
    stage: Stage | None = entry["inputs"]["stage"]
    while stage is not None:
        found[stage] = _changes(fingerprints, stage, inputs)
        stage = parent_of(fingerprints.config, stage)
        upstream = (inputs or {}).get("upstream")
        made = registry.find_completed(view, source, stage, upstream["fingerprint"]) if stage and upstream else None
        inputs = made["inputs"] if made else None
    return dict(reversed(found.items()))


def _changes(fingerprints: Fingerprints, stage: Stage, before: Inputs | None) -> tuple[str, ...]:
    if before is None:
        return ("its record is not in this registry",)
    try:
        now = fingerprints.inputs(stage)
    except MissingError as error:
        return (f"cannot be compared here: {error}",)
    return () if sha256(now) == sha256(before) else tuple(changed_fields(before, now))
