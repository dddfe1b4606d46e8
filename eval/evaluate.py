"""Evaluate anything that answers a question, from Python: the same benchmarks, extraction and numbers as the stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eval.answers import Answer
from eval.benchmarks import load_benchmarks
from eval.predictions import Prediction, judge
from eval.questions import Question, user_turn
from eval.summary import summarise
from inference.engine import Generation, Request
from inference.formats import FORMATS
from inference.progress import track
from inference.prompts import conversation
from registry.fields import FormatName
from registry.schema import PromptStyle
from registry.store import open_registry


class Generates(Protocol):
    """Anything that answers: a prompt in, the whole output out."""

    def generate(self, question: str) -> str:
        """Return the output for one prompt, which holds the question and its options."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """The numbers by benchmark, as in `eval_results.json`, and every prediction."""

    summary: Mapping[str, Mapping[str, Any]]
    predictions: tuple[Prediction, ...]


def evaluate(
    model: Generates,
    datasets: Sequence[str],
    *,
    prompting: PromptStyle = "plain",
    answer_format: FormatName = "plain",
    limit: int | None = None,
    registry: Path | None = None,
) -> Evaluation:
    """Ask `model` every question of the catalog's eval data sets `datasets`, one after the other.

    `limit` takes the first questions of each benchmark. What `generate` raises ends the evaluation. Raises `UsageError`
    or `MissingError` for a data set that is unknown, not here, or without gold answers.
    """
    opened = open_registry(registry)
    benchmarks = load_benchmarks({key: opened.eval_dataset(key) for key in datasets}, limit)
    questions = {
        row.id: Question(benchmark, row, Request(row.id, conversation(user_turn(benchmark, row, prompting), None)))
        for benchmark in benchmarks.values()
        for row in benchmark.rows
    }
    chat_format = FORMATS[answer_format]
    made = track(_answers(model, questions.values()), len(questions), type(model).__name__)
    predictions = [judge(Answer(questions[each.id], None, each), chat_format) for each in made]
    summary = {
        name: summarise(benchmark, [p for p in predictions if p.source == name], chat_format)
        for name, benchmark in benchmarks.items()
    }
    return Evaluation(summary, tuple(predictions))


def _answers(model: Generates, questions: Iterable[Question]) -> Iterator[Generation]:
    for question in questions:
        output = model.generate(question.request.messages[-1]["content"])
        yield Generation(question.row.id, 0, output, "stop", 0, 0)
