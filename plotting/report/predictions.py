"""All predictions that are on this machine, into the report's data; one process for each of two experiments at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from plotting.report.answers import Answers, Task, naming_fields, read_or_problem
from plotting.report.questions import Questions, add_questions, write_questions
from plotting.report.runs import Marks, marks_of, run_data
from plotting.report.scripts import write_data
from plotting.runs import Run
from registry.errors import Meds1Error, MissingError


@dataclass
class Predictions:
    """What is kept of them: marks and counts of failure modes, by experiment and benchmark; why others have none.

    `warnings` are about files that are here and cannot be read.
    """

    marks: dict[str, dict[str, Marks]] = field(default_factory=dict)
    failures: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def write_predictions(
    runs: Sequence[Run], numbered: Mapping[str, int], report: Path, pool: Executor, done: Callable[[], object]
) -> Predictions:
    """Write the data of all predictions; `done` is called after each experiment."""
    found, tables = Predictions(), {source: Questions() for source in numbered}
    waiting = {}
    for run in runs:
        try:
            path = run.needed("eval", "predictions_path")
        except MissingError as error:
            found.absent[run.experiment] = str(error)
            done()
        else:
            task = Task(run.experiment, path, report, numbered)
            waiting[pool.submit(read_or_problem, task)] = task
    for future in list(waiting):  # in the order of the runs, so that equal predictions give equal files
        task, read = waiting.pop(future), future.result()
        try:
            if isinstance(read, Meds1Error):
                raise read
            _take(task, read, found, tables)
        except Meds1Error as error:
            found.absent[task.experiment] = f"{task.experiment}: {error}"
            found.warnings.append(found.absent[task.experiment])
            shutil.rmtree(report / "data/answers" / task.experiment, ignore_errors=True)  # what was read before
        done()
    for source, table in tables.items():
        write_questions(report, numbered[source], table)
    return found


def _take(task: Task, read: Mapping[str, Answers], found: Predictions, tables: dict[str, Questions]) -> None:
    with naming_fields(task.path):
        if any(tables[source].lack(answers) for source, answers in read.items()):
            add_questions(tables, task.path)
    write_data(task.report, f"runs/{task.experiment}", run_data(read, tables))
    found.marks[task.experiment] = {source: marks_of(answers) for source, answers in read.items()}
    found.failures[task.experiment] = {source: answers.failure_counts() for source, answers in read.items()}
