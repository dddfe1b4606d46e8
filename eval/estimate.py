"""What the model calls of an evaluation will come to, from the very prompts that it will send; nothing is asked.

Answers that an attempt has left behind are counted again, and so are judge calls about answers that will turn out empty
or, for the cause of mistakes, right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from eval.benchmarks import load_benchmarks
from eval.models import answer_format
from eval.questions import Question, questions_of
from inference.prompts import about_tokens
from registry.effective import EffectiveConfig
from registry.errors import MissingError
from registry.estimates import Called, CallEstimate, StageEstimate, priced
from registry.schema import JudgeConfig
from scoring.judging import RUBRICS, Material, judge_messages

ANSWER_TOKENS: Final = 500
VERDICT_TOKENS: Final = 120


def estimate(config: EffectiveConfig, shared: Path) -> StageEstimate:
    """Every use of a model in the eval of `config`; null numbers where its questions are not here."""
    called = Called("questions", config.model_key, config.model, config.eval.engine)
    judge = config.eval.judge
    try:
        benchmarks = load_benchmarks(config.eval_datasets, config.eval.limit)
        questions = questions_of(benchmarks, config, answer_format(config))
    except MissingError as error:
        uses = [called] if judge is None else [called, _judge(config, judge)]
        unknown = [priced(use, None, None, 0, 0) for use in uses]
        return StageEstimate(unknown, [f"unknown until its questions are here: {error}"])
    answers = _answers(config, called, questions)
    return StageEstimate([answers, *([] if judge is None else [_verdicts(config, judge, questions)])])


def _answers(config: EffectiveConfig, called: Called, questions: Sequence[Question]) -> CallEstimate:
    budgets = config.eval.thinking.budgets if config.eval.thinking else (0,)
    per_question = [question.request.n or 1 for question in questions]
    prompts = sum(
        n * about_tokens(question.request.messages) for n, question in zip(per_question, questions, strict=True)
    )
    calls = sum(per_question)
    thinking = sum(budgets) / len(budgets)
    answer = min(ANSWER_TOKENS, config.eval.max_tokens) + thinking
    return priced(called, len(questions), len(budgets) * calls, prompts / calls if calls else 0, answer)


def _judge(config: EffectiveConfig, judge: JudgeConfig) -> Called:
    assert config.judge_model is not None
    return Called("judge", judge.model_key, config.judge_model, judge.engine)


def _verdicts(config: EffectiveConfig, judge: JudgeConfig, questions: Sequence[Question]) -> CallEstimate:
    prompts = list(_verdict_prompts(config, judge, questions))
    mean = sum(prompts) / len(prompts) if prompts else 0
    return priced(_judge(config, judge), len(questions), len(prompts), mean, min(VERDICT_TOKENS, judge.max_tokens))


def _verdict_prompts(config: EffectiveConfig, judge: JudgeConfig, questions: Sequence[Question]) -> Iterator[float]:
    """The tokens of each verdict's prompt, the answer to be graded included."""
    answer = min(ANSWER_TOKENS, config.eval.max_tokens)
    for question in questions:
        row = question.row
        options = "".join(f"\n{letter}. {text}" for letter, text in row.choices)
        material = Material(row.question + options, row.gold.text if row.gold else row.answer, "")
        for name in judge.rubrics:
            if name != "report" or not row.options:  # a letter has no quality
                tokens = about_tokens(judge_messages(RUBRICS[name], material)) + answer
                yield from [tokens] * (question.request.n or 1)
