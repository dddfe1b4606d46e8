"""The questions of an evaluation as they are put to the model: one queue over all benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from data.rows import Row
from eval.benchmarks import Benchmark
from eval.few_shot import solved_questions
from inference.engine import Request
from inference.formats import ChatFormat
from inference.prompts import Messages, conversation, system_prompt, user_message
from registry.effective import EffectiveConfig
from registry.errors import UsageError, suggestion
from registry.schema import PromptStyle


@dataclass(frozen=True)
class Question:
    """One row of a benchmark, and the request that asks it: as many answers as the benchmark has repetitions."""

    benchmark: Benchmark
    row: Row
    request: Request


def questions_of(
    benchmarks: Mapping[str, Benchmark], config: EffectiveConfig, chat_format: ChatFormat
) -> list[Question]:
    """Every question of every benchmark, in order; `UsageError` for repetitions of a benchmark that is not there."""
    _check_repetitions(benchmarks, config)
    system = system_prompt(chat_format, config.model.system_prompt)
    shots = _shots(benchmarks, config, chat_format)
    return [
        Question(benchmark, row, request)
        for benchmark in benchmarks.values()
        for row, request in _requests(benchmark, config, system, shots)
    ]


def _requests(
    benchmark: Benchmark, config: EffectiveConfig, system: str | None, shots: Messages
) -> Iterator[tuple[Row, Request]]:
    repetitions = config.eval.repetitions_of(benchmark.name)
    for row in benchmark.rows:
        user = user_turn(benchmark, row, config.prompting)
        yield row, Request(row.id, conversation(user, system, shots), n=repetitions)


def user_turn(benchmark: Benchmark, row: Row, style: PromptStyle) -> str:
    """What the user says: the benchmark's own prompt if it has one, else question, options and instruction."""
    if benchmark.plugin is not None and benchmark.plugin.prompt is not None:
        return benchmark.plugin.prompt(row)
    return user_message(row.question, row.choices, style, benchmark.task)


def _shots(benchmarks: Mapping[str, Benchmark], config: EffectiveConfig, chat_format: ChatFormat) -> Messages:
    if config.eval.few_shot is None:
        return ()
    assert config.few_shot_dataset is not None
    if chat_format.opening:
        raise UsageError(
            f"{config.experiment}: eval.few_shot shows answers without a thinking, and the format {chat_format.name} "
            "has one; few-shot is for models that answer at once"
        )
    asked = {row.question_id for benchmark in benchmarks.values() for row in benchmark.rows}
    return solved_questions(config.eval.few_shot, config.few_shot_dataset, asked, config.prompting, config.eval.seed)


def _check_repetitions(benchmarks: Mapping[str, Benchmark], config: EffectiveConfig) -> None:
    if isinstance(config.eval.repetitions, dict):
        for name in config.eval.repetitions:
            if name not in benchmarks:
                raise UsageError(
                    f"{config.experiment}: eval.repetitions names the benchmark {name!r}, which is not among "
                    f"{', '.join(benchmarks)}; {suggestion(name, benchmarks)}"
                )
