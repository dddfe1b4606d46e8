"""The questions of every benchmark, once for all runs: a table that grows with each run, and its data files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plotting.predictions import lines_of
from plotting.report.answers import CHUNK, Answers
from plotting.report.scripts import write_data


@dataclass
class Questions:
    """The questions of one benchmark: the row of each id, its gold answer, and the rows as they are written."""

    row_of: dict[str, int] = field(default_factory=dict)
    golds: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)

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
    """Add those questions of a file of predictions that the tables, by benchmark, do not have."""
    for line in lines_of(path):
        table = tables.get(line["source"])
        if table is None or line["id"] in table.row_of:
            continue
        table.row_of[line["id"]] = len(table.rows)
        table.golds.append(line["gold"])
        options = [[letter, text] for letter, text in (line.get("options") or {}).items()]
        fields = (line["id"], line["question_id"], line.get("question"), options, line["gold"], line.get("specialty"))
        table.rows.append(list(fields))


def write_questions(report: Path, number: int, table: Questions) -> None:
    """Write the questions of the benchmark with this number."""
    for start in range(0, len(table.rows), CHUNK):
        write_data(report, f"questions/b{number}/{start // CHUNK}", table.rows[start : start + CHUNK])
