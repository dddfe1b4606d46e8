"""The model's answers to all questions: asked for now, or taken from stored predictions that are scored again.

All benchmarks and repetitions are one queue. With budgets of thinking every budget is a run over all questions in the
same opened engine. Every finished answer is kept at once, and a killed attempt asks only what is missing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.tokens import count_tokens
from eval.questions import Question
from inference.budget import ThinkingLimit, answer_within
from inference.engine import Generation, Sampling
from inference.formats import ChatFormat
from inference.journal import Asking
from registry.errors import MissingError, StageFailure
from registry.schema import EvalConfig

_STORED = ("finish_reason", "prompt_tokens", "completion_tokens", "error", "reasoning_tokens", "thinking_cut")
_Asked = tuple[str, str, int | None, int]
"""A benchmark, a prompt, a budget and the number of a repetition."""


@dataclass(frozen=True)
class Answer:
    """One answer to a question; its number among the repetitions is `generation.index`; `budget` may be null."""

    question: Question
    budget: int | None
    generation: Generation


def ask(questions: Sequence[Question], asking: Asking, settings: EvalConfig, chat_format: ChatFormat) -> list[Answer]:
    """Ask every question, for every budget of thinking."""
    requests = [question.request for question in questions]
    by_id = {question.request.id: question for question in questions}
    sampling = Sampling(settings.max_tokens, settings.temperature, settings.top_p, asking.spec.seed)
    answers: list[Answer] = []
    if settings.thinking is None:
        answers = [Answer(by_id[made.id], None, made) for made in asking.ask(requests, sampling)]
    else:
        for budget in settings.thinking.budgets:
            limit = ThinkingLimit(budget, settings.thinking.waits)
            made_within = answer_within(asking, requests, sampling, chat_format, limit)
            answers += [Answer(by_id[made.id], budget, made) for made in made_within]
    model = asking.spec.model
    return _with_reasoning_tokens(answers, chat_format, model if isinstance(model, Path) else None)


def _with_reasoning_tokens(answers: Sequence[Answer], chat_format: ChatFormat, model: Path | None) -> list[Answer]:
    """Count the tokens of each thinking with the model's tokenizer, unless a budget has counted them."""
    if model is None:
        return list(answers)
    thinking = [
        chat_format.split(answer.generation.text)[0] if answer.generation.reasoning_tokens is None else None
        for answer in answers
    ]
    counts = iter(count_tokens([text for text in thinking if text is not None], model))
    return [
        answer
        if text is None
        else replace(answer, generation=replace(answer.generation, reasoning_tokens=next(counts)))
        for answer, text in zip(answers, thinking, strict=True)
    ]


def stored(path: Path, questions: Sequence[Question], settings: EvalConfig) -> list[Answer]:
    """Return the answers that the predictions in `path` hold to the questions.

    A question is known by its benchmark and its prompt, and among rows that repeat it by its id, so that a corrected
    gold answer, which changes the id, may be scored. Raises `MissingError` when an answer is missing, because the
    prompt has changed, for instance.
    """
    kept: defaultdict[_Asked, dict[str, Generation]] = defaultdict(dict)
    for line in _lines(path):
        fields: dict[str, Any] = {field: line[field] for field in _STORED if field in line}
        generation = Generation(id=line["id"], index=line.get("repetition", 0), text=line["output"], **fields)
        asked = (line["source"], _text(line["prompt"]), line.get("budget"), generation.index)
        kept[asked][generation.id] = generation
    wanted = [
        (question, budget, kept[question.benchmark.name, _text(question.request.messages), budget, repetition])
        for budget in (settings.thinking.budgets if settings.thinking else (None,))
        for question in questions
        for repetition in range(question.request.n or 1)
    ]
    own = [found.pop(question.request.id, None) for question, _, found in wanted]
    answers = []
    for (question, budget, found), exact in zip(wanted, own, strict=True):
        made = exact or (found.pop(next(iter(found))) if found else None)
        if made is not None:
            answers.append(Answer(question, budget, replace(made, id=question.request.id)))
    missing = len(wanted) - len(answers)
    if missing:
        raise MissingError(
            f"{path}: has no answer to {missing} of {len(wanted)} questions as they are asked now; "
            "run the eval without --rescore"
        )
    return answers


def _text(messages: Sequence[Mapping[str, str]]) -> str:
    return json.dumps(list(messages), sort_keys=True)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                value: dict[str, Any] = json.loads(line)
                _ = value["id"], value["output"], value["prompt"], value["source"]
            except (ValueError, KeyError, TypeError) as error:
                raise StageFailure(f"{path}: line {number} is no prediction ({error}); run the eval again") from error
            yield value
