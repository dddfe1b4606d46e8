"""Experiments that differ in nothing but some fields of their config: the lines of the figures that vary one thing.

What counts is the effective config's fields that decide an outcome: no name, path, price, resource or display. The
benchmarks do not count either, because every figure holds experiments against each other on one benchmark at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plotting.runs import Run
from registry.curation_schema import Curation
from registry.effective import EffectiveConfig
from registry.fingerprint import outcome
from registry.json_path import ABSENT, Steps, join

Settings = Mapping[str, Any]
"""Every value of a config that decides an outcome, by path; null stands at the path of what is not there."""

# Whose values need no name beside them. What families are told apart by, where several fields would do, comes first.
_PLAIN = ("model_key", "datasets.curate", "curation.method", "training.method", "curation.format")
_PREFERRED = (*_PLAIN, "curation.n_samples", "curation.extract", "curation.perturbation.type", "curation.seed")
_OPTIONAL = ("labels", "extract", "perturbation", "restore")
_KEYS = ("embedding_model", "queries")


@dataclass(frozen=True)
class Member:
    """An experiment of a family, with its values of the fields that vary, by path."""

    run: Run
    values: Settings


@dataclass(frozen=True)
class Family:
    """Experiments with the same `settings`, in the registry's order."""

    settings: Settings
    members: tuple[Member, ...]


def settings_of(config: EffectiveConfig) -> dict[str, Any]:
    """What decides the outcome of an experiment, by path."""
    evaluated = outcome(config.eval)
    evaluated.pop("judge", None)  # it grades beside the accuracy
    if config.eval.temperature == 0:
        evaluated["top_p"] = 1.0  # it never leaves out the likeliest token
    if config.eval.few_shot is not None:
        evaluated["few_shot"]["dataset"] = config.eval.few_shot.dataset
    body: dict[str, Any] = {"model_key": config.model_key, "prompting": config.prompting, "eval": evaluated}
    body["curation"] = body["training"] = None
    if config.curation is not None:
        body["datasets"] = {"curate": config.train_dataset_key}
        body["curation"] = _curation(config.curation)
    if config.training is not None:
        body["training"] = {**outcome(config.training), "batch": config.training.global_batch(config.reference_gpus)}
    return dict(_leaves((), body))


def families(
    runs: Iterable[Run],
    varying: Sequence[str],
    settings: Callable[[EffectiveConfig], Settings] = settings_of,
) -> list[Family]:
    """Group the experiments that have a training and a config that can be read; `varying` are paths, or starts of them.

    One that lacks fields of others and differs from them in nothing else (all rows know no number of clusters, and
    reasoning that is not rewritten no rewriter) is a member of each of their families.
    """
    found: dict[frozenset[str], list[Member]] = {}
    common: dict[frozenset[str], Settings] = {}
    for run in runs:
        if run.config is None or run.config.training is None:
            continue
        values = settings(run.config)
        varied = {path: value for path, value in values.items() if _varies(path, varying)}
        rest = {path: value for path, value in values.items() if path not in varied}
        key = frozenset(f"{path}={json.dumps(value)}" for path, value in rest.items())
        found.setdefault(key, []).append(Member(run, varied))
        common[key] = rest
    order = {member.run.experiment: number for number, member in enumerate(_all(found.values()))}
    larger = {key: [other for other in found if key < other] for key in found}
    grown = {key: list(members) for key, members in found.items() if not larger[key]}
    for key, others in larger.items():
        for other in others:
            if other in grown:
                grown[other] += found[key]
    return [
        Family(common[key], tuple(sorted(members, key=lambda member: order[member.run.experiment])))
        for key, members in grown.items()
    ]


def labels(found: Sequence[Family]) -> list[str]:
    """What to call each of these families: its display group, where that tells all of them apart, else what does."""
    groups = [{member.run.group for member in family.members} for family in found]
    named = [next(iter(group)) if len(group) == 1 else None for group in groups]
    if all(named) and len(set(named)) == len(named):
        return [str(name) for name in named]
    paths = _telling(found)
    return [", ".join(filter(None, (_words(family.settings, path) for path in paths))) for family in found]


def base_of(family: Family, runs: Iterable[Run]) -> Run | None:
    """The first experiment that asks the family's base model, untrained, the same way, and has scores.

    One whose scores are stale or limited is taken where there is no other.
    """
    second = None
    for run in runs:
        if run.config is None or run.row is None or run.config.training is not None or run.config.curation is not None:
            continue
        asked = settings_of(run.config)
        if all(
            family.settings.get(path, ABSENT) == value
            for path, value in asked.items()
            if path in ("model_key", "prompting") or path.startswith("eval.")
        ):
            if run.row.comparable:
                return run
            second = second or run
    return second


def shown(value: Any) -> str:
    """A value of a config in words: `step + cot` for a list."""
    if isinstance(value, list | tuple):
        return " + ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _curation(config: Curation) -> dict[str, Any]:
    body = {**dict.fromkeys(_OPTIONAL), **outcome(config)}
    if "rewriter" not in config.calls:
        body.pop("rewriter", None)  # a catalog's default that nothing asks
    for role, call in config.calls.items():
        body[f"{role}_model"] = call.model_key
    if config.difficulty is not None:
        body["difficulty_model"] = config.difficulty.model_key
    return body | {key: getattr(config, key) for key in _KEYS if hasattr(config, key)}


def _leaves(steps: Steps, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves((*steps, key), below)
    else:
        yield join(*steps), value


def _varies(path: str, varying: Sequence[str]) -> bool:
    return any(path == start or path.startswith(f"{start}.") for start in varying)


def _all(groups: Iterable[Sequence[Member]]) -> list[Member]:
    return [member for group in groups for member in group]


def _telling(found: Sequence[Family]) -> list[str]:
    """The fewest paths, found greedily, that tell all families apart; the method of selection where there is one."""
    if len(found) == 1:
        return ["curation.method"]
    paths = list(dict.fromkeys(path for family in found for path in family.settings))
    paths.sort(key=lambda path: _PREFERRED.index(path) if path in _PREFERRED else len(_PREFERRED))
    taken: list[str] = []
    told = [""] * len(found)
    while len(set(told)) < len(found):
        after = {
            path: [f"{before}, {_words(f.settings, path)}" for before, f in zip(told, found, strict=True)]
            for path in paths
        }
        best = max(paths, key=lambda path: len(set(after[path])))  # the first of equals
        if len(set(after[best])) == len(set(told)):
            break
        taken.append(best)
        told = after[best]
    return sorted(taken, key=paths.index)


def _words(settings: Settings, path: str) -> str:
    """A field and its value, such as `seed 42`, `no quality` or `qwen2.5:7b`; empty where there is no such field."""
    name = path.rsplit(".", 1)[-1].replace("_", " ")
    value = settings.get(path, ABSENT)
    if value is ABSENT:
        if any(other.startswith(f"{path}.") for other in settings):
            return name
        above = next((start for start in _above(path) if settings.get(start, ABSENT) is None), None)
        return "" if above is None else _words(settings, above)
    if value is None or value is False:
        return f"no {name}"
    if value is True:
        return name
    return shown(value) if path in _PLAIN else f"{name} {shown(value)}"


def _above(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]
