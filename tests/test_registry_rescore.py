"""Which predictions may be scored again, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.errors import MissingError, UsageError
from registry.rescore import earlier_predictions

ASKED: dict[str, Any] = {"engine": "vllm", "max_tokens": 10, "temperature": 0.0, "limit": None, "judge": None}
INPUTS: dict[str, Any] = {
    "stage": "eval",
    "version": 1,
    "model": {"content": "m"},
    "prompting": "plain",
    "eval": ASKED,
    "datasets": {"exam": {"content": "d"}},
    "upstream": {"stage": "training", "fingerprint": "t"},
}


def entry(folder: Path, **changes: Any) -> dict[str, Any]:
    predictions = folder / "eval_predictions.jsonl"
    predictions.touch()
    return {"status": "completed", "predictions_path": str(predictions), "inputs": INPUTS, **changes}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"version": 2},
        {"datasets": {"exam": {"content": "a corrected gold answer"}}},
        {"eval": {**ASKED, "limit": 5}},
        {"eval": {**ASKED, "judge": {"rubrics": ["report"]}}, "judge_model": {"api_model": "x"}},
        {"eval": {**ASKED, "a_setting_of_a_newer_version": None}},
    ],
)
def test_what_only_scoring_depends_on_may_change(tmp_path: Path, change: dict[str, Any]) -> None:
    old = entry(tmp_path)
    assert earlier_predictions("e", old, {**INPUTS, **change}) == old["predictions_path"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": {"content": "other"}}, r'model.content "m" -> "other"'),
        ({"upstream": {"stage": "training", "fingerprint": "u"}}, "upstream training changed"),
        ({"prompting": "step"}, r'prompting "plain" -> "step"'),
        ({"eval": {**ASKED, "temperature": 0.5}}, "eval.temperature 0.0 -> 0.5"),
        ({"eval": {**ASKED, "few_shot": {"n": 3}}}, "eval.few_shot nothing -> "),
    ],
)
def test_what_the_answers_depend_on_may_not(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=f"e: its predictions cannot be scored again: {named}"):
        earlier_predictions("e", entry(tmp_path), {**INPUTS, **change})


@pytest.mark.parametrize("nothing", [{}, {"status": "failed"}, {"status": "completed", "predictions_path": None}])
def test_without_predictions_there_is_nothing_to_score(nothing: dict[str, Any]) -> None:
    with pytest.raises(MissingError, match="e: has no eval result with predictions that could be scored again"):
        earlier_predictions("e", nothing, INPUTS)


def test_predictions_that_are_elsewhere_are_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.jsonl")
    with pytest.raises(MissingError, match=r"e: its predictions .*gone\.jsonl are not on this machine"):
        earlier_predictions("e", entry(tmp_path, predictions_path=gone), INPUTS)
