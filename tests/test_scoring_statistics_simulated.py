"""What intervals and tests promise about chance, by seeded simulation; the long form is in `benchmarks.eval`."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest

from benchmarks.eval.coverage import CORRELATIONS, COVERAGE, DESIGNS, LEAST_FALSE, MOST_FALSE, PAIRED
from benchmarks.eval.simulation import Design, coverage, false_positives
from benchmarks.eval.verdict import simulated_verdict
from tests.lab import CHECKOUT

RESAMPLES = 1_000
COMMAND = [sys.executable, "-m", "benchmarks.eval"]


@pytest.mark.parametrize("accuracy", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("correlation", [0.1, 0.5])
def test_95_percent_intervals_of_repeated_questions_hold_the_truth(accuracy: float, correlation: float) -> None:
    share = coverage(DESIGNS[2], accuracy, correlation, 400, RESAMPLES)
    assert simulated_verdict(share, 400, *COVERAGE) != "MISSED", share


def test_copies_counted_as_new_questions_are_found_out() -> None:
    """The simulation tells an interval that is too narrow from a sound one."""
    sound, narrow = (coverage(DESIGNS[2], 0.5, 1.0, 400, RESAMPLES, as_new=as_new) for as_new in (False, True))
    assert simulated_verdict(sound, 400, *COVERAGE) != "MISSED"
    assert narrow < 0.8


@pytest.mark.full
@pytest.mark.parametrize("design", DESIGNS[1:], ids=lambda design: design.name)
def test_95_percent_intervals_hold_the_truth_in_every_design(design: Design) -> None:
    for accuracy, correlation in itertools.product((0.1, 0.3, 0.5, 0.7, 0.9), CORRELATIONS):
        share = coverage(design, accuracy, correlation, 1_000, RESAMPLES)
        assert simulated_verdict(share, 1_000, *COVERAGE) != "MISSED", (accuracy, correlation, share)


@pytest.mark.parametrize("test", ["permutation", "bootstrap", "TOST"])
def test_type_1_error_is_near_the_level(test: str) -> None:
    design, correlation = PAIRED[1]
    share = false_positives(test, design, correlation, 500, RESAMPLES)
    assert simulated_verdict(share, 500, LEAST_FALSE, MOST_FALSE) != "MISSED", share


def test_exact_mcnemar_never_rejects_too_often() -> None:
    for design, correlation in (PAIRED[0], PAIRED[2]):
        share = false_positives("McNemar", design, correlation, 500, RESAMPLES)
        assert simulated_verdict(share, 500, 0.0, MOST_FALSE) != "MISSED", share


def test_the_benchmark_prints_the_differences_to_the_references() -> None:
    done = subprocess.run([*COMMAND, "statistics", "--json"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["data"]["statistics"]
    assert len(found["greatest_difference"]) == 8
    assert max(found["greatest_difference"].values()) <= found["limit"] == 1e-9


def test_an_unknown_part_is_named_with_the_legal_ones() -> None:
    done = subprocess.run([*COMMAND, "speed"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no part 'speed'; legal: statistics, coverage, scoring_speed" in done.stderr
