"""Sets built so that the answer is known: what differs is found, and what is equal is left alone."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from benchmarks.equal_runs import all_pairs, answers, simulate
from plotting.conclusions import conclusion, p_text
from plotting.paired_tests import PairedTest, adjusted, paired_test
from plotting.predictions import Answered
from registry.errors import UsageError

N = 200


def two_runs(flips: int) -> tuple[list[bool], list[bool]]:
    """100 of 200 right, and the same with so many of the wrong ones right: all flips go one way."""
    a = [number % 2 == 0 for number in range(N)]
    wrong = [number for number in range(N) if not a[number]]
    mended = set(wrong[:flips])
    return a, [right or number in mended for number, right in enumerate(a)]


def compared(a: list[bool], b: list[bool]) -> PairedTest:
    return paired_test("known", answers(a), answers(b))


def repeated(run: list[Answered], times: int) -> list[Answered]:
    """The same questions asked anew, as rows of their own, with the same outcome."""
    return [
        dataclasses.replace(answer, id=f"{answer.id}-{number}", prompt_digest=f"{answer.prompt_digest}-{number}")
        for number in range(times)
        for answer in run
    ]


class TestTwentyFlipsOneWay:
    def test_the_paired_test_tells_them_apart_and_an_unpaired_one_does_not(self) -> None:
        from scipy.stats import chi2_contingency, fisher_exact

        a, b = two_runs(20)
        test = compared(a, b)
        table = [[sum(run), N - sum(run)] for run in (a, b)]

        assert (test.flips.wrong_to_right, test.flips.right_to_wrong) == (20, 0)
        assert test.difference == pytest.approx(0.1)
        assert test.p_value == pytest.approx(2 * 0.5**20)
        assert test.ci[0] > 0.05
        # 20 of 200 are 2.0 standard errors of unpaired runs: without any correction a z-test is at its very edge.
        assert fisher_exact(table).pvalue > 0.05
        assert chi2_contingency(table).pvalue > 0.05

    @pytest.mark.parametrize("method", ["mcnemar", "permutation", "bootstrap"])
    def test_every_method_tells_them_apart(self, method: str) -> None:
        a, b = two_runs(20)

        test = paired_test("known", answers(a), answers(b), method=method)  # type: ignore[arg-type]

        assert test.p_value < 0.001

    def test_swapping_the_runs_swaps_the_sign_and_nothing_else(self) -> None:
        a, b = two_runs(20)
        there, back = compared(a, b), compared(b, a)

        assert back.difference == -there.difference
        assert back.p_value == there.p_value
        assert (back.better, back.worse) == (there.worse, there.better)

    def test_asking_each_question_five_times_more_brings_no_evidence(self) -> None:
        a, b = two_runs(6)
        once = paired_test("known", answers(a), answers(b), method="permutation")
        often = paired_test("known", repeated(answers(a), 5), repeated(answers(b), 5))

        assert (often.n, often.n_questions, often.method) == (5 * N, N, "permutation")
        assert (often.p_value, often.difference, often.ci) == (once.p_value, once.difference, once.ci)
        assert often.detectable == once.detectable


class TestEqualRuns:
    def test_no_pair_of_twenty_equal_runs_is_significant_after_holm(self) -> None:
        assert simulate(6, seed=0) >= 5

    @pytest.mark.full
    def test_in_at_least_95_percent_of_400_simulations(self) -> None:
        assert simulate(400, seed=0) >= 380

    def test_without_holm_some_would_be(self) -> None:
        tests = all_pairs(np.random.default_rng(0))

        assert min(test.p_value for test in tests) < 0.05
        assert min(test.p for test in tests) >= 0.05
        assert {test.family for test in tests} == {190}


class TestRefused:
    def test_other_items(self) -> None:
        with pytest.raises(UsageError, match="known: the runs are not of the same items: 0 only in the first, 1 only"):
            paired_test("known", answers([True]), answers([True, False]))

    def test_other_prompts(self) -> None:
        other = [dataclasses.replace(answer, prompt_digest="another") for answer in answers([True])]
        with pytest.raises(UsageError, match="the same prompting"):
            paired_test("known", answers([True]), other)


class TestConclusions:
    def right(self, count: int) -> list[bool]:
        return [number < count for number in range(50)]

    def sentence(self, test: PairedTest) -> str:
        return conclusion(test, "A", "B", "MedQA")

    def test_a_difference_is_told_with_its_size_direction_and_family(self) -> None:
        a, b = two_runs(20)
        first, second = adjusted([compared(a, b), compared(b, a)])

        assert self.sentence(first).startswith("B answers 10.0 points more of MedQA right than A (95 % interval +6.")
        assert self.sentence(first).endswith("p < 0.001 after Holm over 2 tests): more than chance explains.")
        assert self.sentence(second).startswith("B answers 10.0 points less of MedQA right than A (95 % interval -14")

    def test_not_significant_is_not_called_equal_and_says_what_would_be_found(self) -> None:
        a, b = two_runs(3)
        told = self.sentence(compared(a, b))

        assert told.startswith("No difference between A and B is shown on MedQA: the interval reaches from ")
        assert told.endswith("200 questions of which 3 differ cannot show one; they need not be equal.")

    def test_what_could_have_been_found_is_said_where_the_test_could_find_anything(self) -> None:
        generator = random.Random(1)
        runs = [[generator.random() < 0.5 for _ in range(N)] for _ in range(2)]

        assert "With 200 questions, only differences of about 1" in self.sentence(compared(*runs))
        assert self.sentence(compared(*runs)).endswith("this is no proof that they are equal.")
        assert "or more are found four times in five" in self.sentence(compared(*runs))
        family = adjusted([compared(*runs)] * 2)
        assert "or more are found by one test alone four times in five" in self.sentence(family[0])

    def test_two_runs_that_never_differ_are_not_called_equal(self) -> None:
        a, _ = two_runs(0)
        assert self.sentence(compared(a, a)).endswith(
            "200 questions of which 0 differ cannot show one; they need not be equal."
        )

    def test_few_that_differ_are_only_said_to_show_nothing_where_that_is_so(self) -> None:
        none, last = [False] * 50, [False] * 49 + [True]

        assert compared(none, self.right(7)).p_value < 0.05 < compared(none, self.right(5)).p_value
        assert "50 questions of which 5 differ cannot show one" in self.sentence(compared(last, self.right(4)))
        assert "50 questions of which 7 differ show one less than four times in five" in self.sentence(
            compared(last, self.right(6))
        )

    def test_a_p_next_to_the_level_is_not_read_as_the_level(self) -> None:
        shown = {0.0004: "< 0.001", 0.0312: "= 0.031", 0.0497: "= 0.0497", 0.05004: "= 0.05004", 0.05: "= 0.050"}

        assert {p: p_text(p) for p in shown} == shown

    def test_what_holm_takes_back_is_said(self) -> None:
        a, b = two_runs(6)
        alone = self.sentence(compared(a, b))
        family = self.sentence(adjusted([compared(a, b), compared(a, a), compared(b, b)])[0])

        assert "p = 0.031): more than chance explains." in alone
        assert "Alone, this test would show one (p = 0.031); among 3 it may be chance." in family

    def test_a_sure_but_small_difference_is_called_small(self) -> None:
        a = [number % 2 == 0 for number in range(4000)]
        b = [right or number in range(1, 40, 2) for number, right in enumerate(a)]

        assert self.sentence(compared(a, b)).endswith("It is less than one point: sure is not the same as large.")


def test_runs_with_equal_means_are_not_said_to_differ_in_them() -> None:
    """15 questions of which b has one answer fewer right, 3 of which it has all five, and a none."""
    right_of = [(3, 2)] * 15 + [(0, 5)] * 3 + [(5, 5)] * 2
    a, b = ([number < right[run] for right in right_of for number in range(5)] for run in (0, 1))
    asked = [
        [
            dataclasses.replace(answer, question_id=f"question-{number // 5}")
            for number, answer in enumerate(answers(run))
        ]
        for run in (a, b)
    ]
    test = paired_test("known", *asked, method="mcnemar")

    assert (test.better, test.worse) == (3, 15)
    assert test.difference == pytest.approx(0.0, abs=1e-12)
    assert test.p_value < 0.01
    assert conclusion(test, "a", "b", "known").endswith("so that neither is said to be better.")
