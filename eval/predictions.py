"""What a model answered, read and judged: one prediction per answer.

An answer from which nothing can be extracted is wrong and unanswered, never guessed. A thinking that was never
closed leaves no answer part, so letters inside it do not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.rows import Row
from eval.answers import Answer
from eval.benchmarks import Benchmark
from inference.formats import ChatFormat
from registry.durable import write_durably
from registry.errors import UsageError
from scoring.extraction import extract_choice
from scoring.failure_modes import FailureMode, failure_mode
from scoring.final_part import final_part
from scoring.free_text import text_matches
from scoring.labels import extract_labels
from scoring.numeric import number_matches, read_number
from scoring.rewards import accuracy_reward
from scoring.text_metrics import text_scores, yes_no_match


@dataclass(frozen=True)
class Prediction:
    """One line of `eval_predictions.jsonl`. `prompt` is the message list; token counts are 0 where there is none.

    `question` and `options` (letter -> text) are the row's, so that a file of predictions is a data set as well.

    `extracted` is a letter, letters joined by commas, or the answer text for a question without options; null when
    there is no answer. `repetition` counts from 0; `budget` is that of thinking, in tokens, and `thinking_cut` says
    that it was reached. `scores` has the metrics of a free-text answer by name, `failure_mode` why an answer is wrong,
    `verdicts` a judge's words by rubric.
    """

    id: str
    question_id: str
    source: str
    question: str
    options: Mapping[str, str]
    specialty: str | None
    repetition: int
    budget: int | None
    prompt: list[dict[str, str]]
    output: str
    thinking: str | None
    answer_text: str
    extracted: str | None
    extraction_method: str
    gold: str
    correct: bool
    failure_mode: FailureMode | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None
    thinking_cut: bool
    error: str | None
    scores: Mapping[str, float] = field(default_factory=dict)
    verdicts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What an answer says (null: nothing), how that was found, and whether it is right."""

    extracted: str | None
    method: str
    correct: bool


def judge(answer: Answer, chat_format: ChatFormat) -> Prediction:
    """Split, extract and compare one answer."""
    question, generation = answer.question, answer.generation
    row = question.row
    thinking, answer_text = chat_format.split(generation.text)
    failed = generation.finish_reason == "error"
    reading = Reading(None, "none", False) if failed else read(question.benchmark, row, answer_text)
    return Prediction(
        id=row.id,
        question_id=row.question_id,
        source=row.source,
        question=row.question,
        options=dict(row.choices),
        specialty=row.specialty,
        repetition=generation.index,
        budget=answer.budget,
        prompt=list(question.request.messages),
        output=generation.text,
        thinking=thinking,
        answer_text=answer_text,
        extracted=reading.extracted,
        extraction_method=reading.method,
        gold=gold_of(row),
        correct=reading.correct,
        failure_mode=None if reading.correct else _failure_mode(answer, answer_text, reading),
        finish_reason=generation.finish_reason,
        prompt_tokens=generation.prompt_tokens,
        completion_tokens=generation.completion_tokens,
        reasoning_tokens=generation.reasoning_tokens,
        thinking_cut=generation.thinking_cut,
        error=generation.error,
        scores=_scores(row, reading.extracted or "") if not row.options else {},
    )


def read(benchmark: Benchmark, row: Row, answer_text: str) -> Reading:
    """Return what the answer part says and whether that is right, by the benchmark's own rules where it has some."""
    plugin = benchmark.plugin
    if plugin is not None and plugin.extract is not None:
        extracted, method = plugin.extract(row, answer_text), "plugin"
    else:
        extracted, method = _extracted(benchmark, row, answer_text)
    if extracted is None:
        return Reading(None, "none", False)
    if benchmark.task == "labels":
        extracted = _label_set(benchmark, row, extracted)
    if plugin is not None and plugin.check is not None:
        return Reading(extracted, method, plugin.check(row, extracted))
    if row.options:
        return Reading(extracted, method, extracted == row.answer_idx)
    if benchmark.task == "number":
        return Reading(extracted, method, bool(number_matches(extracted, row.answer)))
    return Reading(extracted, method, text_matches(row.answer, extracted))


def _label_set(benchmark: Benchmark, row: Row, extracted: str) -> str:
    """Letters joined by commas, sorted; `UsageError` for what a plugin read that is no letter of the question."""
    letters = sorted({part.strip() for part in extracted.split(",")})
    unknown = [letter for letter in letters if letter not in dict(row.choices)]
    if unknown:
        raise UsageError(
            f"benchmark {benchmark.name}, row {row.id}: its plugin's extract returned {extracted!r}, in which "
            f"{unknown[0]!r} is no option's letter; return letters joined by commas"
        )
    return ",".join(letters)


def _extracted(benchmark: Benchmark, row: Row, answer_text: str) -> tuple[str | None, str]:
    options = row.choices
    if benchmark.task == "labels":
        found = extract_labels(answer_text, options)
        return (",".join(found.labels) if found.labels else None), found.method
    if options:
        choice = extract_choice(answer_text, options)
        return choice.letter, choice.method
    text = final_part(answer_text)
    if benchmark.task == "number" and read_number(text) is None:
        return None, "none"
    return (text, "text") if text else (None, "none")


def _failure_mode(answer: Answer, answer_text: str, reading: Reading) -> FailureMode:
    generation, row = answer.generation, answer.question.row
    options = row.choices
    return failure_mode(generation.text, answer_text, generation.finish_reason, reading.extracted, options)


def gold_of(row: Row) -> str:
    """The right answer: a letter, letters joined by commas, or a text."""
    return row.answer_idx if row.options and row.answer_idx else row.answer


def _scores(row: Row, extracted: str) -> dict[str, float]:
    """Every metric of a free-text answer; no answer scores worst in each."""
    scores = {**asdict(text_scores(extracted, row.answer)), "accuracy_reward": accuracy_reward(extracted, row.answer)}
    optional = {"number": number_matches(extracted, row.answer), "yes_no": yes_no_match(extracted, row.answer)}
    return scores | {name: float(value) for name, value in optional.items() if value is not None}


def write_predictions(predictions: Iterable[Prediction], path: Path) -> None:
    """Write JSONL sorted by benchmark, id, budget and repetition, so that two runs can be compared line by line."""
    ordered = sorted(predictions, key=lambda p: (p.source, p.id, p.budget or 0, p.repetition))
    lines = (json.dumps(asdict(prediction), ensure_ascii=False) + "\n" for prediction in ordered)
    write_durably(path, "".join(lines).encode())
