"""Experiments in forms for other programs and papers: JSON with everything, CSV, tables in Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from plotting.leaderboard import Board, cells_of
from plotting.runs import run_of
from plotting.scores import Row
from plotting.tidy import columns_of
from registry.catalog import Display
from registry.errors import Meds1Error
from registry.events import history_of
from registry.reading import View
from registry.secrets import masking
from registry.store import Registry, experiments_of

_MARKDOWN = str.maketrans({mark: f"\\{mark}" for mark in r"\`*_[]<>|~&$"})
_LATEX = str.maketrans(
    {
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        '"': "''",
    }
)


@dataclass(frozen=True)
class _Table:
    """A table as text: header, and rows of a label, the cells and the number of its note; `notes` from 1 on."""

    titles: Sequence[str]
    sizes: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str], int | None]]
    notes: Sequence[str]
    caption: str


def as_document(opened: Registry, view: View, names: Iterable[str]) -> dict[str, Any]:
    """Everything that is known of experiments: as written, effective config, states, results, scores and history.

    `scores` are the numbers by benchmark, also where they stand in a summary file of the original project. `problem`
    says what is wrong with a config that has no effective form.
    """
    return {"format": 1, "experiments": [_everything(opened, view, name) for name in names]}


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of `tidy.long_rows`, as `plotting.frame` has them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns_of(rows), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(board: Board, display: Display) -> str:
    """A table of experiments and benchmarks for GitHub and pandoc; what must be known of a row stands in footnotes."""
    table = _table(board, display)
    titles = [f"{title} (n={size})" if size else title for title, size in zip(table.titles, table.sizes, strict=True)]
    lines = [["experiment", *map(_in_markdown, titles)], [":---", *["---:"] * len(titles)]]
    for label, cells, note in table.rows:
        lines.append([_in_markdown(label) + (f"[^{note}]" if note else ""), *map(_in_markdown, cells)])
    notes = [f"[^{number}]: {_in_markdown(text)}" for number, text in enumerate(table.notes, start=1)]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([f"{_in_markdown(table.caption)}.", "", body, *(["", *notes] if notes else []), ""])


def as_latex(board: Board, display: Display) -> str:
    """The same as a floating table, which needs the package booktabs."""
    table = _table(board, display)
    out_of = [re.sub(r"^\d+", r"$n = \g<0>$", size) for size in table.sizes]
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_in_latex(table.caption)}.}}",
        r"\smallskip",
        # The values of a benchmark stand under each other, whatever the width of their intervals.
        rf"\begin{{tabular}}{{l{'r@{ }l' * len(table.titles)}}}",
        r"\toprule",
        _line(["", *(_over_two(_in_latex(title)) for title in table.titles)]),
        _line(["", *map(_over_two, out_of)]),
        r"\midrule",
    ]
    for label, cells, note in table.rows:
        mark = rf"\textsuperscript{{{note}}}" if note else ""
        lines.append(_line([_first_in_latex(label) + mark, *map(_value_in_latex, cells)]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.notes:
        notes = [rf"\textsuperscript{{{n}}} {_in_latex(text)}" for n, text in enumerate(table.notes, start=1)]
        lines += ["", r"\smallskip", r"\begin{flushleft}\footnotesize", " \\\\\n".join(notes), r"\end{flushleft}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _everything(opened: Registry, view: View, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"effective": None, "problem": "", "status": {}, "scores": None}
    try:
        run = run_of(opened, view, name)
    except Meds1Error as error:  # what is written is exported all the same
        found["problem"] = str(error)
    else:
        found["effective"] = run.config.model_dump(mode="json") if run.config else None
        found["problem"] = run.problem
        found["status"] = {stage: asdict(status) for stage, status in run.statuses.items()}
        found["scores"] = {key: dict(score.numbers) for key, score in run.row.scores.items()} if run.row else None
    return {"name": name, **experiments_of(view)[name], **found, "history": history_of(view.state, name)}


def _table(board: Board, display: Display) -> _Table:
    titles = [display.benchmarks.get(source, source) for source in board.benchmarks]
    sizes = [board.sizes.get(source, "0") for source in board.benchmarks]
    caption = board.caption
    if board.averages:
        titles, sizes, caption = [*titles, "macro"], [*sizes, ""], f"{caption}; {board.macro_rule(display)}"
    mask = masking()  # before anything is escaped: HF_TOKEN's underscore is not what it was
    notes = list(dict.fromkeys(row.remark for row in board.rows if row.remark))
    alike = Counter(row.label for row in board.rows)
    rows = [
        (
            mask(_label(row, alike)),
            ["–" if cell == "-" else cell for cell in cells_of(board, row)],
            notes.index(row.remark) + 1 if row.remark else None,
        )
        for row in board.rows
    ]
    return _Table([*map(mask, titles)], sizes, rows, [*map(mask, notes)], mask(caption))


def _label(row: Row, alike: Mapping[str, int]) -> str:
    """The readable name; with the other one where several experiments have the same."""
    return row.label if alike[row.label] == 1 else f"{row.label} ({row.experiment})"


def _in_markdown(text: str) -> str:
    return " ".join(text.split()).translate(_MARKDOWN)


def _in_latex(text: str) -> str:
    """Escaped; two hyphens stay two, and are no dash."""
    return " ".join(text.split()).translate(_LATEX).replace("--", "-{}-").replace("–", "--")


def _first_in_latex(text: str) -> str:
    """The first cell of a row: after the end of the one before, a bracket or an asterisk would be an option of that."""
    return ("{}" if text.startswith(("[", "*")) else "") + _in_latex(text)


def _value_in_latex(cell: str) -> str:
    """A value and its interval, a size smaller: the eye finds the values first."""
    value, blank, rest = cell.partition(" ")
    return f"{_in_latex(value)} & {{\\footnotesize {_in_latex(rest)}}}" if blank else f"{_in_latex(value)} & "


def _over_two(text: str) -> str:
    return rf"\multicolumn{{2}}{{c}}{{{text}}}" if text else " & "


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
