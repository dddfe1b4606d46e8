"""The quality filter: each rule removes what it should and nothing else; the first good copy of a question stays."""

from __future__ import annotations

from typing import Any

import pytest

from curation.ledger import open_ledger
from curation.quality import CONCLUSION_CHARACTERS, missing_fields, poor_quality
from data.rows import Row
from registry.filter_schema import QualityConfig
from tests.stages import row

CONFIG = QualityConfig(truncation_tokens=(1024, 2048), max_tokens=4000)


def quality_reason(candidate: Row, tokens: int = 100) -> str | None:
    return poor_quality(open_ledger([candidate], [tokens]), CONFIG).get(candidate.id)


def missing_reason(candidate: Row) -> str | None:
    return missing_fields(open_ledger([candidate], [100])).get(candidate.id)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"question": ""}, "missing question"),
        ({"answer": ""}, "missing answer"),
        ({"reasoning": ""}, "missing reasoning"),
        ({"question": "", "answer": "", "reasoning": ""}, "missing question and answer and reasoning"),
        ({"options": None, "answer_idx": None, "answer": "Prednisone"}, None),
        ({"specialty": None}, None),
        ({"reasoning": "\u200b \u2060\n"}, "missing reasoning"),
        ({"answer": "↑"}, None),
    ],
)
def test_rows_that_nothing_can_be_trained_on_are_named(changes: dict[str, Any], reason: str | None) -> None:
    assert missing_reason(row(1, **changes)) == reason


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (1023, None),
        (1024, "truncated at 1024 tokens"),
        (1025, None),
        (2048, "truncated at 2048 tokens"),
        (4000, None),
        (4001, "reasoning over 4000 tokens"),
    ],
)
def test_lengths(tokens: int, reason: str | None) -> None:
    assert quality_reason(row(1), tokens) == reason


NOT_AN_OPTION = "gold answer is not among the options"
CONTRADICTORY = "answer text contradicts the gold letter"
OTHER_CONCLUSION = "reasoning concludes another answer than the gold one"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"options": {"A": "Lisinopril", "B": "Prednisone", "C": "lisinopril "}}, "repeated options"),
        ({"options": {"A": "Lisinopril", "B": "Prednisone", "C": "Prednisone acetate"}}, None),
        ({"answer_idx": None}, NOT_AN_OPTION),
        ({"options": None, "answer_idx": None}, None),
        ({"answer": "B"}, None),
        ({"answer": "The answer is B. Prednisone"}, None),
        ({"answer": "Low-dose prednisone, because it suppresses the inflammation"}, None),
        ({"answer": "Lisinopril"}, CONTRADICTORY),
        ({"answer": "The answer is A"}, CONTRADICTORY),
        ({"answer": "Penicillin"}, CONTRADICTORY),
        ({"reasoning": "It cannot be A. The answer is B"}, None),
        ({"reasoning": "One may think that the answer is A, but the answer is B."}, None),
        ({"reasoning": "Prednisone helps. The answer is A"}, OTHER_CONCLUSION),
        ({"reasoning": "Drugs for such patients:\n\nLisinopril"}, None),
        ({"reasoning": "Only (A) remains to be discussed."}, None),
        ({"reasoning": "Both are given.\n\n\\boxed{A}"}, OTHER_CONCLUSION),
        ({"reasoning": "Both are given. Therefore, A."}, OTHER_CONCLUSION),
        ({"reasoning": "Both are given. Option A is correct."}, OTHER_CONCLUSION),
        ({"reasoning": "Both are given.\n\nFinal answer: A"}, OTHER_CONCLUSION),
        ({"reasoning": "Lisinopril lowers the blood pressure of such patients."}, None),
        ({"reasoning": "The answer is A. " + "On reflection nothing speaks for it. " * 20}, None),
        ({"options": None, "answer_idx": None, "reasoning": "The answer is A"}, None),
        ({"answer_idx": "B,C", "reasoning": "The answer is C"}, None),
        ({"answer_idx": "B,C", "reasoning": "The answer is D"}, OTHER_CONCLUSION),
        ({"reasoning": "I'm sorry, but I can't help with medical questions."}, "refusal"),
        ({"reasoning": "As an AI language model, I have no licence."}, "refusal"),
        ({"reasoning": "I cannot provide medical advice."}, "refusal"),
        ({"options": None, "answer_idx": None, "answer": "I’m unable to answer this."}, "refusal"),
        ({"reasoning": "Patient 1 has a cold. " * 20 + "She says: I'm sorry, but I cannot answer that."}, None),
        ({"reasoning": "The patient said 'I am sorry' to the nurse, who cannot help. The answer is B"}, None),
    ],
)
def test_each_rule_removes_what_it_should_and_nothing_else(changes: dict[str, Any], reason: str | None) -> None:
    assert quality_reason(row(1, **changes)) == reason


def test_only_the_end_of_a_reasoning_is_its_conclusion() -> None:
    wrong = "The answer is A. "
    filler = "Nothing else is known about it. " * 100
    assert quality_reason(row(1, reasoning=wrong + filler[:CONCLUSION_CHARACTERS])) is None
    assert quality_reason(row(1, reasoning=filler + wrong)) == OTHER_CONCLUSION


@pytest.mark.parametrize(
    ("reasoning", "answer", "contradicts"),
    [
        ("Nothing else fits. The answer is lisinopril.", "Prednisone", True),
        ("Nothing else fits.\n\n**Answer:** lisinopril", "Prednisone, because it suppresses the inflammation.", True),
        ("Nothing else fits: \\boxed{lisinopril}", "Prednisone", True),
        ("Nothing else fits. The answer is prednisone.", "Low-dose **Prednisone**", False),
        ("It must be an infectious disease, so the answer is bacterial infection.", "Infections of the skin", False),
        # What is doubted, about something else, or in a sentence of its own is no conclusion.
        ("One may think that the answer is lisinopril, but it is not.", "Prednisone", False),
        ("The most likely diagnosis is arthritis. We give something against the inflammation.", "Prednisone", False),
        ("The answer is that the body's own defence against its joints has to be suppressed for months", "Yes", False),
        ("The answer is no.", "Prednisone is not indicated", False),
        ("The answer is lisinopril. " + "On reflection nothing speaks for it. " * 20, "Prednisone", False),
        ("The answer is lisinopril. No, stop. The answer is prednisone.", "Prednisone", False),
    ],
)
def test_a_trace_without_options_must_not_conclude_another_answer(
    reasoning: str, answer: str, contradicts: bool
) -> None:
    candidate = row(1, options=None, answer_idx=None, reasoning=reasoning, answer=answer)
    assert quality_reason(candidate) == (OTHER_CONCLUSION if contradicts else None)
