"""What a submission consists of: chains of one experiment's due stages, and groups of chains that can share job arrays.

A stage waits for the stage before it in its chain, or for an attempt that an earlier submission left in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.job import Job
from registry.plan import Plan
from registry.schema import PARENT, Resources, Stage
from slurm.shards import shards_of

Cluster = Literal["slurm", "local"]


@dataclass(frozen=True)
class Parent:
    """An attempt in flight that a child has to wait for: its job's id, and its `job.json`."""

    id: str
    cluster: str
    file: Path


@dataclass(frozen=True)
class Chain:
    """Due stages of one experiment, each of which builds on the one before.

    The first one starts when the attempt `after` has succeeded, and when the jobs that it `replaces` have ended.
    """

    plans: tuple[Plan, ...]
    after: Parent | None = None
    replaces: tuple[str, ...] = ()

    @property
    def experiment(self) -> str:
        """Whose stages they are."""
        return self.plans[0].experiment

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, parents first."""
        return tuple(plan.stage for plan in self.plans)


@dataclass(frozen=True)
class Submitted:
    """A claimed stage and the id of its job, and that of the array of shards that this one waits for, if any."""

    job: Job
    id: str
    shards: str | None = None


@dataclass(frozen=True)
class Group:
    """Chains with the same stages and resources; `dependency`: what the first stages wait for, in words of sbatch."""

    chains: tuple[Chain, ...]
    dependency: str | None = None

    @property
    def follows_array(self) -> bool:
        """Whether element i waits for element i of an earlier array."""
        return self.dependency is not None and self.dependency.startswith("aftercorr:")


def chains_of(plans: Iterable[Plan], flying: Mapping[str, Parent], replaced: Mapping[Stage, str]) -> list[Chain]:
    """The chains of one experiment's due stages.

    `flying` are the attempts in flight by fingerprint; `replaced` are the jobs that were cancelled for a stage.
    """
    chains: list[Chain] = []
    for plan in plans:
        if plan.action != "run":
            continue
        replaces = (replaced[plan.stage],) if plan.stage in replaced else ()
        if chains and chains[-1].stages[-1] == PARENT[plan.stage]:
            last = chains.pop()
            chains.append(Chain((*last.plans, plan), last.after, last.replaces + replaces))
        else:
            upstream = (plan.inputs or {}).get("upstream") or {}
            chains.append(Chain((plan,), flying.get(upstream.get("fingerprint", "")), replaces))
    return chains


def resources_of(plan: Plan) -> Resources:
    """What the job of a stage asks of Slurm."""
    found: Resources = getattr(plan.config.slurm, plan.stage)
    return found


def grouped(chains: Iterable[Chain], largest: int) -> list[Group]:
    """Groups of at most `largest` chains each, in the order of their first chains.

    Only element i of an array can wait for element i of another: chains that wait for an earlier array in any other
    way, for shards of their own, or for jobs that they replace, are groups of their own.
    """
    alike: dict[tuple[str, ...], list[Chain]] = {}
    for chain in chains:
        asked = (f"{plan.stage} {resources_of(plan).model_dump_json()}" for plan in chain.plans)
        waits = chain.after.id.partition("_")[0] if chain.after else ""
        apart = chain.experiment if chain.replaces or shards_of(chain.plans[0]) > 1 else ""
        alike.setdefault((*asked, waits, apart), []).append(chain)
    return [group for same in alike.values() for group in _groups(same, largest)]


def _groups(chains: Sequence[Chain], largest: int) -> Iterator[Group]:
    if any(chain.after for chain in chains):
        yield from _after_an_array(chains)
        return
    for start in range(0, len(chains), largest):
        part = tuple(chains[start : start + largest])
        ids = [job for chain in part for job in chain.replaces]
        yield Group(part, f"afterany:{':'.join(ids)}" if ids else None)


def _after_an_array(chains: Sequence[Chain]) -> Iterator[Group]:
    elements = {int(chain.after.id.partition("_")[2] or -1): chain for chain in chains if chain.after}
    array = chains[0].after.id.partition("_")[0] if chains[0].after else ""
    if len(chains) > 1 and sorted(elements) == list(range(len(chains))):
        yield Group(tuple(elements[index] for index in range(len(chains))), f"aftercorr:{array}")
        return
    for chain in chains:
        assert chain.after is not None
        waits = [f"afterok:{chain.after.id}", *(f"afterany:{job}" for job in chain.replaces)]
        yield Group((chain,), ",".join(waits))
