"""Numbers of an evaluation, per benchmark. Every answer counts: what says nothing is wrong."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from eval.benchmarks import Benchmark
from eval.flags import flags_of
from eval.predictions import Prediction
from inference.formats import ChatFormat
from registry.errors import StageFailure
from scoring.accuracy import accuracy_of
from scoring.bootstrap import mean_interval
from scoring.label_scores import confusion_table, label_scores
from scoring.numeric import counting_accuracy, read_number
from scoring.repetitions import repeated_scores
from scoring.rewards import Marks, format_reward
from scoring.text import tokens_of
from scoring.text_metrics import corpus_bleu

Summary = dict[str, Any]


def summarise(benchmark: Benchmark, predictions: Sequence[Prediction], chat_format: ChatFormat) -> Summary:
    """Summarise one benchmark; of several budgets of thinking the largest is its headline, and all stand in `budgets`.

    `unanswered` counts every prediction without an extracted answer; `empty` (no text), `errors` (not generated) and
    `truncated` (cut at the token limit) say where these come from and may overlap with it only in part.
    """
    last = headline(predictions)
    summary = {"task": benchmark.task, **_numbers(benchmark, last), **_repetitions(benchmark, last)}
    summary |= _metrics(benchmark, last, chat_format)
    budgets = sorted({p.budget for p in predictions if p.budget is not None})
    if budgets:
        by_budget = {budget: [p for p in predictions if p.budget == budget] for budget in budgets}
        summary["budgets"] = {str(budget): _numbers(benchmark, own) for budget, own in by_budget.items()}
    return summary


def headline(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The answers that a benchmark's numbers are of: all, or those of the largest budget of thinking."""
    largest = max((p.budget for p in predictions if p.budget is not None), default=None)
    return [p for p in predictions if p.budget == largest]


def details(benchmark: Benchmark, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What `eval_results.json` holds beside the summary: gold answers against given ones, and counts by method."""
    tables: dict[str, Any] = {
        "extraction_methods": _tally(p.extraction_method for p in predictions),
        "failure_modes": _tally(p.failure_mode for p in predictions if p.failure_mode),
        "repeated_rows": benchmark.n_repeated_rows,
    }
    if benchmark.task == "choice":
        tables["confusion"] = confusion_table([p.gold for p in predictions], [p.extracted for p in predictions])
    return tables


def _numbers(benchmark: Benchmark, predictions: Sequence[Prediction]) -> Summary:
    """Accuracy, counts, and what makes them suspect."""
    accuracy = accuracy_of([p.correct for p in predictions], [p.question_id for p in predictions])
    numbers = {
        "accuracy": accuracy.accuracy,
        "accuracy_ci": list(accuracy.ci),
        "accuracy_ci_method": accuracy.ci_method,
        "num_correct": accuracy.num_correct,
        "total_examples": accuracy.n,
        "num_questions": accuracy.n_clusters,
        "chance": _chance(benchmark),
        **_counts(predictions),
    }
    return {**numbers, "flags": flags_of(numbers)}


def _counts(predictions: Sequence[Prediction]) -> Summary:
    reasoning = [p.reasoning_tokens for p in predictions if p.reasoning_tokens is not None]
    return {
        "unanswered": sum(p.extracted is None for p in predictions),
        "empty": sum(_is_empty(p) for p in predictions),
        "errors": sum(p.finish_reason == "error" for p in predictions),
        "truncated": sum(p.finish_reason == "length" for p in predictions),
        "completion_tokens": sum(p.completion_tokens for p in predictions),
        "reasoning_tokens": sum(reasoning) if reasoning else None,
        "thinking_cut": sum(p.thinking_cut for p in predictions),
    }


def _chance(benchmark: Benchmark) -> float | None:
    """The accuracy of guessing one option at random; null where an answer is no single option."""
    if benchmark.task != "choice":
        return None
    return math.fsum(1 / len(row.options) for row in benchmark.rows) / len(benchmark.rows)


def _repetitions(benchmark: Benchmark, predictions: Sequence[Prediction]) -> Summary:
    """Numbers over repeated answers, by row; nothing where every row was answered once."""
    by_row: defaultdict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        by_row[prediction.id].append(prediction)
    if max(map(len, by_row.values())) == 1:
        return {}
    table = list(by_row.values())
    scores = repeated_scores(
        [[_vote(benchmark, p) for p in answers] for answers in table],
        [[p.correct for p in answers] for answers in table],
        [answers[0].question_id for answers in table],
    )
    majority = scores.majority_accuracy
    return {
        "repetitions": scores.repetitions,
        "mean_accuracy": scores.mean_accuracy.accuracy,
        "majority_vote": {"accuracy": majority.accuracy, "ci": list(majority.ci)},
        "pass_at_k": {str(k): {"mean": mean.mean, "ci": list(mean.ci)} for k, mean in scores.pass_at.items()},
    }


def _vote(benchmark: Benchmark, prediction: Prediction) -> str | None:
    """What an answer is a vote for: the same number, or the same words, however they are written."""
    if prediction.extracted is None or benchmark.task in ("choice", "labels"):
        return prediction.extracted
    if benchmark.task == "number":
        return str(read_number(prediction.extracted))
    return " ".join(tokens_of(prediction.extracted))


def _metrics(benchmark: Benchmark, predictions: Sequence[Prediction], chat_format: ChatFormat) -> Summary:
    """What a task has beside accuracy, and how often the layout that the model was trained to use was kept."""
    metrics: Summary = {}
    if chat_format.opening:
        marks = Marks((chat_format.opening.strip(), chat_format.closing.strip()))
        kept = [format_reward(p.output, marks) for p in predictions]
        metrics["format_reward"] = math.fsum(kept) / len(kept)
    if benchmark.task == "labels":
        labels = sorted({option.letter for row in benchmark.rows for option in row.options})
        given = [p.extracted.split(",") if p.extracted else None for p in predictions]
        metrics["labels"] = asdict(label_scores(given, [p.gold.split(",") for p in predictions], labels))
    if any(p.scores for p in predictions):
        metrics["text"] = _text_metrics(predictions)
    return metrics


def _text_metrics(predictions: Sequence[Prediction]) -> Summary:
    """The mean of every metric of free-text answers with its 95 % interval, corpus BLEU, and counting accuracy."""
    named = sorted({name for p in predictions for name in p.scores})
    texts, golds = [p.extracted or "" for p in predictions], [p.gold for p in predictions]
    means = {}
    for name in named:
        scored = [p for p in predictions if name in p.scores]
        bounds = (0.0, 100.0) if name == "sentence_bleu" else (0.0, 1.0)
        mean = mean_interval([p.scores[name] for p in scored], [p.question_id for p in scored], bounds=bounds)
        means[name] = {"mean": mean.mean, "ci": list(mean.ci), "n": mean.n}
    return {**means, "bleu": asdict(corpus_bleu(texts, golds)), "counting": asdict(counting_accuracy(texts, golds))}


def _tally(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def require_output(predictions: Sequence[Prediction], experiment: str) -> None:
    """Raise `StageFailure` when no question at all got any text: that is a broken model or set-up, not a score of 0."""
    if any(p.output.strip() and p.finish_reason != "error" for p in predictions):
        return
    errors = [p.error for p in predictions if p.finish_reason == "error"]
    first = f"; the first error: {errors[0]}" if errors else ""
    raise StageFailure(
        f"{experiment}: all {len(predictions)} outputs are empty or errors ({len(errors)} errors){first}; "
        "check the model folder, its chat template and max_length in config.json"
    )


def _is_empty(prediction: Prediction) -> bool:
    return prediction.finish_reason != "error" and not prediction.output.strip()
