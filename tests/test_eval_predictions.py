"""How an output becomes a prediction, and predictions become numbers: what has no answer is wrong and is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval.predictions import Prediction, judge, write_predictions
from eval.summary import require_output, summarise
from inference.engine import FinishReason, Generation
from inference.formats import FORMATS
from registry.errors import StageFailure
from registry.schema import FormatName
from tests.stages import row

FREE: dict[str, Any] = {"options": None, "answer_idx": None, "answer": "Rheumatic fever"}


def prediction(
    text: str, name: FormatName = "huatuo", reason: FinishReason = "stop", number: int = 1, **changes: Any
) -> Prediction:
    error = "the prompt leaves no room" if reason == "error" else None
    asked = row(number, **changes)
    return judge(asked, [], Generation(asked.id, 0, text, reason, 40, 7, error), FORMATS[name])


@pytest.mark.parametrize(
    ("text", "name", "extracted", "correct"),
    [
        ("## Thinking\n\nNot A.\n\n## Final Response\n\nThe answer is B. Prednisone", "huatuo", "B", True),
        ("## Thinking\n\nThe answer is B.\n\n## Final Response\n\nThe answer is C", "huatuo", "C", False),
        ("## Thinking\n\nThe answer is B. The answer is B.", "huatuo", None, False),
        ("<think>\nThe answer is B", "qwen", None, False),
        ("The answer is B", "huatuo", "B", True),
        ("I think of A or B.", "plain", None, False),
        ("The answer is F", "plain", None, False),
        ("", "plain", None, False),
    ],
)
def test_a_multiple_choice_output(text: str, name: FormatName, extracted: str | None, correct: bool) -> None:
    judged = prediction(text, name)
    assert (judged.extracted, judged.correct, judged.gold) == (extracted, correct, "B")
    assert judged.output == text
    assert (judged.extraction_method == "none") == (extracted is None)


@pytest.mark.parametrize(
    ("text", "extracted", "correct"),
    [
        ("<think>\nScarlet fever?\n</think>\n\nRheumatic fever.", "Rheumatic fever.", True),
        ("<think>\nRheumatic fever.\n</think>\n\nScarlet fever", "Scarlet fever", False),
        ("<think>\nRheumatic fever.", None, False),
        ("", None, False),
    ],
)
def test_a_free_text_output(text: str, extracted: str | None, correct: bool) -> None:
    judged = prediction(text, "qwen", **FREE)
    assert (judged.extracted, judged.correct, judged.gold) == (extracted, correct, "Rheumatic fever")


def test_the_numbers_of_a_benchmark() -> None:
    summary = summarise(
        [
            prediction("The answer is B", number=1),
            prediction("The answer is C", number=2),
            prediction("Well", reason="length", number=3),
            prediction(" \n", number=4),
            prediction("", reason="error", number=5),
        ]
    )
    low, high = summary.pop("accuracy_ci")
    assert 0 < low < 0.2 < high < 1
    assert summary == {
        "accuracy": 0.2,
        "num_correct": 1,
        "total_examples": 5,
        "num_questions": 5,
        "unanswered": 3,
        "empty": 1,
        "errors": 1,
        "truncated": 1,
        "completion_tokens": 35,
    }


def test_repeats_of_a_question_are_not_new_evidence() -> None:
    once = summarise([prediction("The answer is B", number=n) for n in range(5)])
    thrice = summarise([prediction("The answer is B", number=n, occurrence=k) for n in range(5) for k in range(3)])
    assert (thrice["total_examples"], thrice["num_questions"]) == (15, 5)
    assert thrice["accuracy_ci"] == once["accuracy_ci"]


def test_nothing_but_empty_outputs_and_errors_is_a_failure_and_not_a_score() -> None:
    broken = [prediction(" ", number=1), prediction("", reason="error", number=2)]
    with pytest.raises(StageFailure, match=r"e: all 2 outputs are empty or errors \(1 errors\).*leaves no room"):
        require_output(broken, "e")
    require_output([*broken, prediction("no idea", number=3)], "e")


def test_predictions_are_written_sorted_and_whole(tmp_path: Path) -> None:
    made = [prediction("Σ is B", number=n, source=s) for s in ("b", "a") for n in range(3)]
    write_predictions(made, tmp_path / "p.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["source"], line["id"]) for line in lines] == sorted((p.source, p.id) for p in made)
    assert "Σ is B" in (tmp_path / "p.jsonl").read_text(encoding="utf-8")
    write_predictions(made[::-1], tmp_path / "q.jsonl")
    assert (tmp_path / "q.jsonl").read_bytes() == (tmp_path / "p.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl", "q.jsonl"]
