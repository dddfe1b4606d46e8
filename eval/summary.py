"""Numbers of an evaluation, per benchmark. Every question counts: what has no answer is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval.predictions import Prediction
from registry.errors import StageFailure
from scoring.accuracy import accuracy_of


def summarise(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Summarise one benchmark: accuracy with its interval, and how often there was no answer and why.

    `unanswered` counts every prediction without an extracted answer; `empty` (no text), `errors` (not generated) and
    `truncated` (cut at the token limit) say where these come from and may overlap with it only in part.
    """
    accuracy = accuracy_of([p.correct for p in predictions], [p.question_id for p in predictions])
    return {
        "accuracy": accuracy.accuracy,
        "accuracy_ci": list(accuracy.ci),
        "num_correct": accuracy.num_correct,
        "total_examples": accuracy.n,
        "num_questions": accuracy.n_clusters,
        "unanswered": sum(p.extracted is None for p in predictions),
        "empty": sum(_is_empty(p) for p in predictions),
        "errors": sum(p.finish_reason == "error" for p in predictions),
        "truncated": sum(p.finish_reason == "length" for p in predictions),
        "completion_tokens": sum(p.completion_tokens for p in predictions),
    }


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
