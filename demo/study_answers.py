"""What the invented models answer, judged and counted by eval's own functions: all numbers are those it would give."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

from data.rows import Row
from demo.study_experiments import Invented
from eval.answers import Answer
from eval.benchmarks import Benchmark
from eval.models import answer_format
from eval.predictions import gold_of, judge, write_predictions
from eval.questions import Question, questions_of
from eval.stage import PREDICTIONS, RESULTS
from eval.summary import details, headline, summarise
from inference.engine import FinishReason, Generation
from inference.formats import ChatFormat
from registry.effective import EffectiveConfig

WITH_ODD_ANSWERS = frozenset({"random-1k", "s1-1k"})
# How much of whether an answer is right lies in the question, the same for all models: what makes tests paired.
_SHARED = 0.8
_HARDER = {"medical-mcq-2": 0.05, "medical-free-text": 0.1}
_LOSS = {256: 0.12, 1024: 0.06, 4096: 0.0}
_WORDS = {256: 150, 1024: 480, 4096: 1200}
_TOKENS_PER_WORD = 4 / 3
_SENTENCES = (
    "Let me go through what is asked, one point after the other.",
    "The name of the drug says little, so its class has to be recalled.",
    "{option} was reported for a similar compound, but at another dose.",
    "If it were {option}, the course would have been slower.",
    "The age of the patient does not change this.",
    "{option} would need a drug of another class.",
    "What came before the drug was given cannot be its effect.",
    "Wait, is {option} not what the same class causes in children?",
    "Nothing in the history speaks for {option}.",
    "So the class decides, and with it the effect.",
)

Made = tuple[str, FinishReason]


def evaluate(
    invented: Invented, config: EffectiveConfig, loaded: Mapping[str, Benchmark], run_dir: Path
) -> dict[str, Any]:
    """Write predictions and results into `run_dir` as the eval stage does; returns its metrics.

    `loaded` has every benchmark of the config by name, whole.
    """
    chat_format = answer_format(config)
    benchmarks = {
        name: replace(benchmark, rows=benchmark.rows[: config.eval.limit])
        for name, benchmark in loaded.items()
        if benchmark.key in config.eval_datasets
    }
    questions = questions_of(benchmarks, config, chat_format)
    hardness = {key: z for benchmark in loaded.values() for key, z in _hardness(benchmark).items()}
    predictions = [
        judge(answer, chat_format) for answer in _answers(_Asked(invented, config, chat_format, hardness), questions)
    ]
    by_benchmark = {name: [p for p in predictions if p.source == name] for name in benchmarks}
    summary = {name: summarise(benchmarks[name], found, chat_format) for name, found in by_benchmark.items()}
    tables = {name: details(benchmarks[name], headline(found)) for name, found in by_benchmark.items()}
    write_predictions(predictions, run_dir / PREDICTIONS)
    (run_dir / RESULTS).write_text(json.dumps({"summary": summary, "details": tables}, indent=2, ensure_ascii=False))
    return {
        "benchmarks": summary,
        "engine": config.eval.engine,
        "limit": config.eval.limit,
        "format": chat_format.name,
        "prompting": config.prompting,
        "rescored": False,
        "seconds": round(sum(p.completion_tokens for p in predictions) / 900, 1),
    }


@dataclass(frozen=True)
class _Asked:
    """An invented model, and how hard each question is for any model (standard normal, by question id)."""

    invented: Invented
    config: EffectiveConfig
    chat_format: ChatFormat
    hardness: Mapping[str, float]


def _hardness(benchmark: Benchmark) -> dict[str, float]:
    """Evenly spread over the questions, so that few of them are not harder than many by chance."""
    ids = sorted({row.question_id for row in benchmark.rows})
    random.Random(benchmark.name).shuffle(ids)
    return {key: NormalDist().inv_cdf((rank + 0.5) / len(ids)) for rank, key in enumerate(ids)}


def _answers(asked: _Asked, questions: Sequence[Question]) -> Iterator[Answer]:
    budgets = asked.config.eval.thinking.budgets if asked.config.eval.thinking else (None,)
    odd = _odd_rows(asked.invented, questions)
    for budget in budgets:
        for question in questions:
            for index in range(question.request.n or 1):
                # The same draws for all budgets: more thinking never makes an answer wrong.
                rng = random.Random(f"{asked.invented.name} {question.row.id} {index}")
                made = odd.get(question.row.id) or _made(asked, question, budget, rng)
                yield Answer(question, budget, _generation(asked, question, budget, index, made))


def _generation(asked: _Asked, question: Question, budget: int | None, index: int, made: Made) -> Generation:
    text, finish = made
    thinking = _tokens(asked.chat_format.split(text)[0] or "")
    prompt = sum(_tokens(message["content"]) for message in question.request.messages)
    is_cut = budget is not None and thinking >= budget - 1
    return Generation(
        id=question.row.id,
        index=index,
        text=text,
        finish_reason=finish,
        prompt_tokens=prompt,
        completion_tokens=_tokens(text) + 1,
        reasoning_tokens=budget if is_cut else thinking,
        thinking_cut=is_cut,
    )


def _tokens(text: str) -> int:
    return round(len(text.split()) * _TOKENS_PER_WORD)


def _is_right(asked: _Asked, question: Question, budget: int | None, rng: random.Random) -> bool:
    """A Gaussian copula: right with the wanted chance, and models agree on which questions are hard."""
    loss = _LOSS[budget] if budget else 0.0
    wanted = asked.invented.skill - _HARDER.get(question.benchmark.name, 0.0) - loss
    hard = asked.hardness[question.row.question_id]
    return _SHARED**0.5 * hard + (1 - _SHARED) ** 0.5 * rng.gauss() < NormalDist().inv_cdf(wanted)


def _made(asked: _Asked, question: Question, budget: int | None, rng: random.Random) -> Made:
    given = _given(question.row, _is_right(asked, question, budget, rng), rng)
    words = _WORDS[budget] if budget else asked.invented.words
    thinking = _thinking(question.row, round(words * rng.lognormvariate(0, 0.4)), rng)
    if budget:
        thinking = " ".join(thinking.split()[: round(budget / _TOKENS_PER_WORD)])
    chat_format = asked.chat_format
    if rng.random() < asked.invented.unanswered:
        return chat_format.opening + thinking + " And then again, and again", "length"
    if not chat_format.opening:
        return f"{thinking}\n\nThe answer is {given}.".strip(), "stop"
    return chat_format.completion(thinking, f"The answer is {given}."), "stop"


def _given(row: Row, is_right: bool, rng: random.Random) -> str:
    if not row.options:
        return row.answer if is_right else f"{rng.choice('bdgk')}{rng.choice('aeiou')}{row.answer[2:]}"
    others = [option for option in row.options if option.letter != row.answer_idx]
    option = next(o for o in row.options if o.letter == row.answer_idx) if is_right else rng.choice(others)
    return f"{option.letter}. {option.text}"


def _thinking(row: Row, words: int, rng: random.Random) -> str:
    options = [option.text for option in row.options] or ["another class"]
    sentences: list[str] = []
    count = 0
    while count < words:
        sentence = rng.choice(_SENTENCES).format(option=rng.choice(options))
        sentences.append(sentence)
        count += sentence.count(" ") + 1
    return " ".join(sentences)


def _odd_rows(invented: Invented, questions: Sequence[Question]) -> dict[str, Made]:
    """Outputs that whoever shows predictions must survive, for the last rows of the first benchmark."""
    if invented.name not in WITH_ODD_ANSWERS:
        return {}
    made = odd_outputs()
    rows = [question.row for question in questions if question.benchmark.name == "medical-mcq"][-len(made) :]
    return {
        row.id: (text.replace("GOLD", gold_of(row)), finish) for row, (text, finish) in zip(rows, made, strict=True)
    }


def odd_outputs() -> list[Made]:
    """Markup, scripts, broken layouts, other scripts of the world, and outputs without an answer."""
    think, answer = "## Thinking\n\n", "\n\n## Final Response\n\nThe answer is GOLD."
    whole: list[Made] = [
        (f"{think}{text}{answer}", "stop")
        for text in (
            "<script>alert(1)</script> is no effect of a drug.",
            "</textarea><img src=x onerror=alert(1)> nor is this.",
            "**bold that never ends, a [link](javascript:alert(1)) and a table |a|b\n|--\n```python\nprint('open'",
            "<div><b>an unclosed <i>tag</div> &lt;b&gt; &amp;amp; <!-- a comment",
            "control\x01 characters\x07\x1b[31m red \x7f and \u202e backwards \u2028 lines",
            "المريض يتناول الدواء منذ أسبوع، والتأثير المتوقع معروف.",
            "患者服用该药物一周，预期的效果是已知的。因此答案很明确。",
        )
    ]
    return [
        *whole,
        (think + "and so on " * 3_000, "length"),
        ("", "stop"),
        (f"{think}No option convinces.\n\n## Final Response\n\nI cannot decide.", "stop"),
        (f"{think}The answer is GOLD, I think, but let me look again", "length"),
    ]
