"""The one command. Nothing heavy is imported until a verb needs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from registry.console import Answer, answering
from registry.errors import Meds1Error, StageFailure, UsageError
from registry.fold import View
from registry.main import ConfigFile, DryRun, Force, Json, PrintConfig, RegistryFile, Set, show_plans
from registry.plan import Plan, Wish, plan
from registry.resolve import parse_overrides
from registry.schema import STAGES, Stage
from registry.selection import select
from registry.store import Registry, experiments_of, open_registry, results_of

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Experiments of medical reasoning models: curate, train, evaluate, compare.",
)

Names = Annotated[list[str] | None, typer.Argument(help="Experiments, by name or glob.")]
Name = Annotated[str, typer.Argument(help="Name of the experiment.")]
All = Annotated[bool, typer.Option("--all", help="All experiments of the registry.")]
Tag = Annotated[str | None, typer.Option("--tag", help="Only experiments with this tag.")]
Stages = Annotated[list[str] | None, typer.Option("--stage", help="Only this stage; repeatable.")]


@app.command()
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
        from slurm.here import run_plans

        opened, _, chosen = _chosen(answer, registry, config, names, everything, tag)
        wish = Wish(_stages(stages), parse_overrides(settings or []), force)
        failed: list[Meds1Error] = []
        done: list[dict[str, Any]] = []
        for name in chosen:
            plans = _plans(opened, opened.read(), name, wish)
            if dry_run or print_config:
                show_plans(plans, answer, print_config)
                continue
            try:
                done += run_plans(opened, plans)
            except Meds1Error as error:
                failed.append(error)
                answer.lines.append(str(error))
        if not (dry_run or print_config):
            answer.data = {"stages": done, "failed": [str(error) for error in failed]}
        answer.exit_code = failed[0].exit_code if failed else 0


@app.command()
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
    """Submit the due stages of experiments as batch jobs, chained by dependencies; waits for none."""
    with answering("submit", as_json) as answer:
        from slurm.overview import ask_queue, flying_jobs
        from slurm.submit import check_cluster, check_present, default_cluster, sbatch_script
        from slurm.submit import submit as submit_plans

        opened, view, chosen = _chosen(answer, registry, config, names, everything, tag)
        where = cluster or default_cluster()
        wish = Wish(_stages(stages), parse_overrides(settings or []), force)
        queue = ask_queue(view, chosen)
        planned: dict[str, list[Plan]] = {}
        refused: list[Meds1Error] = []
        for name in chosen:
            try:
                planned[name] = plan(opened, view, name, wish, queue.is_gone)
            except Meds1Error as error:
                refused.append(error)
        every = [step for steps in planned.values() for step in steps]
        answer.lines += [str(error) for error in refused]
        answer.exit_code = refused[0].exit_code if refused else 0
        if dry_run or print_config:
            show_plans(every, answer, print_config)
            scripts = {f"{step.experiment}.{step.stage}": sbatch_script(step) for step in every if step.action == "run"}
            answer.data["sbatch"] = scripts
            answer.lines += [f"--- {name}\n{text}" for name, text in scripts.items()]
            return
        check_cluster(where)
        check_present(every)
        submitted = []
        for name, steps in planned.items():
            submitted += submit_plans(opened, steps, where, flying_jobs(view, name, queue))
            answer.lines += [f"{name}: {step.stage}: {step.reason}" for step in steps if step.action != "run"]
        answer.lines += [
            f"{s.experiment}: {s.stage}: job {s.job_id} (attempt {s.attempt}), logs in {s.logs}" for s in submitted
        ]
        answer.data = {
            "cluster": where,
            "jobs": [
                {"experiment": s.experiment, "stage": s.stage, "attempt": s.attempt, "job_id": s.job_id}
                for s in submitted
            ],
        }


@app.command()
def fetch(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    everything: All = False,
    tag: Tag = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Bring the models and data sets of experiments onto this machine (run it where there is network)."""
    with answering("fetch", as_json) as answer:
        from slurm.fetch import fetch_all, needed

        opened, view, chosen = _chosen(answer, registry, config, names, everything, tag)
        items = needed([opened.effective(view, name) for name in chosen])
        if dry_run:
            answer.data = {"needed": [item.label for item in items]}
            answer.lines = [f"would fetch {item.label}" for item in items]
            return
        answer.data = {"fetched": {}}
        for item, path in fetch_all(items):
            answer.data["fetched"][item.label] = str(path)
            answer.lines.append(f"{item.label}: {path}")


@app.command()
def status(
    names: Names = None,
    tag: Tag = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Show the state of every stage, and why."""
    with answering("status", as_json) as answer:
        from rich.table import Table

        from slurm.overview import ask_queue, overview

        opened, view, chosen = _chosen(answer, registry, config, names, not names, tag)
        queue = ask_queue(view, chosen)
        table = Table("experiment", *STAGES, "remarks")
        answer.data = {}
        for name in chosen:
            try:
                found = overview(opened, view, name, queue)
            except Meds1Error as error:
                answer.warnings.append(str(error))
                continue
            answer.data[name] = {
                stage: {"status": s.status, "reason": s.reason, "attempt": s.attempt, "timestamp": s.timestamp}
                for stage, s in found.items()
            }
            remarks = "; ".join(f"{stage}: {s.reason}" for stage, s in found.items() if s.reason)
            table.add_row(name, *(found[stage].status for stage in STAGES), remarks)
        answer.lines.append(table)


@app.command("list")
def list_(
    names: Names = None,
    tag: Tag = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """List experiments with their descriptions and tags."""
    with answering("list", as_json) as answer:
        from rich.table import Table

        _, view, chosen = _chosen(answer, registry, config, names, not names, tag)
        table = Table("experiment", "tags", "results", "description")
        rows = []
        for name in chosen:
            body = experiments_of(view)[name]
            have = [stage for stage in STAGES if results_of(view, name).get(stage)]
            rows.append(
                {"name": name, "tags": body.get("tags") or [], "results": have, "description": body.get("description")}
            )
            table.add_row(name, ", ".join(body.get("tags") or []), ", ".join(have), body.get("description") or "")
        answer.data = rows
        answer.lines.append(table)


@app.command()
def show(name: Name, as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """Show one experiment: its config as written, its results and the history of its attempts."""
    with answering("show", as_json) as answer:
        _, view, (chosen,) = _chosen(answer, registry, config, [name], False, None)
        history = {
            stage: [
                {"attempt": h.attempt, "restart": h.restart, "event": h.event, "timestamp": h.timestamp}
                for h in view.state.headers(chosen, stage)
            ]
            for stage in STAGES
        }
        answer.data = {**experiments_of(view)[chosen], "history": history}
        answer.lines.append(json.dumps(answer.data, indent=2, ensure_ascii=False))


@app.command("config")
def config_(
    name: Name,
    settings: Set = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Show the effective config of one experiment: references followed, defaults and overrides applied."""
    with answering("config", as_json) as answer:
        opened, view, (chosen,) = _chosen(answer, registry, config, [name], False, None)
        answer.data = opened.effective(view, chosen, parse_overrides(settings or [])).model_dump(mode="json")
        answer.lines.append(json.dumps(answer.data, indent=2, ensure_ascii=False))


@app.command()
def validate(as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """Check the whole registry and the catalog; name every problem."""
    with answering("validate", as_json) as answer:
        from registry.validation import problems

        opened = open_registry(registry, config)
        view = opened.read()
        found = problems(opened, view)
        answer.warnings.extend(view.warnings)
        answer.data = {"problems": [{"where": p.where, "message": p.message} for p in found]}
        answer.lines = [p.message for p in found] or [f"{len(experiments_of(view))} experiments: no problem found"]
        answer.exit_code = UsageError.exit_code if found else 0


@app.command()
def rebuild(as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """Set a torn results.json aside and write the last good state with every record."""
    with answering("rebuild", as_json) as answer:
        from registry.fold import rebuild as rebuild_file

        opened = open_registry(registry, config)
        aside = rebuild_file(opened.paths)
        answer.data = {"set_aside": str(aside) if aside else None}
        answer.lines.append(
            f"rebuilt; the torn file is {aside}" if aside else f"{opened.paths.file} is sound; nothing to do"
        )


@app.command()
def leaderboard(
    names: Names = None,
    tag: Tag = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Rank experiments by accuracy, with 95 % intervals."""
    with answering("leaderboard", as_json) as answer:
        from plotting.leaderboard import as_json as board
        from plotting.leaderboard import table

        opened, view, chosen = _chosen(answer, registry, config, names, not names, tag)
        rows = _rows(opened, view, chosen, answer, strict=bool(names))
        answer.data = board(rows)
        answer.lines.append(table(rows, opened.catalog.display) if rows else "no experiment has an eval result yet")


@app.command()
def plot(  # noqa: PLR0913 - one parameter per option of the command line
    kind: Annotated[Literal["comparison"], typer.Argument(help="Which figure.")],
    names: Annotated[list[str] | None, typer.Option("--experiments", help="Experiments, by name or glob.")] = None,
    tag: Tag = None,
    out: Annotated[Path, typer.Option(help="Folder of the figure.")] = Path("figures"),
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Draw a figure as PNG and PDF, with the CSV that it was drawn from."""
    with answering("plot", as_json) as answer:
        from plotting.comparison import draw

        opened, view, chosen = _chosen(answer, registry, config, names, not names, tag)
        rows = _rows(opened, view, chosen, answer, strict=bool(names))
        written = draw(rows, opened.catalog.display, out / kind)
        answer.data = {"files": [str(path) for path in written]}
        answer.lines = [str(path) for path in written]


def main() -> None:
    """Entry point of `bin/meds1`."""
    app()


def _chosen(
    answer: Answer,
    registry: Path | None,
    config: Path | None,
    names: list[str] | None,
    everything: bool,
    tag: str | None,
) -> tuple[Registry, View, list[str]]:
    opened = open_registry(registry, config)
    view = opened.read()
    answer.warnings.extend(view.warnings)
    return opened, view, select(experiments_of(view), names or [], everything, tag)


def _stages(given: list[str] | None) -> tuple[Stage, ...]:
    wrong = [stage for stage in given or [] if stage not in STAGES]
    if wrong:
        raise UsageError(f"--stage {wrong[0]!r}: the stages are {', '.join(STAGES)}")
    return tuple(cast(Stage, stage) for stage in given) if given else STAGES


def _plans(opened: Registry, view: View, name: str, wish: Wish) -> list[Plan]:
    from slurm.overview import ask_queue

    return plan(opened, view, name, wish, ask_queue(view, [name]).is_gone)


def _rows(opened: Registry, view: View, names: list[str], answer: Answer, strict: bool) -> list[Any]:
    """The comparable rows; an experiment without an eval result is an error only when it was named."""
    from plotting.scores import row_of

    rows = []
    for name in names:
        entry = results_of(view, name).get("eval") or {}
        if entry.get("status", "completed" if entry else "missing") != "completed":
            message = f"{name}: has no eval result; run `meds1 run {name}`"
            if strict:
                raise StageFailure(message)
            answer.warnings.append(message)
            continue
        found = opened.statuses(view, name)["eval"]
        rows.append(row_of(name, entry, found.status, found.reason, opened.catalog.display))
    return rows


if __name__ == "__main__":
    main()
