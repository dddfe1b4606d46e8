"""What commands share: the answer on stdout (lines and tables, or one JSON object), everything else on stderr.

While a command works, whatever writes to stdout, a library or a child process, is sent to stderr: stdout carries the
answer alone. Values of known key variables are masked in all of it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from registry.errors import EXIT_FAILED, EXIT_USAGE, Meds1Error, StageFailure, UsageError
from registry.json_path import join
from registry.names import in_message
from registry.secrets import masked, masked_json, masking

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SCHEMA = 1
PIPE_WIDTH = 100
_ROOMS = ("meds1", "registry", "data", "scoring", "inference", "curation", "train", "eval", "plotting", "slurm", "demo")


@dataclass(frozen=True)
class Grid:
    """A table for people. `right` are the indices of the columns whose text ends at the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str | None = None
    right: Sequence[int] = ()


@dataclass(frozen=True)
class Drawn:
    """Something for people that rich lays out to the width of their terminal; its text is masked already."""

    body: RenderableType


@dataclass
class Answer:
    """What a command says: `data` for `--json`, `lines` for people; warnings for both.

    `errors` are those that did not keep the command from going on; the first decides its exit code.
    """

    data: Any = None
    lines: list[str | Grid | Drawn] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[Meds1Error] = field(default_factory=list)

    def fail(self, experiment: str, error: Meds1Error) -> None:
        """Note what went wrong with one experiment, by its name, so that the command can go on with the others."""
        message = _named(experiment, error)
        self.errors.append(error if message == str(error) else type(error)(message))

    def warn(self, experiment: str, error: Meds1Error) -> None:
        """Say by its name what keeps an experiment out that was not asked for."""
        self.warnings.append(_named(experiment, error))


def _named(experiment: str, error: Meds1Error) -> str:
    message, shown = str(error), in_message(experiment)
    named = message.startswith((f"{shown}:", f"{join('experiments', experiment)}."))
    return message if named else f"{shown}: {message}"


@contextmanager
def answering(command: str, as_json: bool) -> Iterator[Answer]:
    """Run a command's body, then print its answer and exit: 0, or the code of the first error."""
    speak()
    answer = Answer()
    if as_json:
        sys.excepthook = partial(_print_crash_as_json, command, answer)
    try:
        with _stdout_is_stderr():
            yield answer
    except Meds1Error as error:
        answer.errors.append(error)
    except KeyboardInterrupt:
        answer.errors.append(StageFailure("interrupted"))
    _print(command, as_json, answer)
    if answer.errors:
        raise SystemExit(answer.errors[0].exit_code)


def run_app(app: typer.Typer, arguments: list[str]) -> None:
    """Run a command line; a wrong one is one line on stderr (and the JSON object, if asked for) and exit code 2."""
    try:
        code = app(arguments, standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "meds1"
        said = " ".join(error.format_message().split()).replace("Value error, ", "").replace("'. Did", "'; did")
        message = f"{said.rstrip('.?')}; see `{path} --help`"
        if "--json" in arguments:
            _print_json(path.removeprefix("meds1 "), Answer(), message, EXIT_USAGE)
        print(masked(f"{path}: {message}"), file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None
    raise SystemExit(code)


def speak() -> None:
    """Log what this project's own rooms say to stderr, and only warnings of everything else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_mask_record)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    for room in _ROOMS:
        logging.getLogger(room).setLevel(logging.INFO)
    sys.excepthook = _print_crash


@contextmanager
def _stdout_is_stderr() -> Iterator[None]:
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def confirmed(question: str) -> bool:
    """Ask on the terminal; `UsageError` where nobody sits at one."""
    if not sys.stdin.isatty():
        raise UsageError("nobody to ask: use --yes")
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _mask_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = masked(record.getMessage()), ()
    return True


def _print_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(masked("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr, end="")


def _print_crash_as_json(
    command: str, answer: Answer, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _print_json(command, answer, f"{kind.__name__}: {error}", EXIT_FAILED)
    _print_crash(kind, error, trace)


def _print(command: str, as_json: bool, answer: Answer) -> None:
    if as_json:
        message = "; ".join(str(error) for error in answer.errors)
        _print_json(command, answer, message, answer.errors[0].exit_code if answer.errors else 0)
    else:
        for warning in dict.fromkeys(answer.warnings):
            print(masked(f"warning: {warning}"), file=sys.stderr)
        for line in answer.lines:
            if isinstance(line, Grid):
                _print_grid(line)
            elif isinstance(line, Drawn):
                _print_drawn(line)
            else:
                print(masked(line))
    sys.stdout.flush()
    for error in answer.errors:
        print(masked(f"meds1 {command}: {error}"), file=sys.stderr)


def _print_grid(grid: Grid) -> None:
    if not sys.stdout.isatty():
        print("\n".join(_unfolded(grid, _masked_rows(grid))))
        return
    from rich.console import Console

    Console(highlight=False, markup=False, emoji=False).print(rich_table(grid))


def _print_drawn(line: Drawn) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    Console(highlight=False, markup=False, emoji=False, width=width).print(line.body)


def rich_table(grid: Grid) -> Table:
    """The table for a terminal, to be printed without markup."""
    from rich import box
    from rich.table import Table

    table = Table(title=grid.title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, name in enumerate(grid.header):
        # Folded, never shortened: a cut name or remark would be lost.
        table.add_column(name, justify="right" if index in grid.right else "left", overflow="fold")
    for row in _masked_rows(grid):
        table.add_row(*row)
    return table


def _masked_rows(grid: Grid) -> list[list[str]]:
    mask = masking()
    return [[mask(cell) for cell in row] for row in grid.rows]


def _unfolded(grid: Grid, rows: list[list[str]]) -> list[str]:
    """The table for a pipe, which has no width: every row is one line, for grep and the like."""
    from rich.cells import cell_len

    cells = [list(grid.header), *([" ".join(cell.split("\n")) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]

    def line(row: list[str]) -> str:
        padded = []
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - cell_len(cell))
            padded.append(gap + cell if index in grid.right else cell + gap)
        return "   ".join(padded).rstrip()

    head, *body = (line(row) for row in cells)
    title = [grid.title] if grid.title else []
    return [*title, head, "─" * (sum(widths) + 3 * (len(widths) - 1)), *body]


def _print_json(command: str, answer: Answer, message: str, exit_code: int) -> None:
    body = {
        "schema": SCHEMA,
        "command": command,
        "data": answer.data,
        "warnings": list(dict.fromkeys(answer.warnings)),
        "error": {"message": message, "exit_code": exit_code} if exit_code else None,
    }
    print(json.dumps(masked_json(body), ensure_ascii=False))
