"""Wilson intervals against scipy, accuracy with and without repeated questions against arithmetic by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from scoring.accuracy import Accuracy, accuracy_of
from scoring.intervals import wilson_interval


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("total", [1, 2, 10, 1273])
def test_wilson_is_scipys(total: int, confidence: float) -> None:
    for successes in {0, 1, total // 3, total // 2, total - 1, total}:
        expected = binomtest(successes, total).proportion_ci(confidence, method="wilson")
        assert wilson_interval(successes, total, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_ends_are_exact() -> None:
    assert wilson_interval(0, 40)[0] == 0.0
    assert wilson_interval(40, 40)[1] == 1.0


@pytest.mark.parametrize(("successes", "total", "confidence"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_wilson_refuses_what_is_no_proportion(successes: int, total: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(successes, total, confidence)


def test_distinct_questions_are_plain_accuracy() -> None:
    correct = [True] * 7 + [False] * 3
    found = accuracy_of(correct, [str(number) for number in range(10)])
    expected = binomtest(7, 10).proportion_ci(method="wilson")
    assert found == Accuracy(10, 10, 7, 0.7, found.ci)
    assert found.ci == pytest.approx((expected.low, expected.high))


def test_repeats_bring_no_evidence() -> None:
    once = accuracy_of([True, False, True, True], ["a", "b", "c", "d"])
    often = accuracy_of([True, False, True, True] * 25, ["a", "b", "c", "d"] * 25)
    assert (often.n, often.n_clusters, often.num_correct) == (100, 4, 75)
    assert (often.accuracy, often.ci) == (once.accuracy, once.ci)


def test_each_question_counts_once() -> None:
    found = accuracy_of([True, True, True, False, False], ["a", "a", "a", "b", "c"])
    assert found.accuracy == pytest.approx(1 / 3)
    mixed = accuracy_of([True, False, True], ["a", "a", "b"])
    assert mixed.accuracy == pytest.approx(0.75)
    assert mixed.ci == pytest.approx(wilson_interval(1.5, 2))


@pytest.mark.parametrize(("correct", "clusters"), [([], []), ([True], []), ([True], ["a", "b"])])
def test_accuracy_needs_a_question_for_each_answer(correct: list[bool], clusters: list[str]) -> None:
    with pytest.raises(ValueError, match="answers for"):
        accuracy_of(correct, clusters)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefg")), min_size=1))
def test_interval_holds_the_accuracy(answers: list[tuple[bool, str]]) -> None:
    found = accuracy_of([right for right, _ in answers], [cluster for _, cluster in answers])
    assert 0.0 <= found.ci[0] <= found.accuracy <= found.ci[1] <= 1.0
