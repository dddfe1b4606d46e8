"""The questions of every benchmark, once for all runs: a table that grows with each run, and its data files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plotting.predictions import lines_of
from plotting.report.answers import CHUNK, Answers
from plotting.report.scripts import write_data

_GOLD = 4
"""Where the gold answer stands in a row."""


@dataclass
class Questions:
    """The questions of one benchmark: the row of each id, its gold answer, and the rows as they are written."""

    row_of: dict[str, int] = field(default_factory=dict)
    golds: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)

    def add(self, rows: Mapping[str, list[Any]]) -> None:
        """Add rows by id."""
        for name, row in rows.items():
            self.row_of[name] = len(self.rows)
            self.golds.append(row[_GOLD])
            self.rows.append(row)

    def lack(self, answers: Answers) -> bool:
        """Whether the answers are to a question that is not there."""
        return any(one not in self.row_of for one in answers.ids)

    def rows_of(self, answers: Answers) -> list[int]:
        """The row of each answer's question."""
        return [self.row_of[one] for one in answers.ids]

    def other_golds(self, answers: Answers, rows: Sequence[int]) -> dict[str, str] | None:
        """The gold answers of a run that differ from the table's, by the answer's index; null where none does."""
        pairs = enumerate(zip(answers.golds, rows, strict=True))
        return {str(index): gold for index, (gold, row) in pairs if gold != self.golds[row]} or None


def add_questions(tables: dict[str, Questions], path: Path) -> None:
    """Add those questions of a file of predictions that the tables, by benchmark, do not have; all of them or none.

    Raises `TypeError` for options that are none.
    """
    new: dict[str, dict[str, list[Any]]] = {source: {} for source in tables}
    for line in lines_of(path):
        source, name = line["source"], line["id"]
        if source in tables and name not in tables[source].row_of and name not in new[source]:
            new[source][name] = _row(line)
    for source, rows in new.items():
        tables[source].add(rows)


def _row(line: Mapping[str, Any]) -> list[Any]:
    options = line.get("options") or {}
    if not isinstance(options, Mapping):
        raise TypeError(f"the options of {line['id']} are not texts by letter")
    listed = [[letter, text] for letter, text in options.items()]
    return [line["id"], line["question_id"], line.get("question"), listed, line["gold"], line.get("specialty")]


def write_questions(report: Path, number: int, table: Questions) -> None:
    """Write the questions of the benchmark with this number."""
    for start in range(0, len(table.rows), CHUNK):
        write_data(report, f"questions/b{number}/{start // CHUNK}", table.rows[start : start + CHUNK])
