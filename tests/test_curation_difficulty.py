"""The difficulty filter's judgement, on answers of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from curation.difficulty import UNJUDGED, is_right, judge, outside
from curation.ledger import open_ledger
from inference.engine import FinishReason, Generation
from registry.curation_schema import DifficultyConfig
from tests.stages import row

RIGHT, WRONG = "The answer is B", "The answer is C"
EASY, HARD = "too easy: the base model's pass rate is over", "too hard: the base model's pass rate is under"


def answers(*texts: str, reason: FinishReason = "stop") -> list[Generation]:
    return [Generation("x", index, text, reason, 10, 5) for index, text in enumerate(texts)]


ERROR = [Generation("x", 0, "", "error", 600, 0, "the prompt leaves no room")]
GIVEN = {
    "right": answers(RIGHT, RIGHT),
    "half": answers(RIGHT, WRONG),
    "wrong": answers(WRONG, WRONG),
    "silent": answers("", ""),
    "cut off": answers("Let me think", "Hm", reason="length"),
    "error": ERROR,
}
ROWS = {name: row(number) for number, name in enumerate(GIVEN)}
LEDGER = open_ledger(list(ROWS.values()), [100] * len(ROWS))


def removed(**config: Any) -> dict[str, str]:
    settings = DifficultyConfig(samples=2, temperature=0.7, **config)
    judgement = judge(LEDGER, {ROWS[name].id: given for name, given in GIVEN.items()})
    named = {each.id: name for name, each in ROWS.items()}
    return {named[row_id]: reason for row_id, reason in outside(LEDGER, judgement, settings).items()}


def test_counts() -> None:
    judgement = judge(LEDGER, {ROWS[name].id: given for name, given in GIVEN.items()})
    assert judgement.pass_rates == {
        ROWS[name].id: rate
        for name, rate in {"right": 1.0, "half": 0.5, "wrong": 0.0, "silent": 0.0, "cut off": 0.0}.items()
    }
    assert judgement.metrics == {
        "judged": 5,
        "unjudged": 1,
        "right": 2,
        "mean_pass_rate": 0.3,
        "empty_answers": 2,
        "truncated_answers": 2,
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"right": f"{EASY} 0", "half": f"{EASY} 0", "error": UNJUDGED}),
        ({"unjudged": "keep"}, {"right": f"{EASY} 0", "half": f"{EASY} 0"}),
        (
            {"pass_rate": (0.25, 0.75)},
            {
                "right": f"{EASY} 0.75",
                "wrong": f"{HARD} 0.25",
                "silent": f"{HARD} 0.25",
                "cut off": f"{HARD} 0.25",
                "error": UNJUDGED,
            },
        ),
        ({"pass_rate": (0.0, 1.0)}, {"error": UNJUDGED}),
    ],
)
def test_what_is_kept(config: dict[str, Any], expected: dict[str, str]) -> None:
    assert removed(**config) == expected


def test_an_answer_is_judged_by_its_letter_or_without_options_by_its_text() -> None:
    assert is_right(row(1), "B")
    assert not is_right(row(1), "It may be A or B.")
    free = row(1, options=None, answer_idx=None, answer="Rheumatic fever")
    assert is_right(free, "The diagnosis is rheumatic fever.")
    assert not is_right(free, "The diagnosis is scarlet fever.")


def test_rows_that_share_a_question_are_judged_by_their_own_gold_answers() -> None:
    one, other = row(1, "B"), row(1, "C", occurrence=9)
    assert one.question_id == other.question_id
    judgement = judge(open_ledger([one, other], [1, 1]), {each.id: answers(RIGHT) for each in (one, other)})
    assert judgement.pass_rates == {one.id: 1.0, other.id: 0.0}
