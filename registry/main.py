"""`python -m curation|train|eval NAME`: one stage of one experiment in this process, through the one runner."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from registry.console import Answer, answering
from registry.errors import UsageError
from registry.plan import Plan, Wish, plan
from registry.resolve import parse_overrides
from registry.runner import claim, load_job, reuse, run_job
from registry.schema import Stage
from registry.store import open_registry

Name = Annotated[str | None, typer.Argument(help="Name of the experiment.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a config value: key=value, repeatable.")]
Force = Annotated[bool, typer.Option("--force", help="Run also what is completed and fresh.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run and why; run nothing.")]
PrintConfig = Annotated[
    bool, typer.Option("--print-config", "--print-effective-config", help="Show the effective config; run nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
RegistryFile = Annotated[Path | None, typer.Option("--registry", help="The results.json to use.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="The config.json to use.")]


def stage_main(stage: Stage, module: str) -> None:
    """Run the command line of one stage."""

    def main(  # noqa: PLR0913 - one parameter per option of the command line
        name: Name = None,
        settings: Set = None,
        force: Force = False,
        dry_run: DryRun = False,
        print_config: PrintConfig = False,
        as_json: Json = False,
        registry: RegistryFile = None,
        config: ConfigFile = None,
        job: Annotated[Path | None, typer.Option("--job", help="Run an attempt that is already claimed.")] = None,
    ) -> None:
        with answering(stage, as_json) as answer:
            if job is not None:
                signal.signal(signal.SIGTERM, signal.default_int_handler)
                answer.data = run_job(load_job(job))
                return
            if name is None:
                raise UsageError(f"give the name of an experiment: python -m {module} NAME")
            opened = open_registry(registry, config)
            view = opened.read()
            wish = Wish((stage,), parse_overrides(settings or []), force)
            (step,) = plan(opened, view, name, wish)
            answer.warnings.extend(view.warnings)
            if step.action == "n/a":
                raise UsageError(f"{name}: its config has no {stage}, so there is no such stage to run")
            if dry_run or print_config:
                show_plans([step], answer, print_config)
            elif step.action == "run":
                answer.data = run_job(claim(opened, step))
                answer.lines.append(f"{name}: {stage}: completed")
            elif step.action == "reuse":
                reuse(opened, step)
                answer.lines.append(f"{name}: {stage}: reused ({step.reason})")
            else:
                answer.lines.append(f"{name}: {stage}: nothing to do ({step.reason})")

    main.__doc__ = f"Run the {stage} stage of one experiment here."
    typer.run(main)


def show_plans(plans: list[Plan], answer: Answer, with_config: bool) -> None:
    """Say what would happen to each stage, and the effective config when asked."""
    rows: list[dict[str, Any]] = []
    for step in plans:
        rows.append(
            {
                "experiment": step.experiment,
                "stage": step.stage,
                "action": step.action,
                "reason": step.reason,
                "fingerprint": step.fingerprint or None,
                "run_dir": str(step.run_dir) if step.run_dir else None,
            }
        )
        answer.lines.append(f"{step.experiment}: {step.stage}: {_VERB[step.action]} ({step.reason})")
    answer.data = {"plans": rows}
    if with_config and plans:
        body = plans[-1].config.model_dump(mode="json")
        answer.data["config"] = body
        answer.lines.append(json.dumps(body, indent=2, ensure_ascii=False))


_VERB = {"run": "would run", "skip": "nothing to do", "reuse": "would be reused", "n/a": "does not apply"}
