"""Commands that hand a registry's numbers on: export, stats."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from plotting.metrics import ACCURACY
from registry.console import Answer, answering
from registry.errors import Meds1Error, MissingError, StageFailure, UsageError, counted, nearest
from registry.options import (
    NO_EXPERIMENTS,
    All,
    Choice,
    ConfigFile,
    Files,
    Json,
    Names,
    RegistryFile,
    Tag,
    chosen,
    say,
)
from registry.reading import View
from registry.secrets import masked, masked_json
from registry.selection import model_of
from registry.store import Registry, experiments_of, results_of

Format = Literal["json", "csv", "markdown", "latex"]


@dataclass(frozen=True)
class _Wanted:
    """What to export: the names that were given, and the experiments that they select."""

    form: str
    names: list[str] | None
    selected: list[str]
    benchmarks: list[str]
    metric: str | None


def export(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    everything: All = False,
    tag: Tag = None,
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(get_args(Format))}.")] = "json",
    benchmarks: Annotated[list[str] | None, typer.Option("--benchmark", help="Only this one; repeatable.")] = None,
    metric: Annotated[str | None, typer.Option(help="Of csv only this one; of tables this in place of it.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; else stdout.")] = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Write experiments as JSON with their history, as CSV, or as a Markdown or LaTeX table."""
    with answering("export", as_json) as answer:
        if form not in get_args(Format):
            raise UsageError(f"--format {form!r}: no such format{nearest(form, get_args(Format))}")
        if form == "json" and (benchmarks or metric):
            raise UsageError("--format json writes everything; --benchmark and --metric go with the other formats")
        opened, view, selected = chosen(answer, Files(registry, config), Choice(names or (), everything, tag))
        text = _text(_Wanted(form, names, selected, benchmarks or [], metric), opened, view, answer)
        if answer.errors:
            return
        if out is not None:
            _write(out, masked(text))
            answer.data, answer.lines = {"file": str(out)}, [str(out)]
        else:
            answer.data = json.loads(text) if form == "json" else {"text": text}
            answer.lines = [text.removesuffix("\n")]


def stats(
    names: Names = None,
    tag: Tag = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Count stages by state, and sum up GPU hours and the cost of model calls."""
    with answering("stats", as_json) as answer:
        from plotting.stats import called, called_table, counts_of, counts_table, efforts, efforts_table, month_of

        opened, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        states, results = [], []
        for name in selected:
            results += _results(view, name)
            try:
                states.append(opened.statuses(view, name))
            except Meds1Error as error:
                say(answer, name, error, names)
        counts = counts_of(states)
        tables = {
            "stage": efforts(results, lambda result: ["all", result.stage]),
            "base model": efforts(results, lambda result: [result.model]),
            "month": efforts(results, month_of),
            "tag": efforts(results, lambda result: result.tags),
        }
        models = called(results)
        left = len(selected) - len(states)
        answer.data = {"experiments": len(selected), "without_state": left, "stages": counts}
        answer.data["models_called"] = _plain(models)
        answer.data |= {key.replace(" ", "_"): _plain(found) for key, found in tables.items()}
        if not selected:
            answer.lines.append(NO_EXPERIMENTS)
            return
        uncounted = f", {left} of them in no state, since their config is wrong: see above" if left else ""
        answer.lines += [f"{counted(len(selected), 'experiment')}{uncounted}", counts_table(counts)]
        for key, found in tables.items():
            if len(found) > 1:
                answer.lines += ["", efforts_table(key, found)]
        if models:
            answer.lines += ["", called_table(models)]


def _text(wanted: _Wanted, opened: Registry, view: View, answer: Answer) -> str:
    """What is to be written; notes in the answer what keeps experiments out of it."""
    from plotting import export
    from plotting.leaderboard import board_of, rows_of, say_without

    if wanted.form == "json":
        document = masked_json(export.as_document(opened, view, wanted.selected))
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if wanted.form == "csv":
        return export.as_csv(_lines(wanted, opened, view, answer))
    rows = rows_of(opened, view, wanted.selected, answer, wanted.names)
    if not rows:
        raise _nothing(answer)
    board = board_of(rows, wanted.benchmarks, wanted.metric or ACCURACY)
    say_without(board, answer, wanted.names)
    made = export.as_markdown if wanted.form == "markdown" else export.as_latex
    return made(board, opened.catalog.display)


def _lines(wanted: _Wanted, opened: Registry, view: View, answer: Answer) -> list[dict[str, Any]]:
    """The rows of `plotting.frame`; of some benchmarks and one metric only where they are given."""
    from plotting.runs import runs_of, scored_of
    from plotting.scores import chosen_benchmarks, chosen_metric
    from plotting.tidy import long_rows

    runs = scored_of(runs_of(opened, view, wanted.selected, answer, wanted.names), answer, wanted.names)
    rows = [run.scored for run in runs]
    if not rows:
        raise _nothing(answer)
    benchmarks = set(chosen_benchmarks(rows, wanted.benchmarks))
    metric = chosen_metric(rows, wanted.metric).name if wanted.metric else None
    lines = long_rows(runs)
    return [line for line in lines if line["benchmark"] in benchmarks and metric in (None, line["metric"])]


def _nothing(answer: Answer) -> Meds1Error:
    """The error of an empty export: of an experiment that was named, else that there is nothing yet."""
    return answer.errors.pop(0) if answer.errors else MissingError("none of these experiments has an eval result")


def _write(path: Path, text: str) -> None:
    from registry.durable import make_folder, write_durably

    try:
        make_folder(path.absolute().parent)
        write_durably(path, text.encode())
    except OSError as error:
        raise StageFailure(f"{path}: cannot be written: {error.strerror}; choose another --out") from None


def _results(view: View, name: str) -> list[Any]:
    from plotting.stats import Result
    from registry.schema import STAGES

    body = experiments_of(view)[name]
    tags = tuple(dict.fromkeys(tag for tag in body.get("tags") or () if isinstance(tag, str)))
    model = model_of(body) or "unknown"
    found = results_of(view, name)
    return [Result(name, stage, found[stage], model, tags) for stage in STAGES if found.get(stage)]


def _plain(found: Any) -> dict[str, Any]:
    return {key: asdict(effort) for key, effort in found.items()}
