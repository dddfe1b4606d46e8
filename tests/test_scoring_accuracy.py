"""Wilson intervals against scipy, accuracy with and without repeated questions against arithmetic by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from scoring.accuracy import Accuracy, accuracy_of
from scoring.bootstrap import mean_interval, resampled_means
from scoring.intervals import interval_of_mean, wilson_interval
from tests.statistics_references import resampling_variance


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


def test_the_interval_of_a_mean_of_normal_estimates_is_the_normal_one() -> None:
    means, errors = [0.3, 0.5, 0.7], [0.01, 0.03, 0.02]
    intervals = [(mean - 1.96 * error, mean + 1.96 * error) for mean, error in zip(means, errors, strict=True)]
    half = 1.96 * math.sqrt(sum(error**2 for error in errors)) / 3
    assert interval_of_mean(means, intervals) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-12)
    assert interval_of_mean(means[:1], intervals[:1]) == pytest.approx(intervals[0], abs=1e-12)


def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says_and_is_the_bootstraps_where_that_is_right() -> None:
    sizes, shares, generator = np.array([60, 200, 800]), np.array([0.1, 0.4, 0.6]), np.random.default_rng(3)
    drawn = generator.binomial(sizes, shares, size=(4_000, 3))
    found = [
        interval_of_mean(list(one / sizes), [wilson_interval(*pair) for pair in zip(one, sizes, strict=True)])
        for one in drawn.tolist()
    ]
    assert np.mean([low <= shares.mean() <= high for low, high in found]) == pytest.approx(0.95, abs=0.015)

    many = sizes * 20
    right = [round(size * share) for size, share in zip(many, shares, strict=True)]
    intervals = [wilson_interval(one, int(size)) for one, size in zip(right, many, strict=True)]
    resampled = (generator.binomial(many, shares, size=(200_000, 3)) / many).mean(axis=1)
    assert interval_of_mean(list(shares), intervals) == pytest.approx(np.quantile(resampled, (0.025, 0.975)), abs=3e-4)


@given(st.lists(st.integers(1, 50).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=8))
def test_the_interval_of_a_mean_of_shares_holds_it_and_stays_within_0_and_1(counts: list[tuple[int, int]]) -> None:
    values = [right / total for right, total in counts]
    low, high = interval_of_mean(values, [wilson_interval(*one) for one in counts])
    assert 0 <= low <= sum(values) / len(values) + 1e-15
    assert sum(values) / len(values) - 1e-15 <= high <= 1


def test_there_is_no_interval_of_the_mean_of_nothing() -> None:
    for values in ([], [0.5]):
        with pytest.raises(ValueError, match="no interval for"):
            interval_of_mean(values, [])


def test_distinct_questions_are_plain_accuracy() -> None:
    correct = [True] * 7 + [False] * 3
    found = accuracy_of(correct, [str(number) for number in range(10)])
    expected = binomtest(7, 10).proportion_ci(method="wilson")
    assert found == Accuracy(10, 10, 7, 0.7, found.ci, "wilson")
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


def test_answers_that_disagree_are_more_than_one_observation_and_less_than_independent() -> None:
    """Half of the questions right by one answer in four, half by three: surer than 100 copies, not as sure as 400."""
    correct = [True, False, False, False] * 50 + [True, True, True, False] * 50
    found = accuracy_of(correct, [str(number // 4) for number in range(400)])
    assert found.ci_method == "clustered_bootstrap"
    assert wilson_interval(50, 100)[0] < found.ci[0] < wilson_interval(200, 400)[0] < 0.5
    assert found.ci[0] + found.ci[1] == pytest.approx(1.0)


def test_clustered_interval_is_wilsons_at_the_effective_size() -> None:
    """Four questions of shares 0, 1/2, 1/2, 1: all 256 resamples by hand, Student's t from a table."""
    found = accuracy_of([False, True, False, True, False, True], ["a", "b", "b", "c", "c", "d"], resamples=400_000)
    shares = [Fraction(0), Fraction(1, 2), Fraction(1, 2), Fraction(1)]
    effective = 0.25 / (float(resampling_variance(shares)) * 4 / 3)
    squared = 3.182446**2
    half = math.sqrt(squared * effective + squared**2) / (effective + squared) / 2
    assert found.ci == pytest.approx((0.5 - half, 0.5 + half), abs=0.002)


@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong_is_still_unsure(right: bool) -> None:
    found = accuracy_of([right] * 12, ["a", "b", "c"] * 4)
    assert (found.ci, found.ci_method) == (wilson_interval(3 * right, 3), "wilson")


def test_one_question_is_one_observation_however_often_it_is_asked() -> None:
    assert accuracy_of([True, False] * 50, ["a"] * 100).ci == wilson_interval(0.5, 1)
    assert accuracy_of([True, False] * 3, ["a", "a", "b", "b", "c", "c"]).ci == wilson_interval(1.5, 3)


def test_the_same_seed_gives_the_same_interval() -> None:
    arguments = [True, False, True] * 20, [str(number // 2) for number in range(60)]
    assert accuracy_of(*arguments, seed=3) == accuracy_of(*arguments, seed=3)
    assert accuracy_of(*arguments, seed=3).ci != accuracy_of(*arguments, seed=4).ci


def test_counting_kinds_and_drawing_questions_have_the_same_distribution() -> None:
    """60 questions of two kinds are drawn by kind; nudged apart, one by one. Both against the binomial quantiles."""
    values = np.repeat([0.0, 1.0], [40, 20])
    nudged = values + np.arange(60) * 1e-9
    for sample in (resampled_means(values, 1, 20_000), resampled_means(nudged, 2, 20_000)):
        assert np.mean(sample) == pytest.approx(1 / 3, abs=0.002)
        for count in (12, 16, 20, 24, 28):
            assert np.mean(sample <= count / 60 + 1e-6) == pytest.approx(binom.cdf(count, 60, 1 / 3), abs=0.012)


def test_means_on_another_scale_are_brought_there_and_back() -> None:
    scores, clusters = [1.0, 2.5, 4.0, 5.0, 3.0, 2.0], ["a", "b", "b", "c", "d", "d"]
    rubric = mean_interval(scores, clusters, bounds=(1, 5))
    share = mean_interval([(score - 1) / 4 for score in scores], clusters)
    assert (rubric.mean, *rubric.ci) == pytest.approx([1 + 4 * number for number in (share.mean, *share.ci)])


def test_a_value_outside_the_scale_is_refused() -> None:
    for wrong in (5.1, 0.9, float("nan")):
        with pytest.raises(ValueError, match="outside 1 to 5"):
            mean_interval([2.0, wrong], ["a", "b"], bounds=(1, 5))


@pytest.mark.parametrize(("correct", "clusters"), [([], []), ([True], []), ([True], ["a", "b"])])
def test_accuracy_needs_a_question_for_each_answer(correct: list[bool], clusters: list[str]) -> None:
    with pytest.raises(ValueError, match="answers for"):
        accuracy_of(correct, clusters)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefg")), min_size=1))
def test_interval_holds_the_accuracy(answers: list[tuple[bool, str]]) -> None:
    found = accuracy_of([right for right, _ in answers], [cluster for _, cluster in answers])
    assert 0.0 <= found.ci[0] <= found.accuracy <= found.ci[1] <= 1.0
