"""What is in a registry and what it took: stages by state, GPU hours, and what model calls have cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from registry.console import Grid
from registry.original.case import number, part
from registry.schema import STAGES, Stage
from registry.spending import dollars
from registry.status import StageStatus, Word, ended_as

_CPU = "cpu ("  # how provenance names a machine without a GPU


@dataclass(frozen=True)
class Result:
    """The result of a stage that counts, with what tells of whom and when it is."""

    experiment: str
    stage: Stage
    entry: Mapping[str, Any]
    model: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Effort:
    """What some results took.

    `gpu_hours` are those that results tell; `without_hours` of the `results` tell none. `cost` is in US dollars, of
    the model calls whose cost is known; of `without_cost` results some is not. A result that was reused from another
    experiment took nothing and is not counted.
    """

    results: int = 0
    gpu_hours: float = 0.0
    without_hours: int = 0
    calls: int = 0
    cached: int = 0
    cost: float = 0.0
    without_cost: int = 0


def counts_of(states: Iterable[Mapping[Stage, StageStatus]]) -> dict[Stage, dict[str, int]]:
    """How many experiments have a stage in which state; states that none is in are left out."""
    found: dict[Stage, Counter[str]] = {stage: Counter() for stage in STAGES}
    for of_one in states:
        for stage, status in of_one.items():
            found[stage][status.status] += 1
    return {stage: {word: count[word] for word in get_args(Word) if count[word]} for stage, count in found.items()}


def efforts(results: Iterable[Result], keys: Callable[[Result], Iterable[str]]) -> dict[str, Effort]:
    """What the results took by key, sorted; one that has several keys is counted under each."""
    found: dict[str, Effort] = {}
    for result in results:
        if result.entry and not result.entry.get("reused_from"):
            own = _effort(result)
            for key in keys(result):
                found[key] = _sum(found.get(key, Effort()), own)
    return dict(sorted(found.items()))


def called(results: Iterable[Result]) -> dict[str, Effort]:
    """Calls and cost by the model that was called."""
    found: dict[str, Effort] = {}
    for result in results:
        models = part(part(result.entry, "spending"), "models")
        for model in models:
            found[model] = _sum(found.get(model, Effort()), Effort(results=1, **_spent(part(models, model))))
    return dict(sorted(found.items()))


def month_of(result: Result) -> list[str]:
    """The month that a result is of, such as `2026-11`."""
    stamp = result.entry.get("timestamp")
    return [stamp[:7] if isinstance(stamp, str) and len(stamp) > 7 else "unknown"]


def counts_table(counts: Mapping[Stage, Mapping[str, int]]) -> Grid:
    """Stages by state, for people."""
    words = [word for word in get_args(Word) if any(word in count for count in counts.values())]
    rows = [[stage, *(str(count.get(word, 0)) for word in words)] for stage, count in counts.items()]
    return Grid(["stage", *words], rows, right=range(1, len(words) + 1))


def efforts_table(title: str, found: Mapping[str, Effort]) -> Grid:
    """What was taken by key, for people."""
    rows = [
        [key, str(effort.results), _hours(effort), f"{effort.calls:,}", f"{effort.cached:,}", _cost(effort)]
        for key, effort in found.items()
    ]
    header = [title, "results", "GPU hours", "model calls", "from the cache", "cost"]
    return Grid(header, rows, right=range(1, len(header)))


def called_table(found: Mapping[str, Effort]) -> Grid:
    """Calls and cost by the model that was called, for people."""
    rows = [[key, f"{one.calls:,}", f"{one.cached:,}", _cost(one)] for key, one in found.items()]
    return Grid(["model called", "model calls", "from the cache", "cost"], rows, right=(1, 2, 3))


def _effort(result: Result) -> Effort:
    hours = _gpu_hours(result)
    spent = _spent(part(result.entry, "spending"))
    if result.entry.get("fingerprint") is None:  # another program's, which says nothing of the calls that it made
        spent["without_cost"] = 1
    completed = ended_as(result.entry) == "completed"
    return Effort(1, hours or 0.0, int(hours is None and completed), **spent)


def _gpu_hours(result: Result) -> float | None:
    """What a training says of its work, else what the result says of its attempts; 0 on a machine without GPUs."""
    for said in (part(result.entry, "metrics"), result.entry):
        hours = number(said.get("gpu_hours"))
        if hours is not None:
            return hours
    device = part(result.entry, "provenance").get("device")
    return 0.0 if isinstance(device, str) and device.startswith(_CPU) else None


def _spent(spending: Mapping[str, Any]) -> dict[str, Any]:
    calls, cached, cost = (number(spending.get(field)) for field in ("calls", "cached", "cost"))
    unknown = int(bool(calls) and cost is None)
    return {"calls": int(calls or 0), "cached": int(cached or 0), "cost": cost or 0.0, "without_cost": unknown}


def _sum(one: Effort, other: Effort) -> Effort:
    return Effort(**{field: value + getattr(other, field) for field, value in asdict(one).items()})


def _hours(effort: Effort) -> str:
    return _with_unknown(f"{effort.gpu_hours:,.2f}" if effort.gpu_hours else "", effort.without_hours) or "0.00"


def _cost(effort: Effort) -> str:
    return _with_unknown(dollars(effort.cost) if effort.cost else "", effort.without_cost) or dollars(0)


def _with_unknown(known: str, unknown: int) -> str:
    """What is known, and of how many results nothing is."""
    return " + ".join(filter(None, [known, f"{unknown} unknown" if unknown else ""]))
