"""Metrics of a benchmark: everything that an eval counts is found by name, and nothing is made of what is not there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from plotting.metrics import Measure, measure_of, measures, measures_by_budget, metric_of
from scoring.judging import FAILURE_MODES, REPORT, Verdict, count_levels, summarise_scores
from scoring.label_scores import label_scores
from scoring.numeric import counting_accuracy
from scoring.repetitions import repeated_scores
from scoring.text_metrics import corpus_bleu

ANSWERED = {"accuracy": 0.5, "accuracy_ci": [0.4, 0.6], "total_examples": 12, "num_questions": 4}


def verdict(level: int) -> Verdict:
    return Verdict({criterion.name: level for criterion in REPORT.criteria}, "why")


def test_a_value_says_how_many_answers_and_how_many_questions_it_is_of() -> None:
    accuracy = measures(ANSWERED)["accuracy"]

    assert accuracy == Measure(0.5, 12, 0.4, 0.6, 4)
    assert accuracy.size == "4, 12 answers"
    assert Measure(0.5, 12, questions=12).size == Measure(0.5, 12).size == "12"


def test_a_vote_and_any_of_k_are_of_items_and_not_of_answers() -> None:
    right = [[True, True, False], [False, False, True], [True, True, True], [False, False, False]]
    found = repeated_scores([["A", "A", "B"]] * 4, right, ["1", "2", "3", "4"])
    passed = {str(k): {"mean": mean.mean, "ci": list(mean.ci)} for k, mean in found.pass_at.items()}
    vote = {"accuracy": found.majority_accuracy.accuracy, "ci": list(found.majority_accuracy.ci)}
    numbers = {**ANSWERED, "repetitions": 3, "majority_vote": vote, "pass_at_k": passed}

    said = measures(numbers)

    assert (said["majority_vote"].value, said["majority_vote"].size) == (0.5, "4")
    assert [said[f"pass@{k}"].size for k in (1, 2, 3)] == ["4"] * 3
    assert said["pass@3"].value == 0.75
    assert said["pass@3"].low is not None


def test_counts_are_shares_of_the_answers_and_tokens_means() -> None:
    said = measures({**ANSWERED, "unanswered": 3, "truncated": 0, "completion_tokens": 1200, "reasoning_tokens": None})

    assert (said["unanswered"].value, said["truncated"].value) == (0.25, 0.0)
    assert said["mean_completion_tokens"].value == 100
    assert "mean_reasoning_tokens" not in said
    assert metric_of("unanswered").shown(0.25) == "25.0"
    assert metric_of("mean_completion_tokens").better is None


def test_a_judges_grades_are_over_the_verdicts_that_could_be_read() -> None:
    summary = asdict(summarise_scores([verdict(4), verdict(2), None, None], REPORT))
    modes = [Verdict({"mode": mode}, "why") for mode in ("gave_up", "gave_up", "other")]
    by_judge = count_levels([*modes, None], FAILURE_MODES.criteria[0])
    failures = {"n": 4, "by_rule": {"wrong_option": 4}, "by_judge": by_judge, "empty": 0}

    said = measures({**ANSWERED, "judge": {"report": summary, "failure_modes": failures}})

    assert said["judge.report"] == Measure(3.0, 2)
    assert said["judge.report.safety"] == Measure(3.0, 2)
    assert said["judge.report.lower_bound"] == Measure(2.0, 4)
    assert said["judge.report.share_unparsable"] == Measure(0.5, 4)
    assert said["judge.failure_modes.gave_up"] == Measure(0.5, 4)
    assert (metric_of("judge.report.safety").unit, metric_of("judge.report.safety").better) == ("points", "higher")
    assert metric_of("judge.report.share_unparsable").better == "lower"
    assert metric_of("judge.failure_modes.gave_up").better is None


def test_labels_texts_and_counts_stated_exactly() -> None:
    labels = asdict(label_scores([["A"], ["B"]], [["A"], ["A"]], ["A", "B", "C"]))
    text = {
        "rouge_l": {"mean": 0.25, "ci": [0.1, 0.4], "n": 12},
        "edit_distance": {"mean": 0.7, "ci": [0.6, 0.8], "n": 12},
        "bleu": asdict(corpus_bleu(["a b c d"], ["a b c d"])),
        "counting": asdict(counting_accuracy(["3", "4", "soon"], ["3", "5", "later"])),
    }

    said = measures({**ANSWERED, "labels": labels, "text": text})

    assert said["label_f1.A"].value == pytest.approx(2 / 3)
    assert "label_f1.C" not in said  # nowhere gold nor given
    assert said["text.counting"] == Measure(1 / 3, 3, questions=4)
    assert said["text.counting_numeric"] == Measure(0.5, 2)
    assert said["text.rouge_l"] == Measure(0.25, 12, 0.1, 0.4, 4)
    assert said["text.bleu"].value == pytest.approx(100)
    assert metric_of("text.edit_distance").better == metric_of("hamming_loss").better == "lower"
    assert metric_of("text.bleu").shown(31.4) == "31.40"


def test_budgets_are_apart_from_a_benchmarks_own_numbers() -> None:
    budgets = {"1024": {**ANSWERED, "accuracy": 0.5}, "256": {**ANSWERED, "accuracy": 0.25}}

    found = measures_by_budget({**ANSWERED, "budgets": budgets})

    assert [(budget, said["accuracy"].value) for budget, said in found.items()] == [(256, 0.25), (1024, 0.5)]
    assert measures_by_budget(ANSWERED) == {}
    assert measures_by_budget({**ANSWERED, "budgets": {"²": ANSWERED, "all": ANSWERED}}) == {}


@pytest.mark.parametrize("odd", [None, "many", [], {"mean": None}, 3])
def test_fields_of_another_form_are_no_metrics(odd: Any) -> None:
    names = ("majority_vote", "pass_at_k", "labels", "text", "judge", "format_reward", "budgets", "something_new")
    numbers = {**ANSWERED, **dict.fromkeys(names, odd), "unanswered": None}

    said = measures(numbers)

    assert said.keys() <= {"accuracy", "format_reward"}
    assert measure_of(numbers, "text.bleu") is None
    assert measures_by_budget(numbers) == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_what_no_float_can_hold_is_no_number(value: float) -> None:
    """Files of the original project may hold NaN, Infinity and integers of any length."""
    assert measures({**ANSWERED, "accuracy": value, "truncated": value}) == {}
    assert measures({**ANSWERED, "accuracy_ci": [value, 0.6]})["accuracy"].low is None
