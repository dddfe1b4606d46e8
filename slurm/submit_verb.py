"""`meds1 submit`: the due stages of experiments as batch jobs."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from registry.console import Answer, answering
from registry.errors import Meds1Error, MissingError
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
from registry.plan import Plan, Wish, plan
from registry.resolve import parse_overrides
from slurm.asking import ask_queue
from slurm.overview import flying_parents
from slurm.sbatch import sbatch_script
from slurm.submit import Cluster, check_cluster, check_present, default_cluster
from slurm.submit import submit as submit_plans
from slurm.verbs import preview


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
            _preview_jobs(answer, preview(opened, view, selected, wish, answer, dry_run), where)
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
