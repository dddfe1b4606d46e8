"""`python -m curation|train|eval NAME`: one stage of one experiment in this process, through the one runner."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from registry.attempt import LAUNCHED
from registry.console import Answer, answering, run_app
from registry.effective import EffectiveConfig
from registry.errors import Meds1Error, MissingError, StageStopped, UsageError
from registry.estimates import show_estimates
from registry.job import claim, load_job
from registry.options import ConfigFile, DryRun, Force, Json, PrintConfig, RegistryFile, Rescore, Set
from registry.plan import Plan, Wish, plan
from registry.resolve import parse_overrides
from registry.runner import ranks, reuse, run_job
from registry.schema import Stage
from registry.store import Registry, open_registry

StageName = Annotated[str | None, typer.Argument(help="Name of the experiment.")]
Rows = Annotated[
    int | None,
    typer.Option("--preview", min=1, metavar="N", help="Curation only: show N rows of the result with their fate."),
]
Preview = Callable[[Registry, str, int, Answer], None]
Verb = Literal["run", "plan", "config"]
_VERB = {
    "run": "would run",
    "skip": "nothing to do",
    "busy": "would wait",
    "reuse": "would be reused",
    "n/a": "does not apply",
}


def stage_main(stage: Stage, module: str, preview: Preview | None = None) -> None:
    """Run the command line of one stage; `preview` shows some of what a completed one has made."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.command(help=f"Run the {stage} stage of one experiment here.")
    def main(  # noqa: PLR0913 - one parameter per option of the command line
        name: StageName = None,
        settings: Set = None,
        force: Force = False,
        rescore: Rescore = False,
        dry_run: DryRun = False,
        print_config: PrintConfig = False,
        as_json: Json = False,
        registry: RegistryFile = None,
        config: ConfigFile = None,
        job: Annotated[Path | None, typer.Option("--job", help="Run an attempt that is already claimed.")] = None,
        rows: Rows = None,
    ) -> None:
        with answering(stage, as_json) as answer:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the attempt records its end
            if job is not None:
                answer.data = _claimed(job)
                return
            if name is None:
                raise UsageError(f"give the name of an experiment: python -m {module} NAME")
            opened = open_registry(registry, config)
            if rescore and stage != "eval":
                raise UsageError(f"--rescore: {stage} makes no predictions; python -m eval {name} --rescore")
            if rows is not None and preview is None:
                raise UsageError(f"--preview: {stage} chooses no rows; python -m curation {name} --preview {rows}")
            wish = Wish((stage,), parse_overrides(settings or []), force, rescore=rescore)
            try:
                if rows is not None and preview is not None:
                    preview(opened, name, rows, answer)
                    return
                _one_stage(opened, name, wish, answer, "config" if print_config else "plan" if dry_run else "run")
            except Meds1Error as error:
                answer.fail(name, error)

    run_app(app, sys.argv[1:])


def _claimed(file: Path) -> dict[str, Any] | None:
    # Whoever launched this hands interrupts on; a shell's background job would have it ignore them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run_job(load_job(file))
    except Meds1Error as error:
        if ranks()[0] == 0 and not (error.recorded and LAUNCHED in os.environ):
            raise
        # Only rank 0 says how it ended: it records what another rank alone has met from that rank's file.
        # Nor does it where the launcher, which reads the record, says the same.
        # After a stop the others end well: srun ends a whole step with the first task that does not.
        if not isinstance(error, StageStopped):
            raise SystemExit(error.exit_code) from None
        return None


def _one_stage(opened: Registry, name: str, wish: Wish, answer: Answer, verb: Verb) -> None:
    view = opened.read()
    answer.warnings.extend(view.warnings)
    config = opened.effective(view, name, wish.overrides)
    if verb == "config":
        show_configs([config], answer)
        return
    (step,) = plan(opened, view, name, wish)
    stage = step.stage
    if step.action == "n/a":
        raise UsageError(f"{name}: its config has no {stage}, so there is no such stage to run")
    if verb == "plan":
        show_configs([config], answer)
        show_plans([step], answer)
        show_estimates([step], opened.outputs.shared, answer)
    elif step.action == "run":
        answer.data = run_job(claim(opened, step))
        answer.lines.append(f"{name}: {stage}: completed")
    elif step.action == "busy":
        raise MissingError(f"{name}: {stage}: {step.reason}")
    elif step.action == "reuse":
        reuse(opened, [step])
        answer.lines.append(f"{name}: {stage}: reused ({step.reason})")
    else:
        answer.lines.append(f"{name}: {stage}: nothing to do ({step.reason})")


def show_configs(configs: list[EffectiveConfig], answer: Answer) -> None:
    """Add the effective configs to the answer: `configs` by experiment, or one JSON object after the other."""
    bodies = {config.experiment: config.model_dump(mode="json") for config in configs}
    answer.data = {**(answer.data or {}), "configs": bodies}
    answer.lines += [json.dumps(body, indent=2, ensure_ascii=False) for body in bodies.values()]


def show_plans(plans: list[Plan], answer: Answer) -> None:
    """Add what would happen to each stage to the answer."""
    rows = [
        {
            "experiment": step.experiment,
            "stage": step.stage,
            "action": step.action,
            "reason": step.reason,
            "fingerprint": step.fingerprint or None,
            "run_dir": str(step.run_dir) if step.run_dir else None,
        }
        for step in plans
    ]
    answer.data = {**(answer.data or {}), "plans": rows}
    answer.lines += [f"{step.experiment}: {step.stage}: {_VERB[step.action]} ({step.reason})" for step in plans]
