"""Repetitions, paired tests and corrections against slow references, scipy and arithmetic by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control, norm

from registry.errors import UsageError
from scoring.multiple import benjamini_hochberg, holm
from scoring.paired import difference_interval, equivalence, mcnemar, permutation_test
from scoring.pairs import Flips, Outcome, Pairs, flips, pair, question_differences
from scoring.power import discordance, minimal_detectable_difference, one_way
from scoring.repetitions import majority_is_right, pass_at_k, repeated_scores
from tests import statistics_references as slow

P_VALUES = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.03, 0.04, 0.05, 0.2, 0.5, 1.0]), min_size=1, max_size=12)
ANSWERED = st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abcdefghi")), min_size=1, max_size=25)


def _pairs(a: Sequence[int], b: Sequence[int], questions: str | None = None) -> Pairs:
    names = tuple(questions) if questions else tuple(str(number) for number in range(len(a)))
    return Pairs(names, tuple(map(float, a)), tuple(map(float, b)))


def _changes(worse: int, better: int, same: int) -> Pairs:
    return _pairs([1] * worse + [0] * better + [1] * same, [0] * worse + [1] * better + [1] * same)


# Repetitions


@pytest.mark.parametrize("asked", range(1, 9))
def test_pass_at_k_is_the_share_of_choices_with_a_right_answer(asked: int) -> None:
    table = [[number < right for number in range(asked)] for right in range(asked + 1)]
    expected = [[float(slow.pass_at_k(right, asked, k)) for k in range(1, asked + 1)] for right in range(asked + 1)]
    assert pass_at_k(table) == pytest.approx(np.array(expected), abs=1e-12)


def test_pass_at_k_holds_for_thousands_of_answers() -> None:
    passed = pass_at_k([[True] * 10 + [False] * 1_990])[0]
    for k in (1, 100, 1_000):
        assert passed[k - 1] == pytest.approx(1 - math.comb(1_990, k) / math.comb(2_000, k), abs=1e-12)
    assert passed[-1] == 1.0


@pytest.mark.parametrize(
    ("answers", "correct", "expected"),
    [
        ("BBC", (1, 1, 0), True),
        ("BC", (1, 0), False),  # a tie
        ("BBCCD", (1, 1, 0, 0, 0), False),
        ("BBCDE", (1, 1, 0, 0, 0), True),  # the wrong ones disagree
        ([None, None, "B"], (0, 0, 1), True),  # no answer is no vote
        ([None, None], (0, 0), False),
        (["B", None, "C", "C"], (1, 0, 0, 0), False),
        (["5 mg", "5mg", "6 mg"], (1, 1, 0), True),  # right in two spellings
    ],
)
def test_majority_needs_more_right_answers_than_equal_wrong_ones(
    answers: list[str | None], correct: tuple[int, ...], expected: bool
) -> None:
    assert majority_is_right(answers, [bool(one) for one in correct]) is expected


def test_the_three_figures_of_repetitions_are_kept_apart() -> None:
    answers: list[list[str | None]] = [["A", "A", "B"], ["C", "D", "C"], [None, None, "A"], ["A", "B", "C"]]
    gold = ["A", "D", "A", "A"]
    correct = [[answer == right for answer in row] for row, right in zip(answers, gold, strict=True)]
    found = repeated_scores(answers, correct, ["p", "q", "r", "s"])
    assert found.repetitions == 3
    assert (found.mean_accuracy.n, found.mean_accuracy.n_clusters) == (12, 4)
    assert found.mean_accuracy.accuracy == pytest.approx((2 + 1 + 1 + 1) / 12)
    assert found.majority_accuracy.num_correct == 2
    assert {k: mean.mean for k, mean in found.pass_at.items()} == pytest.approx({1: 5 / 12, 2: 0.75, 3: 1.0})


def test_items_of_one_question_are_one_observation_in_every_figure() -> None:
    rows = [["A", "B"], ["A", "A"]] * 3
    correct = [[answer == "A" for answer in row] for row in rows]
    found = repeated_scores(rows, correct, ["p", "q"] * 3)
    once = repeated_scores(rows[:2], correct[:2], ["p", "q"])
    assert (found.majority_accuracy.n, found.majority_accuracy.n_clusters) == (6, 2)
    assert found.majority_accuracy.ci == once.majority_accuracy.ci
    assert found.pass_at[2].ci == once.pass_at[2].ci


@pytest.mark.parametrize("correct", [[], [[]], [[True, False], [True]]])
def test_ragged_or_empty_repetitions_are_refused(correct: list[list[bool]]) -> None:
    with pytest.raises(ValueError, match=r"no answers|item 1 has 1 repetitions, item 0 has 2"):
        pass_at_k(correct)


def test_answers_that_do_not_fit_what_is_right_are_refused() -> None:
    with pytest.raises(ValueError, match="do not have 2 repetitions of each of 1 items"):
        repeated_scores([["A"]], [[True, False]], ["p"])


# Pairs

RUN = [Outcome(f"item-{number}", f"question-{number // 2}", "prompt", float(number % 2)) for number in range(6)]


def test_pairs_meet_by_item_whatever_their_order() -> None:
    better = [dataclasses.replace(outcome, score=1.0) for outcome in RUN]
    pairs = pair(RUN, better[::-1])
    assert (pairs.a, pairs.b) == ((0.0, 1.0) * 3, (1.0,) * 6)
    assert flips(pairs) == Flips(both_right=3, both_wrong=0, right_to_wrong=0, wrong_to_right=3)
    assert question_differences(pairs).tolist() == [0.5, 0.5, 0.5]


def test_runs_that_cannot_be_compared_are_refused_with_the_first_reason() -> None:
    other_prompt = [*RUN[:3], *(dataclasses.replace(one, prompt_digest="other") for one in RUN[3:])]
    other_question = [dataclasses.replace(RUN[0], question_id="other"), *RUN[1:]]
    beyond = [*RUN[:5], dataclasses.replace(RUN[5], score=4.0)]
    cases = [
        (RUN[:4], RUN[1:], "1 only in the first, 2 only in the second; first: 'item-0'"),
        (RUN[1:], RUN, "0 only in the first, 1 only in the second; first: 'item-0'"),
        (RUN, other_prompt, "the prompt_digest of 3 items of 6; first: 'item-3'"),
        (RUN, other_question, "the question_id of 1 item of 6; first: 'item-0'"),
        ([*RUN, RUN[2]], RUN, "the first run holds 1 item more than once; first: 'item-2'"),
        (RUN, [], "the second run has no items"),
        (RUN, beyond, "the second run scores 4 for 'item-5'"),
    ]
    for first, second, message in cases:
        with pytest.raises(UsageError, match=message):
            pair(first, second)


def test_flips_are_of_right_and_wrong_only() -> None:
    with pytest.raises(ValueError, match="other than 0 and 1"):
        flips(Pairs(("a",), (0.5,), (1.0,)))
    with pytest.raises(ValueError, match="use the permutation test"):
        mcnemar(Pairs(("a",), (0.5,), (1.0,)))


# Paired tests


@pytest.mark.parametrize("worse", range(12))
@pytest.mark.parametrize("better", [0, 1, 4, 9, 40])
def test_mcnemar_is_the_exact_binomial_test(worse: int, better: int) -> None:
    found = mcnemar(_changes(worse, better, 7))
    assert (found.better, found.worse) == (better, worse)
    assert found.p_value == pytest.approx(float(slow.mcnemar_p(better, worse)), abs=1e-9)
    if worse + better:
        assert found.p_value == pytest.approx(binomtest(better, worse + better).pvalue, abs=1e-9)


def test_mcnemar_counts_a_repeated_question_once() -> None:
    once = _pairs([0, 0, 0, 0, 1], [1, 1, 1, 1, 1])
    copies = _pairs([0, 0, 0, 0, 1] * 5, [1, 1, 1, 1, 1] * 5, "pqrst" * 5)
    assert mcnemar(copies) == mcnemar(once)
    assert mcnemar(once).p_value == 0.125


@given(ANSWERED)
@settings(deadline=None)
def test_few_questions_are_permuted_exactly(answered: list[tuple[bool, bool, str]]) -> None:
    a, b, questions = [row[0] for row in answered], [row[1] for row in answered], [row[2] for row in answered]
    found = permutation_test(_pairs(a, b, "".join(questions)))
    assert found.method == "exact"
    assert found.p_value == pytest.approx(float(slow.sign_flip_p(list(slow.differences_of(a, b, questions)))), abs=1e-9)


def test_permutation_of_unrepeated_questions_is_mcnemars_test() -> None:
    pairs = _changes(3, 11, 100)
    assert permutation_test(pairs).p_value == pytest.approx(mcnemar(pairs).p_value, abs=1e-9)


def test_random_patterns_come_near_the_exact_p_value_by_kind_and_one_by_one() -> None:
    changed = _changes(12, 25, 0)
    nudged = Pairs(changed.questions, changed.a, tuple(abs(b - 1e-7 * i) for i, b in enumerate(changed.b)))
    for pairs in (changed, nudged):
        found = permutation_test(pairs, resamples=40_000)
        assert found.method == "monte_carlo"
        assert found.p_value == pytest.approx(mcnemar(changed).p_value, abs=0.006)


def test_a_random_p_value_is_never_zero() -> None:
    assert permutation_test(_changes(0, 300, 0), resamples=99).p_value == 0.01
    assert difference_interval(_changes(0, 300, 100), resamples=99).p_value > 0


def test_copies_of_answers_change_no_test() -> None:
    generator = np.random.default_rng(0)
    a, b = ([int(one) for one in generator.random(60) < chance] for chance in (0.5, 0.7))
    questions = tuple(str(number) for number in range(60))
    once, copies = _pairs(a, b), Pairs(questions * 5, tuple(map(float, a * 5)), tuple(map(float, b * 5)))
    assert difference_interval(copies) == difference_interval(once)
    assert permutation_test(copies) == permutation_test(once)
    assert equivalence(copies, 0.1) == equivalence(once, 0.1)
    assert discordance(copies) == discordance(once)


def test_difference_and_its_interval_change_sign_with_the_order_of_the_runs() -> None:
    one, other = difference_interval(_changes(10, 30, 160)), difference_interval(_changes(30, 10, 160))
    assert one.difference == pytest.approx(0.1) == -other.difference
    assert one.ci == pytest.approx((-other.ci[1], -other.ci[0]), abs=0.011)
    assert one.ci[0] < 0.1 < one.ci[1]


def test_difference_interval_is_near_students_for_many_questions() -> None:
    """Smooth differences of 500 questions: the expanded percentile interval and the t interval agree."""
    generator = np.random.default_rng(5)
    a, b = generator.random(500), generator.random(500)
    found = difference_interval(Pairs(tuple(map(str, range(500))), tuple(a), tuple(b)))
    half = 1.9647 * float(np.std(b - a, ddof=1)) / math.sqrt(500)
    center = float(np.mean(b - a))
    assert found.ci == pytest.approx((center - half, center + half), abs=0.0015)


@pytest.mark.parametrize("seed", range(12))
def test_p_value_and_interval_of_the_bootstrap_agree(seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.random(80), generator.random(80) + generator.uniform(-0.15, 0.15)
    found = difference_interval(Pairs(tuple(map(str, range(80))), tuple(a), tuple(np.clip(b, 0, 1))))
    outside = found.ci[0] > 0 or found.ci[1] < 0
    assert (found.p_value < 0.05) == outside


def test_equal_runs_are_no_proof_of_equality() -> None:
    """Without any change the interval is Tango's: as wide as the number of questions allows."""
    squared = norm.ppf(0.975) ** 2
    found = difference_interval(_changes(0, 0, 40))
    assert found.ci == pytest.approx((-squared / (40 + squared), squared / (40 + squared)))
    assert (found.difference, found.p_value) == (0.0, 1.0)
    assert not equivalence(_changes(0, 0, 40), 0.02).equivalent
    assert equivalence(_changes(0, 0, 400), 0.02).equivalent


def test_a_single_question_proves_nothing() -> None:
    found = difference_interval(_pairs([0, 0], [1, 1], "qq"))
    assert found.difference == 1.0
    assert found.ci[0] < 0 < found.ci[1] == 1.0
    assert found.p_value > 0.05


@pytest.mark.parametrize(("change", "margin"), [(4, 0.05), (4, 0.02), (20, 0.05), (12, 0.06), (12, 0.04), (0, 0.01)])
def test_equivalence_is_that_the_90_percent_interval_lies_within_the_margin(change: int, margin: float) -> None:
    found = equivalence(_changes(20, 20 + change, 360), margin)
    assert found.equivalent == (found.p_value < 0.05) == (-margin < found.ci[0] and found.ci[1] < margin)
    assert found.ci == difference_interval(_changes(20, 20 + change, 360), confidence=0.9).ci


@pytest.mark.parametrize("margin", [0.0, -0.1, 1.0])
def test_a_margin_that_is_no_share_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="no equivalence"):
        equivalence(_changes(1, 1, 1), margin)


# Many comparisons


@given(P_VALUES)
def test_holm_and_benjamini_hochberg_are_their_definitions(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(slow.holm(p_values), abs=1e-12)
    assert benjamini_hochberg(p_values) == pytest.approx(slow.benjamini_hochberg(p_values), abs=1e-12)
    assert benjamini_hochberg(p_values) == pytest.approx(false_discovery_control(p_values), abs=1e-12)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_what_is_no_p_value_is_refused_and_none_stays_none() -> None:
    for adjust, wrong in itertools.product((holm, benjamini_hochberg), (-0.1, 1.1, float("nan"))):
        with pytest.raises(ValueError, match="p-values"):
            adjust([0.5, wrong])
    assert holm([]) == benjamini_hochberg([]) == ()


# Power


@pytest.mark.parametrize(("share", "questions"), [(0.1, 1273), (0.3, 198), (0.2, 4183)])
def test_minimal_detectable_difference_solves_connors_equation(share: float, questions: int) -> None:
    found = minimal_detectable_difference(share, questions)
    assert found is not None
    needed = (norm.ppf(0.975) * math.sqrt(share) + norm.ppf(0.8) * math.sqrt(share - found**2)) ** 2 / found**2
    assert needed == pytest.approx(questions, rel=1e-9)


def test_minimal_detectable_difference_is_found_as_often_as_promised() -> None:
    """Simulated: with 400 questions, 20 % of which change, by the share of McNemar's tests that reject."""
    share, questions, trials = 0.2, 400, 2_000
    found = minimal_detectable_difference(share, questions)
    assert found is not None
    generator = np.random.default_rng(1)
    changes = generator.multinomial(questions, [(share - found) / 2, (share + found) / 2, 1 - share], size=trials)
    p_values = {(worse, better): binomtest(worse, worse + better).pvalue for worse, better, _ in changes.tolist()}
    rejected = sum(p_values[worse, better] < 0.05 for worse, better, _ in changes.tolist()) / trials
    assert rejected == pytest.approx(0.8, abs=0.05)  # the exact test is a little weaker than the formula's


def test_no_difference_can_be_found_where_hardly_anything_changes() -> None:
    assert minimal_detectable_difference(0.0, 1_000) is None
    assert minimal_detectable_difference(0.01, 50) is None
    with pytest.raises(ValueError, match="no difference for"):
        minimal_detectable_difference(1.2, 100)


def test_answers_that_repeat_can_show_more_than_their_discordance() -> None:
    """30 of 100 questions gain one answer of three: a tenth in all, though the mean square is only a thirtieth."""
    questions = tuple(str(number) for number in range(100) for _ in range(3))
    gained = tuple(float(question < 30 and answer == 0) for question in range(100) for answer in range(3))
    pairs = Pairs(questions, (0.0,) * 300, gained)

    found = minimal_detectable_difference(discordance(pairs), 100, largest=one_way(pairs))

    assert one_way(pairs) == pytest.approx(0.1)
    assert found is not None
    assert discordance(pairs) < found < one_way(pairs)


def test_discordance_is_the_share_of_questions_that_change() -> None:
    assert discordance(_changes(10, 20, 70)) == pytest.approx(0.3)
