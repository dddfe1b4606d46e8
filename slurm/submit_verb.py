"""`meds1 submit`: the due stages of experiments as batch jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import typer
from tqdm import tqdm  # type: ignore[import-untyped]

from registry.attempt import fold_or_warn
from registry.console import Answer, answering
from registry.errors import Meds1Error, MissingError, StageFailure, UsageError, listed
from registry.options import (
    All,
    Choice,
    ConfigFile,
    DryRun,
    Files,
    Force,
    Json,
    Names,
    PrintConfig,
    RegistryFile,
    Set,
    Stages,
    Tag,
    chosen,
    stages_of,
)
from registry.paths import CHECKOUT
from registry.plan import Plan, Wish, plan
from registry.reading import View
from registry.resolve import parse_overrides
from registry.runner import reuse
from registry.store import Registry
from slurm.adopt import settle
from slurm.asking import Queue, ask_queue
from slurm.chains import Chain, Cluster, Group, Submitted, chains_of, grouped
from slurm.memory import forecasts
from slurm.memory import show as show_memory
from slurm.memory import warn as warn_of_memory
from slurm.overview import flying_parents, overview
from slurm.replace import Replacement, replacement
from slurm.sbatch import Call, check, largest_array, script
from slurm.snapshot import code_root
from slurm.submit import (
    Presence,
    Submission,
    calls_of,
    check_cluster,
    default_cluster,
    submit_group,
    submit_here,
)
from slurm.verbs import preview
from slurm.waiting import wait_for

_EACH = 10  # so many jobs of one group are a line each, and so many groups go without a progress bar


def submit(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    everything: All = False,
    tag: Tag = None,
    stages: Stages = None,
    cluster: Annotated[
        Literal["slurm", "local"] | None, typer.Option(help="Default: slurm where sbatch exists, else local.")
    ] = None,
    max_parallel: Annotated[
        int | None, typer.Option(min=1, help="Jobs of each stage that may run at once; default: no limit, local: 1.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Jobs run the checkout's code as it is when they start, not as it is now.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when all of these jobs have ended.")] = False,
    settings: Set = None,
    force: Force = False,
    dry_run: DryRun = False,
    print_config: PrintConfig = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Submit the due stages of experiments as batch jobs; waits for none."""
    with answering("submit", as_json) as answer:
        opened, view, selected = chosen(answer, Files(registry, config), Choice(names or (), everything, tag))
        where = cluster or default_cluster()
        wish = Wish(stages_of(stages), parse_overrides(settings or []), force, may_wait=True)
        if dry_run or print_config:
            plans = preview(opened, view, selected, wish, answer, dry_run)
            _preview_jobs(answer, opened, plans, where, max_parallel)
            return
        check_cluster(where)
        view, queue = settle(opened, view, selected)
        answer.data = {"cluster": where, "jobs": []}
        replaces = replacement(view, queue, selected, wish) if force else Replacement()
        for name, error in (replaces.refused or {}).items():
            answer.fail(name, error)
        asked = _Asked(view, queue, wish, where, replaces, frozenset(names or ()))
        chains = _due(answer, opened, asked, [name for name in selected if name not in (replaces.refused or {})])
        warn_of_memory(forecasts([plan for chain in chains for plan in chain.plans], where == "slurm"), answer)
        code = code_root(live, opened.outputs.snapshots) if chains else CHECKOUT
        submission = Submission(opened, view, code, max_parallel)
        batches = _checked(answer, submission, chains, where)
        for name, error in replaces.carry_out(opened, {name for batch in batches for name in batch.names}).items():
            answer.fail(name, error)
            batches = [left for batch in batches if (left := batch.without(name)).names]
        done = _submit_batches(answer, submission, batches)
        if wait:
            _wait(answer, opened, done)


@dataclass(frozen=True)
class _Batch:
    """A group and its sbatch calls, of which there are none for this machine."""

    group: Group
    calls: tuple[Call, ...]

    @property
    def names(self) -> list[str]:
        return [chain.experiment for chain in self.group.chains]

    def without(self, name: str) -> _Batch:
        chains = tuple(chain for chain in self.group.chains if chain.experiment != name)
        return replace(self, group=replace(self.group, chains=chains))


def _checked(answer: Answer, submission: Submission, chains: list[Chain], cluster: Cluster) -> list[_Batch]:
    """What is submitted together: for Slurm chains that can share arrays, here all; says what sbatch would refuse."""
    if cluster == "local":
        return [_Batch(Group(tuple(chains)), ())] if chains else []
    batches: list[_Batch] = []
    largest = largest_array() if chains else 0
    for group in grouped(chains, largest):
        batch = _Batch(group, calls_of(group, submission.code, submission.parallel))
        try:
            for call in batch.calls:
                for one in call.whole:
                    check(one, largest)
        except Meds1Error as error:
            answer.fail(listed(batch.names), error)
        else:
            batches.append(batch)
    return batches


def _submit_batches(answer: Answer, submission: Submission, batches: Sequence[_Batch]) -> list[Submitted]:
    done: list[Submitted] = []
    # A group that waits for single jobs of an earlier submission is one experiment: there may be a thousand.
    for batch in tqdm(batches, desc="submitted", unit="group", file=sys.stderr, disable=len(batches) <= _EACH):
        group, calls = batch.group, batch.calls
        try:
            outcome = submit_group(submission, group, calls) if calls else submit_here(submission, group.chains)
        except Meds1Error as error:
            answer.fail(listed(batch.names), error)
            continue
        _say(answer, outcome.submitted)
        done += outcome.submitted
        for name, why in outcome.left.items():
            answer.fail(name, MissingError(f"{name}: {why}"))
    if batches:
        fold_or_warn(submission.registry)
    return done


def _wait(answer: Answer, opened: Registry, submitted: Sequence[Submitted]) -> None:
    failed = wait_for(opened, submitted)
    view = opened.read()
    queue = ask_queue(view, {one.job.experiment for one in failed})
    for one in failed:
        name, stage = one.job.experiment, one.job.stage
        standing = overview(opened, view, name, queue)[stage].status
        error = StageFailure(
            f"{name}: {stage}: job {one.id}: {standing.status}: {standing.reason}; see {one.job.folder}"
        )
        answer.fail(name, error)


@dataclass(frozen=True)
class _Asked:
    """What the plans of all experiments are made with."""

    view: View
    queue: Queue
    wish: Wish
    cluster: Cluster
    replaces: Replacement
    named: frozenset[str]


def _due(answer: Answer, opened: Registry, asked: _Asked, names: Sequence[str]) -> list[Chain]:
    """The chains that are to be submitted; says of every other stage why it is not."""
    chains: list[Chain] = []
    reused: list[Plan] = []
    presence, is_gone = Presence(), asked.replaces.is_gone(asked.queue)
    for name in names:
        try:
            plans = plan(opened, asked.view, name, asked.wish, is_gone)
            presence.check(plans)
            flying = flying_parents(asked.view, plans, is_gone)
            own = _on(asked.cluster, chains_of(plans, flying, asked.replaces.running(name)))
            busy = [f"{step.stage}: {step.reason}" for step in plans if step.action == "busy"]
            if busy and not own and name in asked.named:
                raise StageFailure(f"{'; '.join(busy)}, or replace it (`meds1 submit {name} --force`)")
            chains += own
        except Meds1Error as error:
            answer.fail(name, error)
            continue
        reused += [step for step in plans if step.action == "reuse"]
        answer.lines += [f"{name}: {step.stage}: {step.reason}" for step in plans if step.action != "run"]
    if reused:
        reuse(opened, reused)
    return chains


def _on(cluster: Cluster, chains: list[Chain]) -> list[Chain]:
    """The chains; `UsageError` for one that would have to wait for a job of the other kind."""
    for chain in chains:
        if chain.after is not None and chain.after.cluster != cluster:
            raise UsageError(
                f"{chain.experiment}: {chain.stages[0]} would have to wait for job {chain.after.id} "
                f"({chain.after.cluster}); submit it again when that has ended"
            )
    return chains


def _say(answer: Answer, submitted: Sequence[Submitted]) -> None:
    """Name every job, or of a long array its ends."""
    for one in submitted:
        job = one.job
        shards = {"shards_id": one.shards} if one.shards else {}
        answer.data["jobs"].append(
            {"experiment": job.experiment, "stage": job.stage, "attempt": job.attempt, "job_id": one.id, **shards}
        )
    by_stage: dict[str, list[Submitted]] = {}
    for one in submitted:
        by_stage.setdefault(one.job.stage, []).append(one)
    for stage, jobs in by_stage.items():
        if len(jobs) > _EACH:
            first, last = jobs[0], jobs[-1]
            ends = f"jobs {first.id} ({first.job.experiment}) to {last.id} ({last.job.experiment})"
            answer.lines.append(f"{len(jobs)} experiments: {stage}: {ends}")
            continue
        answer.lines += [
            f"{one.job.experiment}: {stage}: {_jobs(one)} (attempt {one.job.attempt}), logs in {one.job.folder}"
            for one in jobs
        ]


def _jobs(one: Submitted) -> str:
    after = f" after {one.job.shards} shards (job {one.shards})" if one.shards else ""
    return f"job {one.id}{after}"


def _preview_jobs(
    answer: Answer, opened: Registry, plans: Sequence[Plan], cluster: Cluster, parallel: int | None
) -> None:
    """Warn of what would be refused or needs too much memory, and show the script of every sbatch call."""
    largest = sys.maxsize
    try:
        check_cluster(cluster)
        Presence().check(plans)
        largest = largest_array() if cluster == "slurm" else largest
    except (MissingError, UsageError) as error:
        answer.warnings.append(f"would be refused: {error}")
    show_memory(forecasts(plans, cluster == "slurm"), answer)
    if default_cluster() != cluster or cluster == "local":
        return  # no Slurm here, or none wanted
    by_name: dict[str, list[Plan]] = {}
    for step in plans:
        by_name.setdefault(step.experiment, []).append(step)
    chains = [chain for steps in by_name.values() for chain in chains_of(steps, {}, {})]
    answer.data["sbatch"] = {}
    for group in grouped(chains, largest):
        for call in (one for stage in calls_of(group, CHECKOUT, parallel) for one in stage.whole):
            name = _title(group, call.stage) + (f" ({call.count} shards)" if call.are_shards else "")
            text = script(replace(call, token="TOKEN"), opened.outputs.submission("TOKEN"))
            answer.data["sbatch"][name] = text
            answer.lines.append(f"--- sbatch script of {name}\n{text}")


def _title(group: Group, stage: str) -> str:
    names = [chain.experiment for chain in group.chains]
    return f"{names[0]}.{stage}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
