"""Commands that run stages here, and fetch what they need: run, fetch."""

from __future__ import annotations

from typing import Annotated

import typer

from registry.console import Answer, answering
from registry.errors import Meds1Error, StageStopped, UsageError
from registry.estimates import show_estimates
from registry.main import show_configs, show_plans
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
    Rescore,
    Set,
    Stages,
    Tag,
    chosen,
    stages_of,
)
from registry.plan import Plan, Wish, plan
from registry.reading import View
from registry.resolve import parse_overrides
from registry.schema import STAGES, Stage
from registry.selection import select
from registry.store import Registry, experiments_of, open_registry
from slurm.adopt import settle
from slurm.cancel import lines_of
from slurm.fetch import fetch_all, needed, of_catalog
from slurm.here import run_plans
from slurm.replace import Replacement, replacement


def run(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    everything: All = False,
    tag: Tag = None,
    stages: Stages = None,
    settings: Set = None,
    force: Force = False,
    rescore: Rescore = False,
    dry_run: DryRun = False,
    print_config: PrintConfig = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Run the due stages of experiments here, one after the other."""
    with answering("run", as_json) as answer:
        opened, view, selected = chosen(answer, Files(registry, config), Choice(names or (), everything, tag))
        if rescore and stages_of(stages) not in (STAGES, ("eval",)):
            raise UsageError("--rescore: only the eval makes predictions; use it with --stage eval")
        which: tuple[Stage, ...] = ("eval",) if rescore else stages_of(stages)
        wish = Wish(which, parse_overrides(settings or []), force, rescore=rescore)
        if dry_run or print_config:
            preview(opened, view, selected, wish, answer, dry_run)
            return
        answer.data = {"stages": []}
        for name in selected:
            try:
                for done in run_plans(opened, plans_of(opened, opened.read(), name, wish)):
                    answer.data["stages"].append(done)
            except StageStopped as stopped:
                answer.fail(name, stopped)
                break  # whoever stopped this one wants no other to start
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


def plans_of(opened: Registry, view: View, name: str, wish: Wish) -> list[Plan]:
    """What is to be done about each stage of one experiment, by the registry and the queue as they are now."""
    view, queue = settle(opened, view, [name])
    return plan(opened, view, name, wish, queue.is_gone)


def preview(opened: Registry, view: View, names: list[str], wish: Wish, answer: Answer, with_plans: bool) -> list[Plan]:
    """Show effective configs, which need neither parents nor files, and with `with_plans` what would be done.

    A wish that may wait is one for batch jobs: by force these replace what is in flight.
    """
    configs, plans = [], []
    if with_plans:
        view, queue = settle(opened, view, names)
        replaces = replacement(view, queue, names, wish) if wish.force and wish.may_wait else Replacement()
        answer.lines += [f"would cancel {line}" for line in lines_of(replaces.targets)]
        is_gone = replaces.is_gone(queue)
    for name in names:
        try:
            configs.append(opened.effective(view, name, wish.overrides))
            plans += plan(opened, view, name, wish, is_gone) if with_plans else []
        except Meds1Error as error:
            answer.fail(name, error)
    show_configs(configs, answer)
    if with_plans:
        show_plans(plans, answer)
        show_estimates(plans, opened.outputs.shared, answer)
    return plans
