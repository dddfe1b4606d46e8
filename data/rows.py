"""The one shape that a question has, whatever file it came from, and the ids by which it is known.

A row is as its file has it: loading strips surrounding white space and nothing else, so that the quality filter
sees, counts and names what is wrong. Missing text is "".
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

ID_LENGTH = 16
_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))  # json.dumps would make one for each row


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a question: its upper-case letter and its text."""

    letter: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One question with its gold answer and, in training data, its reasoning.

    `question_id` is shared by repeats of a question; `id` is this row's own, also among identical rows.
    `answer_idx` is the letter of the gold option, null when there is none; of several right ones all letters,
    sorted and set apart by commas ("A,C"). `reasoning_original` is the reasoning as
    loaded and stays so when `reasoning` is rewritten.
    """

    id: str
    question_id: str
    question: str
    options: tuple[Option, ...]
    answer: str
    answer_idx: str | None
    reasoning: str
    reasoning_original: str
    specialty: str | None
    source: str

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The options as (letter, text) pairs."""
        return [(option.letter, option.text) for option in self.options]

    @property
    def gold(self) -> Option | None:
        """The one right option; null for a question without options, without a gold answer, or with several."""
        return next((option for option in self.options if option.letter == self.answer_idx), None)


def question_id_of(question: str, options: Sequence[Option]) -> str:
    """Return the id that all repeats of a question share: 16 hex characters of a SHA-256.

    Case, Unicode width, white space and the order of the options make no other question of it.
    """
    return _digest([normalised(question), sorted(normalised(option.text) for option in options)])


def row_id_of(content: Sequence[object], occurrence: int) -> str:
    """Return the id of a row with this `content` (plain JSON) that is the `occurrence`-th such row, from 0."""
    return _digest([list(content), occurrence])


def normalised(text: str) -> str:
    """Return a text as it is compared: without regard to case, Unicode width and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _digest(value: object) -> str:
    encoded = _ENCODER.encode(value).encode("ascii")
    return hashlib.sha256(encoded).hexdigest()[:ID_LENGTH]
