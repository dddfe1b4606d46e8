"""The one command. Nothing heavy is imported until a verb needs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from registry.console import Answer, Grid, answering, run_app
from registry.errors import Meds1Error, UsageError
from registry.fold import View
from registry.main import ConfigFile, DryRun, Force, Json, PrintConfig, RegistryFile, Set, show_configs, show_plans
from registry.plan import Plan, Wish, plan
from registry.resolve import parse_overrides
from registry.schema import STAGES, Stage
from registry.selection import select
from registry.store import Registry, experiments_of, open_registry, results_of

if TYPE_CHECKING:
    from plotting.scores import Row

app = typer.Typer(
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

        opened, view, chosen = _chosen(answer, registry, config, names, everything, tag)
        wish = Wish(_stages(stages), parse_overrides(settings or []), force)
        if dry_run or print_config:
            _preview(opened, view, chosen, wish, answer, dry_run)
            return
        answer.data = {"stages": []}
        for name in chosen:
            try:
                for done in run_plans(opened, _plans(opened, opened.read(), name, wish)):
                    answer.data["stages"].append(done)
            except Meds1Error as error:
                answer.fail(name, error)


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
        if dry_run or print_config:
            plans = _preview(opened, view, chosen, wish, answer, dry_run)
            scripts = {f"{step.experiment}.{step.stage}": sbatch_script(step) for step in plans if step.action == "run"}
            answer.data["sbatch"] = scripts
            answer.lines += [f"--- sbatch script of {name}\n{text}" for name, text in scripts.items()]
            return
        check_cluster(where)
        queue = ask_queue(view, chosen)
        answer.data = {"cluster": where, "jobs": []}
        for name in chosen:
            try:
                plans = plan(opened, view, name, wish, queue.is_gone)
                check_present(plans)
                submitted = submit_plans(opened, plans, where, flying_jobs(view, name, queue))
            except Meds1Error as error:
                answer.fail(name, error)
                continue
            answer.lines += [f"{name}: {step.stage}: {step.reason}" for step in plans if step.action != "run"]
            answer.lines += [
                f"{name}: {s.stage}: job {s.job_id} (attempt {s.attempt}), logs in {s.logs}" for s in submitted
            ]
            answer.data["jobs"] += [
                {"experiment": name, "stage": s.stage, "attempt": s.attempt, "job_id": s.job_id} for s in submitted
            ]


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
    """Bring the models and data sets of experiments onto this machine (run it where there is network).

    A NAME may also be that of a model or data set in the catalog.
    """
    with answering("fetch", as_json) as answer:
        from slurm.fetch import fetch_all, needed, of_catalog

        opened = open_registry(registry, config)
        view = opened.read()
        answer.warnings.extend(view.warnings)
        experiments = experiments_of(view)
        entries = {name: of_catalog(opened.catalog, name) for name in names or [] if name not in experiments}
        others = [name for name in names or [] if not entries.get(name)]
        items = [item for found in entries.values() for item in found]
        if others or not items:
            chosen = select(experiments, others, everything, tag)
            items += needed([opened.effective(view, name) for name in chosen])
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
        from slurm.overview import ask_queue, overview

        opened, view, chosen = _chosen(answer, registry, config, names, not names, tag)
        queue = ask_queue(view, chosen)
        rows: list[list[str]] = []
        answer.data = {}
        for name in chosen:
            try:
                found = overview(opened, view, name, queue)
            except Meds1Error as error:
                _say(answer, name, error, names)
                continue
            answer.data[name] = {
                stage: {"status": s.status, "reason": s.reason, "attempt": s.attempt, "timestamp": s.timestamp}
                for stage, s in found.items()
            }
            remarks = "; ".join(f"{stage}: {s.reason}" for stage, s in found.items() if s.reason)
            rows.append([name, *(found[stage].status for stage in STAGES), remarks])
        if rows:
            answer.lines.append(Grid(["experiment", *STAGES, "remarks"], rows))


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
        _, view, chosen = _chosen(answer, registry, config, names, not names, tag)
        answer.data = []
        for name in chosen:
            body, results = experiments_of(view)[name], results_of(view, name)
            have = [
                stage
                for stage in STAGES
                if (results.get(stage) or {"status": None}).get("status", "completed") == "completed"
            ]
            tags = body.get("tags") or []
            answer.data.append({"name": name, "tags": tags, "results": have, "description": body.get("description")})
        rows = [[d["name"], ", ".join(d["tags"]), ", ".join(d["results"]), d["description"] or ""] for d in answer.data]
        answer.lines.append(Grid(["experiment", "tags", "results", "description"], rows))


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
        if found:
            answer.errors.append(UsageError(f"{len(found)} problems found"))


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
        rows = _rows(opened, view, chosen, answer, names)
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
        rows = _rows(opened, view, chosen, answer, names)
        if answer.errors:
            return
        written = draw(rows, opened.catalog.display, out / kind)
        answer.data = {"files": [str(path) for path in written]}
        answer.lines = [str(path) for path in written]


def main() -> None:
    """Entry point of `bin/meds1`."""
    run_app(app)


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


def _rows(opened: Registry, view: View, chosen: list[str], answer: Answer, names: list[str] | None) -> list[Row]:
    """The comparable rows; what keeps an experiment out is an error when it was named, else a warning."""
    from plotting.scores import row_of

    rows = []
    for name in chosen:
        try:
            rows.append(
                row_of(name, results_of(view, name), opened.statuses(view, name)["eval"], opened.catalog.display)
            )
        except Meds1Error as error:
            _say(answer, name, error, names)
    return rows


def _say(answer: Answer, name: str, error: Meds1Error, names: list[str] | None) -> None:
    if name in (names or []):
        answer.fail(name, error)
    else:
        answer.warnings.append(str(error))


if __name__ == "__main__":
    main()
