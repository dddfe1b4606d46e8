"""Commands that run and watch stages: run, submit, fetch, status."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from registry.console import Answer, Grid, answering
from registry.errors import Meds1Error, MissingError, StageStopped
from registry.main import show_configs, show_plans
from registry.options import (
    NO_EXPERIMENTS,
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
    say,
    stages_of,
)
from registry.plan import Plan, Wish, plan
from registry.reading import View
from registry.resolve import parse_overrides
from registry.schema import STAGES
from registry.selection import select
from registry.store import Registry, experiments_of, open_registry
from slurm.fetch import fetch_all, needed, of_catalog
from slurm.here import run_plans
from slurm.overview import ask_queue, flying_parents, overview
from slurm.submit import Cluster, check_cluster, check_present, default_cluster, sbatch_script
from slurm.submit import submit as submit_plans


def run(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    everything: All = False,
    tag: Tag = None,
    stages: Stages = None,
    settings: Set = None,
    force: Force = False,
    dry_run: DryRun = False,
    print_config: PrintConfig = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Run the due stages of experiments here, one after the other."""
    with answering("run", as_json) as answer:
        opened, view, selected = chosen(answer, Files(registry, config), Choice(names or (), everything, tag))
        wish = Wish(stages_of(stages), parse_overrides(settings or []), force)
        if dry_run or print_config:
            _preview(opened, view, selected, wish, answer, dry_run)
            return
        answer.data = {"stages": []}
        for name in selected:
            try:
                for done in run_plans(opened, _plans(opened, opened.read(), name, wish)):
                    answer.data["stages"].append(done)
            except StageStopped as stopped:
                answer.fail(name, stopped)
                break  # whoever stopped this one wants no other to start
            except Meds1Error as error:
                answer.fail(name, error)


def submit(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    everything: All = False,
    tag: Tag = None,
    stages: Stages = None,
    cluster: Annotated[
        Literal["slurm", "local"] | None, typer.Option(help="Default: slurm where sbatch exists, else local.")
    ] = None,
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
            _preview_jobs(answer, _preview(opened, view, selected, wish, answer, dry_run), where)
            return
        check_cluster(where)
        queue = ask_queue(view, selected)
        answer.data = {"cluster": where, "jobs": []}
        for name in selected:
            try:
                # Read again: what has ended since the queue was asked has left its record by now.
                view = opened.read()
                plans = plan(opened, view, name, wish, queue.is_gone)
                check_present(plans)
                answer.lines += [f"{name}: {step.stage}: {step.reason}" for step in plans if step.action != "run"]
                for job in submit_plans(opened, plans, where, flying_parents(opened, view, plans, queue)):
                    answer.lines.append(
                        f"{name}: {job.stage}: job {job.id} (attempt {job.attempt}), logs in {job.logs}"
                    )
                    said = {"experiment": name, "stage": job.stage, "attempt": job.attempt, "job_id": job.id}
                    answer.data["jobs"].append(said)
            except Meds1Error as error:
                answer.fail(name, error)


def fetch(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    everything: All = False,
    tag: Tag = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched; fetch nothing.")] = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Bring models and data sets onto this machine; run it where there is network.

    A NAME may also be that of a model or data set in the catalog.
    """
    with answering("fetch", as_json) as answer:
        opened = open_registry(registry, config)
        view = opened.read()
        answer.warnings.extend(view.warnings)
        experiments = experiments_of(view)
        entries = {name: of_catalog(opened.catalog, name) for name in names or [] if name not in experiments}
        others = [name for name in names or [] if not entries.get(name)]
        items = [item for found in entries.values() for item in found]
        if others or not items:
            selected = select(experiments, others, everything, tag)
            items += needed([opened.effective(view, name) for name in selected])
        if dry_run:
            answer.data = {"needed": [item.label for item in items]}
            answer.lines = [f"would fetch {item.label}" for item in items]
            return
        answer.data = {"fetched": {}}
        for item, path in fetch_all(items):
            answer.data["fetched"][item.label] = str(path)
            answer.lines.append(f"{item.label}: {path}")


def status(
    names: Names = None,
    tag: Tag = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Show the state of every stage, and why."""
    with answering("status", as_json) as answer:
        opened, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        queue = ask_queue(view, selected)
        if queue.asked:
            view = opened.read()  # what has ended since then has left its record by now
        rows: list[list[str]] = []
        answer.data = {}
        for name in selected:
            try:
                found = overview(opened, view, name, queue)
            except Meds1Error as error:
                say(answer, name, error, names)
                continue
            answer.data[name] = {
                stage: {"status": s.status, "reason": s.reason, "attempt": s.attempt, "timestamp": s.timestamp}
                for stage, s in found.items()
            }
            remarks = "; ".join(f"{stage}: {s.reason}" for stage, s in found.items() if s.reason)
            rows.append([name, *(found[stage].status for stage in STAGES), remarks])
        if rows:
            answer.lines.append(Grid(["experiment", *STAGES, "remarks"], rows))
        elif not selected:
            answer.lines.append(NO_EXPERIMENTS)


def _plans(opened: Registry, view: View, name: str, wish: Wish) -> list[Plan]:
    queue = ask_queue(view, [name])
    return plan(opened, opened.read(), name, wish, queue.is_gone)


def _preview_jobs(answer: Answer, plans: list[Plan], cluster: Cluster) -> None:
    """Warn of what the submission would be refused for, and show the sbatch script of every due stage."""
    try:
        check_cluster(cluster)
        check_present(plans)
    except MissingError as error:
        answer.warnings.append(f"would be refused: {error}")
    due = [step for step in plans if step.action == "run"] if cluster == "slurm" else []
    scripts = {f"{step.experiment}.{step.stage}": sbatch_script(step) for step in due}
    answer.data["sbatch"] = scripts
    answer.lines += [f"--- sbatch script of {name}\n{text}" for name, text in scripts.items()]


def _preview(
    opened: Registry, view: View, names: list[str], wish: Wish, answer: Answer, with_plans: bool
) -> list[Plan]:
    """Show effective configs, which need neither parents nor files, and with `with_plans` what would be done."""
    configs, plans = [], []
    for name in names:
        try:
            configs.append(opened.effective(view, name, wish.overrides))
            plans += _plans(opened, view, name, wish) if with_plans else []
        except Meds1Error as error:
            answer.fail(name, error)
    show_configs(configs, answer)
    if with_plans:
        show_plans(plans, answer)
    return plans
