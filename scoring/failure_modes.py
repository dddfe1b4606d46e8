"""Why an answer is wrong, as far as a rule can tell; for why a model went wrong see `scoring.judging.FAILURE_MODES`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scoring.text import clean, tokens_of

FailureMode = Literal["error", "empty", "truncated", "several_options", "no_answer", "wrong_option", "wrong_text"]
"""
`error`: nothing could be generated. `empty`: the output is white space. `truncated`: it was cut at the length limit
before it said an answer. `several_options`: it names several options and chooses none. `no_answer`: it chooses none.
`wrong_option`: it chooses another option than the gold one. `wrong_text`: a free-text answer that is not the gold one.
"""


def failure_mode(
    output: str, answer: str, finish_reason: str, extracted: str | None, options: Sequence[tuple[str, str]]
) -> FailureMode:
    """Return the first mode of `FailureMode`, in its order, that holds for a wrong answer.

    `output` is all that was generated and `answer` its part after the thinking; `extracted` is the option's letter, or
    the text of a question without options, null where there is none.
    """
    if finish_reason == "error":
        return "error"
    if not output.strip():
        return "empty"
    if extracted is not None:
        return "wrong_option" if options else "wrong_text"
    if finish_reason == "length":
        return "truncated"
    return "several_options" if len(_named(answer, options)) > 1 else "no_answer"


def _named(text: str, options: Sequence[tuple[str, str]]) -> set[str]:
    """Return the options that a text names, by a letter that stands alone ("A" and "I" are words) or by their text.

    A text inside another one that is named too ("heparin" in "unfractionated heparin") is not named itself.
    """
    plain = clean(text)
    words = {word.strip(".,;:!?()[]{}\"'") for word in plain.split()}
    by_letter = {
        letter for letter, _ in options if letter in words and (letter not in ("A", "I") or f"({letter})" in plain)
    }
    spoken = _spaced(text)
    texts = {letter: spaced for letter, option in options if (spaced := _spaced(option)).strip() and spaced in spoken}
    return by_letter | {
        letter for letter, own in texts.items() if not any(own != other and own in other for other in texts.values())
    }


def _spaced(text: str) -> str:
    return f" {' '.join(tokens_of(text))} "
