"""What may and may not be concluded from a comparison, in plain sentences."""

from __future__ import annotations

from plotting.paired_tests import PairedTest
from registry.errors import counted

ALPHA = 0.05
SMALL = 0.01  # a difference below one point of accuracy, however sure it is


def conclusion(test: PairedTest, a: str, b: str, title: str) -> str:
    """What a test of run `b` against run `a` on the benchmark called `title` shows at the level of 5 %.

    Not significant is never said to be equal: that takes an equivalence test with a margin (`scoring.paired`).
    """
    if test.p >= ALPHA:
        return _nothing_shown(test, a, b, title)
    # Equal means differ in their last bits; such a run is not said to answer more or less.
    if test.method == "mcnemar" and (test.better - test.worse) * test.difference < 1e-9:
        return (
            f"{b} has more answers right on {counted(test.better, 'question')} of {title}, {a} on {test.worse:,} "
            f"({_p(test)}): more than chance explains; but their mean differs by {points(test.difference)} points "
            f"({_interval(test)}), so that neither is said to be better."
        )
    told = (
        f"{b} answers {100 * abs(test.difference):.1f} points {'more' if test.difference > 0 else 'less'} of {title} "
        f"right than {a} ({_interval(test)}, {_p(test)}): more than chance explains."
    )
    if test.ci[0] <= 0 <= test.ci[1]:
        told += " It is a close call: the interval holds 0."
    if abs(test.difference) < SMALL:
        told += " It is less than one point: sure is not the same as large."
    return told


def not_ranked(a: str, b: str, title: str, reason: str) -> str:
    """The sentence of two runs that are not ranked."""
    return f"{a} and {b} are not ranked on {title}: {_ended(reason)}"


def not_tested(a: str, b: str, title: str, reason: str) -> str:
    """The sentence of two runs whose scores may be ranked, and whose answers are not at hand."""
    return f"{b} is not tested against {a} on {title}: {_ended(reason)}"


def _ended(reason: str) -> str:
    return reason if reason.endswith(".") else f"{reason}."  # a shortened value ends with "..."


def _nothing_shown(test: PairedTest, a: str, b: str, title: str) -> str:
    told = (
        f"No difference between {a} and {b} is shown on {title}: the interval reaches from {points(test.ci[0])} to "
        f"{points(test.ci[1])} points ({_p(test)})."
    )
    if test.p_value < ALPHA:
        told += f" Alone, this test would show one (p {p_text(test.p_value)}); among {test.family} it may be chance."
    elif not test.ci[0] <= 0 <= test.ci[1]:
        told += " It is a close call: the interval leaves out 0."
    questions = f"{test.n_questions:,} question{'' if test.n_questions == 1 else 's'}"
    differ = test.better + test.worse
    if test.detectable is None:
        # The sign test's smallest p, and the permutation test's: all questions that differ do so one way.
        least = "cannot show one" if 2 * 0.5**differ >= ALPHA else "show one less than four times in five"
        return (
            f"{told} {questions} of which {differ} differ{'s' if differ == 1 else ''} {least}; they need not be equal."
        )
    alone = "by one test alone " if test.family > 1 else ""
    return (
        f"{told} With {questions}, only differences of about {100 * test.detectable:.1f} points or more "
        f"are found {alone}four times in five; this is no proof that they are equal."
    )


def points(difference: float) -> str:
    """A difference of shares in points of a percent, with its sign."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # + 0.0: no negative zero


def p_text(p_value: float) -> str:
    """`= 0.012`, or `< 0.001`; of a p near the level so many digits that it is not read as the level itself."""
    if p_value < 0.001:
        return "< 0.001"
    digits = 3 if p_value < 0.1 else 2
    while round(p_value, digits) == ALPHA != p_value:
        digits += 1
    return f"= {p_value:.{digits}f}"


def _interval(test: PairedTest) -> str:
    return f"95 % interval {points(test.ci[0])} to {points(test.ci[1])}"


def _p(test: PairedTest) -> str:
    family = f" after Holm over {test.family} tests" if test.family > 1 else ""
    return f"p {p_text(test.p)}{family}"
