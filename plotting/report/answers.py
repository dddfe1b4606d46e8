"""One experiment's predictions, streamed from its file into data files; what is kept of them in memory is small.

Runs in a process of its own for each experiment: nothing but values goes in and out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plotting.predictions import Answered, answered, largest_budget, lines_of
from plotting.report.scripts import write_data
from registry.errors import Meds1Error, StageFailure

CHUNK = 200
"""How many answers, or questions, are in one data file."""
_MARKS = 120
"""An output has at most this many characters that are neither thinking nor answer: headings and markers of thinking."""


@dataclass
class Answers:
    """The answers of one run to one benchmark, in the file's order; `prompts` are digests of prompts."""

    ids: list[str] = field(default_factory=list)
    question_ids: list[str] = field(default_factory=list)
    prompts: list[bytes] = field(default_factory=list)
    repetitions: list[int] = field(default_factory=list)
    budgets: list[int | None] = field(default_factory=list)
    correct: bytearray = field(default_factory=bytearray)
    extracted: list[str | None] = field(default_factory=list)
    golds: list[str] = field(default_factory=list)
    failures: list[str | None] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    reasoning_tokens: list[int | None] = field(default_factory=list)

    def add(self, answer: Answered) -> None:
        """Add one answer."""
        self.ids.append(answer.id)
        self.question_ids.append(answer.question_id)
        self.prompts.append(bytes.fromhex(answer.prompt_digest))
        self.repetitions.append(answer.repetition)
        self.budgets.append(answer.budget)
        self.correct.append(answer.correct)
        self.extracted.append(answer.extracted)
        self.golds.append(answer.gold)
        self.failures.append(answer.failure_mode)
        self.tokens.append(answer.completion_tokens)
        self.reasoning_tokens.append(answer.reasoning_tokens)

    def failure_counts(self) -> dict[str, int]:
        """How many of the answers that the benchmark's numbers are of are wrong in which way; most frequent first."""
        failures = (self.failures[index] for index in self.headline())
        return dict(Counter(failure for failure in failures if failure is not None).most_common())

    def headline(self) -> list[int]:
        """The places of the answers that the benchmark's accuracy is of; see `plotting.predictions.headline`."""
        largest = largest_budget(self.budgets)
        return [index for index, budget in enumerate(self.budgets) if budget == largest]


@dataclass(frozen=True)
class Task:
    """Read the predictions of `experiment` at `path`; `numbered` has the number of each benchmark of the report."""

    experiment: str
    path: Path
    report: Path
    numbered: Mapping[str, int]


@contextmanager
def naming_fields(path: Path) -> Iterator[None]:
    """Raise `StageFailure` where a field of a line is not there, or not what it should be."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise StageFailure(f"{path}: is no file of predictions of this project: {error}; copy it anew") from None


def read_answers(task: Task) -> dict[str, Answers]:
    """Write the texts of an experiment's answers; return the rest by benchmark.

    Raises `MissingError` or `StageFailure` for a file that cannot be read as predictions.
    """
    found: dict[str, Answers] = {}
    waiting: dict[str, list[dict[str, Any]]] = {}
    with naming_fields(task.path):
        for line in lines_of(task.path):
            answer = answered(line)
            if answer.source not in task.numbered:
                continue
            kept = found.setdefault(answer.source, Answers())
            kept.add(answer)
            chunk = waiting.setdefault(answer.source, [])
            chunk.append(_texts(line))
            if len(chunk) == CHUNK:
                _flush(task, answer.source, len(kept.ids), chunk)
    for source, chunk in waiting.items():
        if chunk:
            _flush(task, source, len(found[source].ids), chunk)
    return found


def read_or_problem(task: Task) -> dict[str, Answers] | Meds1Error:
    """`read_answers` for another process: what is wrong with the file is returned, since one bad file stops nothing."""
    try:
        return read_answers(task)
    except Meds1Error as error:
        return error


def _flush(task: Task, source: str, count: int, chunk: list[dict[str, Any]]) -> None:
    number = (count - 1) // CHUNK
    write_data(task.report, f"answers/{task.experiment}/b{task.numbered[source]}/{number}", chunk)
    chunk.clear()


def _texts(line: Mapping[str, Any]) -> dict[str, Any]:
    thinking, answer, output = line.get("thinking"), line["answer_text"], line["output"]
    told = answer in output and (thinking is None or thinking in output)
    rest = len(output) - len(answer) - len(thinking or "")
    return {
        "thinking": thinking,
        "answer": answer,
        "output": None if told and rest <= (_MARKS if thinking is not None else 0) else output,
        "method": line.get("extraction_method"),
        "finish": line.get("finish_reason"),
        "error": line.get("error"),
        "verdicts": line.get("verdicts") or None,
    }
