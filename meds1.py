"""The one command: a table of its verbs. The module of a verb is imported when it is used, and not before."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from registry.console import run_app

# verb: (where its function is, the first line of that function's docstring)
VERBS = {
    "run": ("slurm.verbs:run", "Run the due stages of experiments here, one after the other."),
    "submit": ("slurm.submit_verb:submit", "Submit the due stages of experiments as batch jobs; waits for none."),
    "status": ("slurm.watch_verbs:status", "Show the state of every stage, and why."),
    "logs": ("slurm.logs_verb:logs", "Show the logs of the newest attempt, and where they are."),
    "cancel": ("slurm.cancel_verb:cancel", "Cancel jobs that wait or run, and those that wait for them."),
    "fetch": ("slurm.verbs:fetch", "Bring models and data sets onto this machine; run it where there is network."),
    "list": ("registry.verbs:list_experiments", "List experiments with their descriptions and tags."),
    "show": ("registry.verbs:show", "Show one experiment: config, results, history, notes."),
    "history": ("registry.edit_verbs:history", "Show what happened to an experiment: attempts, and edits by whom."),
    "config": ("registry.config_verbs:show_config", "Show the effective config, and where each value comes from."),
    "validate": ("registry.config_verbs:validate", "Check the whole registry and the catalog; name every problem."),
    "rebuild": (
        "registry.verbs:rebuild",
        "Write the last good state and every record in place of a torn results.json.",
    ),
    "new": ("registry.edit_verbs:new", "Make experiments from another one's config: one, or a grid."),
    "note": ("registry.edit_verbs:note", "Add a note to an experiment, with author and time."),
    "tag": ("registry.edit_verbs:tag", "Add tags to experiments, or take tags away."),
    "rm": (
        "registry.edit_verbs:rm",
        "Remove an experiment with its results, or with --stage only results; the history keeps them.",
    ),
    "import": ("registry.original.verbs:import_registry", "Bring the experiments of another registry into this one."),
    "reproduce": (
        "registry.care.verbs:reproduce",
        "Make a new experiment with the config of a recorded result.",
    ),
    "doctor": ("registry.care.verbs:doctor", "Examine the registry and where it lies; print every path in use."),
    "gc": ("registry.care.verbs:gc", "List what no current result refers to, with its size; delete it with --yes."),
    "benchmarks": (
        "eval.benchmarks_verb:benchmarks",
        "List the benchmarks of the catalog, and who is evaluated on them.",
    ),
    "infer": ("eval.infer_verb:infer", "Ask a trained experiment or any model: one question, or a file of them."),
    "leaderboard": (
        "plotting.verbs:leaderboard",
        "Rank experiments by accuracy or another metric, with 95 % intervals.",
    ),
    "compare": (
        "plotting.compare_verbs:compare",
        "Compare experiments: configs, scores, paired tests against the first, answers that flip.",
    ),
    "significance": (
        "plotting.compare_verbs:significance",
        "Test whether two experiments differ on a benchmark, and by how much.",
    ),
    "export": (
        "plotting.export_verbs:export",
        "Write experiments as JSON with their history, as CSV, or as a Markdown or LaTeX table.",
    ),
    "stats": (
        "plotting.export_verbs:stats",
        "Count stages by state, and sum up GPU hours and the cost of model calls.",
    ),
    "plot": ("plotting.verbs:plot", "Draw a figure as PNG and PDF, with the CSV that it was drawn from."),
    "report": (
        "plotting.report_verb:report",
        "Write a report of HTML pages that opens from disk: tables, tests, figures, single predictions.",
    ),
}


class Verbs(TyperGroup):
    """The verbs of the table, each loaded when it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "commands": dict.fromkeys(VERBS)})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a verb, or null."""
        if cmd_name not in VERBS:
            return None
        module, function = VERBS[cmd_name][0].split(":")
        verb = typer.Typer(add_completion=False, rich_markup_mode=None)
        verb.command(cmd_name)(getattr(importlib.import_module(module), function))
        return typer.main.get_command(verb)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of verbs in the help, which needs none of their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, summary) for verb, (_, summary) in VERBS.items()])


app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Experiments of medical reasoning models: curate, train, evaluate, compare.",
)


@app.callback()
def _meds1() -> None:
    """A group even while it has no verb."""


def main() -> None:
    """Entry point of `bin/meds1`."""
    run_app(app, sys.argv[1:] or ["--help"])


if __name__ == "__main__":
    main()
