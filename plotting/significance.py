"""One paired test with everything that it says."""

from __future__ import annotations

from collections.abc import Sequence

from plotting.comparability import why_not_ranked
from plotting.compare import Ask, counted, predictions_of, shared_benchmarks, tested_pair
from plotting.conclusions import not_ranked, p_text, points
from plotting.paired_tests import METHODS, Method, PairedTest
from plotting.runs import Run
from registry.catalog import Display
from registry.errors import UsageError

SOURCES: dict[Method, str] = {
    "mcnemar": "McNemar's exact test, over questions (Q. McNemar, Psychometrika 12 (1947) 153-157)",
    "permutation": "permutation of the runs within questions (R. A. Fisher, The design of experiments (1935))",
    "bootstrap": "bootstrap over questions, expanded percentile interval (T. Hesterberg, Am. Stat. 69 (2015) 371-386)",
}


def method_of(word: str | None) -> Method | None:
    """The method that `--method` names; null for none, `UsageError` for another word."""
    found = next((method for method in METHODS if method == word), None)
    if word is not None and found is None:
        raise UsageError(f"--method {word!r}: the methods are {', '.join(METHODS)}")
    return found


def single_test(runs: Sequence[Run], ask: Ask, display: Display) -> PairedTest:
    """The test of the second run against the first on the one benchmark that is asked for, or that they share.

    Raises `UsageError` where it is not clear which, or where they were not asked in the same way.
    """
    if len(runs) != 2:
        raise UsageError(f"{len(runs)} experiments are named; a test is of two, `meds1 compare` of more")
    a, b = runs
    shared = shared_benchmarks((a, b), ask.benchmarks)
    if len(shared) > 1:
        raise UsageError(f"they share {len(shared)} benchmarks; name one of them: --benchmark {' or '.join(shared)}")
    (name,) = shared
    reason = why_not_ranked(a, b, name)
    if reason is not None:
        title = display.benchmarks.get(name, name)
        raise UsageError(not_ranked(a.experiment, b.experiment, title, reason).rstrip("."))
    of_a, of_b = (counted(run, predictions_of(run), name) for run in (a, b))
    return tested_pair(of_a, of_b, name, ask)[0]


def lines(test: PairedTest, a: str, b: str, title: str) -> list[str]:
    """The test for people, a number each line."""
    flips, (low, high) = test.flips, test.ci
    repeats = "" if test.n == test.n_questions else "; answers to one question count together"
    least = "none" if test.detectable is None else f"{100 * test.detectable:.1f} points"
    return [
        f"{title}: {b} against {a}",
        f"  answers      {test.n:,} to {test.n_questions:,} questions{repeats}",
        f"  accuracy     {a} {100 * test.accuracy_a:.1f} %, {b} {100 * test.accuracy_b:.1f} %",
        f"  flips        {flips.both_right:,} right in both, {flips.both_wrong:,} wrong in both, "
        f"{flips.right_to_wrong:,} from right to wrong, {flips.wrong_to_right:,} from wrong to right",
        f"  questions    {test.better:,} of which {b} has more answers right, {test.worse:,} of which {a} has",
        f"  difference   {points(test.difference)} points, 95 % interval {points(low)} to {points(high)} "
        "(bootstrap over questions)",
        f"  p            {p_text(test.p_value).removeprefix('= ')}: {SOURCES[test.method]}",
        f"  detectable   {least} (smallest difference found four times in five, at 5 %)",
    ]
