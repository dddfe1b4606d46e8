"""Runs of equal skill, all compared with each other: how often is a difference shown that is not there?"""

from __future__ import annotations

import itertools

import numpy as np

from plotting.conclusions import ALPHA
from plotting.paired_tests import PairedTest, adjusted, paired_test
from plotting.predictions import Answered

RUNS, QUESTIONS = 20, 200
_FEW = 50  # resamples: the intervals are not looked at, and McNemar's test has none


def simulate(count: int, seed: int) -> int:
    """Return in how many of `count` simulations no pair of 20 equal runs is significant after Holm.

    A question is as hard for one run as for the other, and they answer independently: each of 200 questions is right
    with a probability of its own, drawn uniformly.
    """
    tested = (all_pairs(np.random.default_rng([seed, number])) for number in range(count))
    return sum(all(test.p >= ALPHA for test in tests) for tests in tested)


def all_pairs(generator: np.random.Generator) -> list[PairedTest]:
    """The tests of every pair of one simulation's runs, as one family."""
    chances = generator.random(QUESTIONS)
    runs = [answers((generator.random(QUESTIONS) < chances).tolist()) for _ in range(RUNS)]
    return adjusted([paired_test("equal", a, b, resamples=_FEW) for a, b in itertools.combinations(runs, 2)])


def answers(correct: list[bool]) -> list[Answered]:
    """The answers of one run, to as many questions as it is given, each asked once."""
    return [
        Answered(
            id=f"item-{number}",
            question_id=f"question-{number}",
            source="equal",
            repetition=0,
            budget=None,
            prompt_digest=f"prompt-{number}",
            correct=right,
            extracted="A" if right else "B",
            gold="A",
            failure_mode=None,
            completion_tokens=1,
            reasoning_tokens=None,
        )
        for number, right in enumerate(correct)
    ]
