"""Command that asks a model: infer."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry.console import Answer, answering
from registry.durable import write_durably
from registry.errors import MissingError, UsageError, counted
from registry.fields import EngineName, FormatName
from registry.options import ConfigFile, Json, RegistryFile
from registry.schema import PromptStyle
from registry.store import open_registry

if TYPE_CHECKING:
    from data.rows import Row
    from eval.infer import Settings, Subject

log = logging.getLogger(__name__)

_ENGINE = "What runs the model; default: the experiment's eval.engine, transformers for a model of its own."


def infer(  # noqa: PLR0913 - one parameter per option of the command line
    target: Annotated[str, typer.Argument(metavar="NAME", help="Experiment, model of the catalog, or model folder.")],
    question: Annotated[str | None, typer.Option(help="One question.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="An option of it: A=text, repeatable.")] = None,
    source: Annotated[Path | None, typer.Option("--input", help="JSON or JSONL file of questions.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where the answers go: .jsonl, or .json for one list.")] = None,
    engine: Annotated[EngineName | None, typer.Option(help=_ENGINE)] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=2.0, help="0 is greedy.")] = None,
    top_p: Annotated[float | None, typer.Option(min=0.001, max=1.0, help="Nucleus sampling.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="Longest prompt and answer together.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="At most so many questions at a time.")] = None,
    prompting: Annotated[PromptStyle | None, typer.Option(help="How a question is put.")] = None,
    format_: Annotated[FormatName | None, typer.Option("--format", help="How it lays out its answers.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be asked; load no model.")] = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Ask a trained experiment or any model: one question, or a file of them.

    The settings are the experiment's own where no option says more. Gold answers in the file are kept and compared.
    """
    with answering("infer", as_json) as answer:
        from eval.infer import Settings

        settings = Settings(engine, temperature, top_p, max_tokens, max_length, prompting, format_)
        rows = _questions(question, option or [], source)
        _check_output(output)
        subject = _subject(target, settings, (registry, config), answer)
        answer.data = {"subject": subject.what, **subject.described(), "output": output and str(output)}
        log.info("%s", _said(subject))
        if dry_run:
            prompts = [list(subject.request(row).messages) for row in rows]
            answer.data["prompts"] = prompts
            answer.lines = [f"would ask {counted(len(rows), 'question')}, the first:"]
            answer.lines += [f"[{message['role']}] {message['content']}" for message in prompts[0]]
        else:
            _ask(subject, rows, batch_size, output, answer)


def _questions(question: str | None, options: list[str], source: Path | None) -> list[Row]:
    from eval.question_files import one_question, read_questions

    if (question is None) == (source is None):
        raise UsageError("give either --question or --input")
    if source is not None:
        if options:
            raise UsageError("--option belongs to --question; in a file each question has its own `options`")
        return read_questions(source)
    if not (question or "").strip():
        raise UsageError("--question is empty")
    return [one_question(str(question), options)]


def _check_output(output: Path | None) -> None:
    if output is None:
        return
    if output.suffix not in (".json", ".jsonl"):
        raise UsageError(f"--output {output}: the answers are written as .json or .jsonl")
    folder = output.absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MissingError(f"--output {output}: {folder} is no folder that can be written to")


def _subject(target: str, settings: Settings, files: tuple[Path | None, Path | None], answer: Answer) -> Subject:
    from eval.infer import of_folder, subject_of

    if os.sep in target and Path(target).is_dir():  # a path needs no registry
        return of_folder(Path(target), settings)
    opened = open_registry(*files)
    view = opened.read()
    answer.warnings.extend(view.warnings)
    subject = subject_of(opened, view, target, settings)
    answer.warnings.extend(subject.warnings)
    return subject


def _said(subject: Subject) -> str:
    chosen = ", ".join(f"{name} {value}" for name, value in subject.described().items())
    return f"{subject.what}: {chosen}"


def _ask(subject: Subject, rows: Sequence[Row], batch_size: int | None, output: Path | None, answer: Answer) -> None:
    """Ask, and keep every answer in OUTPUT.partial from the moment it is there; OUTPUT is written whole at the end."""
    from eval.infer import ask

    found: dict[str, dict[str, Any]] = {}
    partial = None if output is None else output.with_name(f"{output.name}.partial")
    if partial is not None and partial.exists():
        raise UsageError(f"{partial} holds the answers of a run that was interrupted; move it away, or remove it")
    try:
        with ExitStack() as opened:
            file = None if partial is None else opened.enter_context(partial.open("w", encoding="utf-8"))
            for each in ask(subject, rows, batch_size):
                found[each["id"]] = each
                if file is not None:
                    file.write(json.dumps(each, ensure_ascii=False) + "\n")
                    file.flush()
    finally:
        answers = [found[row.id] for row in rows if row.id in found]
        answer.data["answers"] = answers
        if partial is None:
            answer.lines += [line for each in answers for line in _lines(each, len(rows))]
        elif not answers:
            partial.unlink(missing_ok=True)
        elif len(answers) < len(rows):
            answer.warnings.append(f"{len(answers)} of {len(rows)} answers are kept in {partial}")
        if len(rows) > 1:
            answer.lines.append(_count(answers))
    if output is not None and partial is not None:
        _write(answers, output)
        partial.unlink()
        answer.lines.append(str(output))


def _write(answers: Sequence[Mapping[str, Any]], output: Path) -> None:
    if output.suffix == ".json":
        text = json.dumps(answers, ensure_ascii=False, indent=2) + "\n"
    else:
        text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in answers)
    write_durably(output, text.encode())


def _lines(each: Mapping[str, Any], total: int) -> list[str]:
    """One answer for people."""
    lines = [f"question {each['id']}: {each['question']}", ""] if total > 1 else []
    if each["error"]:
        return [*lines, f"error: {each['error']}", ""]
    if each["thinking"] is not None:
        lines += ["thinking:", each["thinking"], ""]
    cut = " (cut at the length limit)" if each["finish_reason"] == "length" else ""
    lines += [f"answer{cut}:", each["answer_text"] or "(none)", ""]
    if each["options"]:
        lines.append(f"extracted: {each['extracted'] or 'no answer'} ({each['method']})")
    if each["gold"]:
        lines.append(f"gold: {each['gold']}, {'correct' if each['correct'] else 'wrong'}")
    return [*lines, ""] if lines[-1] else lines


def _count(answers: Sequence[Mapping[str, Any]]) -> str:
    judged = [each["correct"] for each in answers if each["correct"] is not None]
    silent = sum(each["extracted"] is None for each in answers)
    said = f"{counted(len(answers), 'answer')}, {silent} of them without anything that could be extracted"
    return said + (f"; {sum(judged)} of {len(judged)} with a gold answer are right" if judged else "")
