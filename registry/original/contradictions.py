"""What is contradictory in a registry of the original med-s1, or in any other.

Nothing is decided here and nothing is changed: each finding says where it is, both values, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from registry.errors import UsageError
from registry.json_path import join
from registry.original.case import Contradiction, Result, is_here, results_of_document
from registry.original.numbers import wrong_counts, wrong_scores
from registry.original.paths import Owners, foreign_files, lost_files, shared_files
from registry.original.times import wrong_times
from registry.references import follow
from registry.schema import CONFIG_FIELD, PARENT, STAGES, Stage


def contradictions(document: Mapping[str, Any], here: bool, now: datetime | None = None) -> list[Contradiction]:
    """Everything in a registry document that cannot all be true, in its order.

    With `here` the files that it names and that this machine has are looked at too: summaries of evals, counts of
    curations, and folders that no experiment names. Without it no file is touched. `now` (with a zone) is for tests.
    """
    experiments = document.get("experiments") or {}
    results = results_of_document(document)
    owners = Owners.of(experiments)
    time = now or datetime.now(UTC)
    found: list[Contradiction] = []
    for name, stages in results.items():
        found += wrong_times(stages, time)
        found += _orphaned_stages(experiments, name, stages)
        for result in stages.values():
            found += foreign_files(result, results, owners)
            found += _wrong_numbers(experiments, result, here)
    found += shared_files(experiments, results, owners)
    return found + list(lost_files(results, owners) if here else ())


def absent_paths(document: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The paths of results that this machine does not have, by experiment and `stage.field`."""
    absent = {
        name: {
            f"{stage}.{field}": path
            for stage, result in stages.items()
            for field, path in result.paths.items()
            if not is_here(path)
        }
        for name, stages in results_of_document(document).items()
    }
    return {name: paths for name, paths in absent.items() if paths}


def _wrong_numbers(experiments: Mapping[str, Any], result: Result, here: bool) -> Iterator[Contradiction]:
    if result.stage == "curation":
        curation = _followed(experiments, result.experiment, "curation")
        wanted = curation.get("n_samples") if isinstance(curation, Mapping) else None
        yield from wrong_counts(result, wanted, here)
    elif result.stage == "eval":
        yield from wrong_scores(result, here)


def _orphaned_stages(
    experiments: Mapping[str, Any], name: str, stages: Mapping[Stage, Result]
) -> Iterator[Contradiction]:
    """Results whose experiment has a parent stage that has no result: what were they made from?"""
    for stage in STAGES:
        parent = PARENT[stage]
        if stage not in stages or parent is None or parent in stages:
            continue
        config = _followed(experiments, name, CONFIG_FIELD[parent])
        if config is not None:
            yield Contradiction(
                experiment=name,
                path=stages[stage].where,
                value=stages[stage].entry.get("timestamp"),
                other=join("experiments", name, "results", parent),
                other_value=None,
                message=f"is a result, but the {parent} that the config names has none",
                remedy=f"run `meds1 run {name}`, or set the config's {CONFIG_FIELD[parent]} to null if there was none",
            )


def _followed(experiments: Mapping[str, Any], name: str, field: str) -> Any:
    """The config's field with references followed; null where a reference is broken, which the resolver reports."""
    try:
        return follow(experiments, name, field)[0]
    except UsageError:
        return None
