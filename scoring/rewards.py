"""Rewards of a completion, in [0, 1]: is its answer right, is it laid out as asked. They serve as metrics too.

None of them raises for what a model wrote.
"""

from __future__ import annotations

import re
import string
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from scoring.extraction import extract_choice
from scoring.final_part import final_part, marked_part
from scoring.free_text import text_matches
from scoring.text_metrics import exact_match, token_f1

_LETTERS = tuple((letter, "") for letter in string.ascii_uppercase)
_SECONDS = 5
# Where no alarm can end a computation, only its size can: no tower of powers, huge exponent, factorial, deep brackets.
_LONGEST = 1000
_EXPLOSIVE = re.compile(r"\^[^$\n]{0,60}\^|\*\*|\^\W{0,5}\d{4,}|\d{3,}\W{0,3}!|!\s*!|(?:[({\[]\s*){20}")
_LATEX_COMMAND = re.compile(r"\\[a-zA-Z]+")
_SIGN_OF_MATHEMATICS = re.compile(r"[\d\\=^]")
# 5-10 is no difference, and 120/80 no quotient.
_PAIR = re.compile(r"\s*\d+\s*(?:[-–—:]\s*\d+|/\s*\d{2,})\s*")
_EXPONENT = re.compile(r"(?<=\d)[eE]([+-]?\d{1,3})\b")


@dataclass(frozen=True)
class Marks:
    """The marks of a layout: around the thinking, and around the answer or, where `answer` is null, before it only."""

    thinking: tuple[str, str]
    answer: tuple[str, str] | None = None


THINK_ANSWER = Marks(("<think>", "</think>"), ("<answer>", "</answer>"))


def accuracy_reward(completion: str, solution: str) -> float:
    """Return 1.0 when the completion's answer is the solution, else 0.0; an empty one of either is 0.0.

    The answer is what the last `<answer>` tag holds, else what follows the last end of thinking. A solution that is
    mathematics is compared by math-verify first. What that does not find equal is compared as text: a solution of one
    letter with the option that the answer chose; any other with the whole of the tag (exact match, so that a tag that
    lists every candidate is worth nothing), or, without a tag, with what the answer states (`text_matches`).
    """
    answer, tagged = marked_part(completion)
    if not answer or not solution.strip():
        return 0.0
    if _is_mathematical(solution) and _mathematically_equal(answer, tagged, solution):
        return 1.0
    if re.fullmatch(r"[A-Z]", solution.strip()):
        return float(extract_choice(answer, _LETTERS).letter == solution.strip())
    return exact_match(answer, solution) if tagged else float(text_matches(solution, answer))


def format_reward(completion: str, marks: Marks = THINK_ANSWER) -> float:
    """Return 1.0 when the completion is a thinking, then an answer, both marked and not empty, and nothing else.

    Every mark stands there exactly once. White space around the parts does not count.
    """
    expected = [*marks.thinking, *(marks.answer or ())]
    if any(completion.count(mark) != 1 for mark in expected):
        return 0.0
    before, _, rest = completion.partition(marks.thinking[0])
    thinking, _, rest = rest.partition(marks.thinking[1])
    outside = [before]
    answer = rest
    if marks.answer is not None:
        between, _, rest = rest.partition(marks.answer[0])
        answer, _, after = rest.partition(marks.answer[1])
        outside += [between, after]
    return float(not any(map(str.strip, outside)) and bool(thinking.strip()) and bool(answer.strip()))


def choice_reward(completion: str, letter: str, options: Sequence[tuple[str, str]]) -> float:
    """Return 1.0 when the completion chose the option `letter` of `options` (letter, text), else 0.0."""
    return float(extract_choice(completion, options).letter == letter)


def token_f1_reward(completion: str, solution: str) -> float:
    """Return the F1 of the tokens of the completion's answer, what follows its thinking, and of the solution's."""
    return token_f1(final_part(completion), solution)


def _is_mathematical(text: str) -> bool:
    """Whether a text is an expression: no words but LaTeX's, so that "5 mg" is never equal to "5 g"."""
    words = re.search(r"[^\W\d_]{2,}", _LATEX_COMMAND.sub(" ", text))
    return bool(_SIGN_OF_MATHEMATICS.search(text)) and not words and not _PAIR.fullmatch(text)


def _mathematically_equal(answer: str, tagged: bool, solution: str) -> bool:
    """Ask math-verify. Its time limit is an alarm, which exists in the main thread only; elsewhere it runs without."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    if _EXPLOSIVE.search(answer) or len(solution) > _LONGEST:
        return False
    seconds = _SECONDS if threading.current_thread() is threading.main_thread() else None
    gold = parse(_as_latex(solution), parsing_timeout=seconds)
    if tagged and _is_mathematical(answer):
        found = parse(_as_latex(answer[-_LONGEST:]), parsing_timeout=seconds)
    else:
        stated = [
            LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False),
            ExprExtractionConfig(try_extract_without_anchor=False),
        ]
        found = parse(answer[-_LONGEST:], stated, extraction_mode="first_match", parsing_timeout=seconds)
    return bool(verify(gold, found, timeout_seconds=seconds))


def _as_latex(text: str) -> str:
    """Return an expression in dollars; math-verify reads "1e3" as 1 unless it is spelt out."""
    plain = _EXPONENT.sub(r" \\cdot 10^{\1}", text.strip())
    return plain if "$" in plain or "\\boxed" in plain else f"${plain}$"
