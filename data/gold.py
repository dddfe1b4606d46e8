"""Which of a question's options are right, from every spelling that files use.

In a column of marks (`answer_idx`) a single letter is an option's letter and a whole number an index, whatever the
options' texts are: one rule for all rows. In a column of texts (`answer`) no number is an index, and a single letter is
a text where an option has it; in one that holds nothing but letters it is then ambiguous. Anything else must be the
text of just one option; case, width and white space do not count. True and false are options "yes" and "no", or "true"
and "false".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data.cells import is_null
from data.rows import normalised
from registry.errors import shortened

NO_GOLD = "has no gold answer"

_LONE = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\].:]?")
_LABELLED = re.compile(r"\(?([A-Za-z])[).:]\s*(.+)", re.DOTALL)
_SEPARATORS = (r"[;|]", r",", r"[,/&]|\band\b", r"\s+")
_WORDS = {"true": ("true", "yes"), "false": ("false", "no")}
_WHOLE = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True)
class Gold:
    """The letters of the right options, sorted, and what is wrong with them (null: nothing)."""

    letters: tuple[str, ...]
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What gold answers refer to: slots of (letter, text), numbers counted from `base`; `several` may be right.

    `all_letters` says that the column of texts holds nothing but single letters.
    """

    slots: Sequence[tuple[str, str]]
    base: int
    several: bool
    all_letters: bool

    def gold(self, marked: Any, answer: Any) -> Gold:
        """Return the gold that a mark and an answer's text name; the mark counts where there is one."""
        by_mark = self._all(marked, of_text=False)
        by_text = self._all(answer, of_text=True)
        if by_mark.fault == NO_GOLD:
            return by_text
        if by_mark.fault is None and self._contradicts(answer, by_text, by_mark):
            shown = ", ".join(by_mark.letters)
            return Gold(by_mark.letters, f"has the gold letter {shown} but the answer {_shown(answer)}")
        return by_mark

    def _contradicts(self, answer: Any, by_text: Gold, by_mark: Gold) -> bool:
        """Whether the answer's text is that of other options; a text that is no option's, an explanation, is not."""
        if by_text.fault is None:
            same_text = {normalised(text) for letter, text in self.slots if letter in by_text.letters}
            gold_text = {normalised(text) for letter, text in self.slots if letter in by_mark.letters}
            return by_text.letters != by_mark.letters and same_text != gold_text
        named = () if is_null(answer) or not isinstance(answer, str) else self._with_text(answer)
        return bool(named) and not self.several and by_mark.letters[0] not in named

    def _all(self, value: Any, *, of_text: bool) -> Gold:
        if is_null(value) or (isinstance(value, str) and not value.strip()) or value in ([], ()):
            return Gold((), NO_GOLD)
        first: Gold | None = None
        for parts in self._readings(value):
            found = [self._one(part, of_text=of_text) for part in parts]
            fault = next((gold.fault for gold in found if gold.fault), None)
            if fault is None:
                return self._together({letter for gold in found for letter in gold.letters})
            first = first or Gold((), fault)
        return first or Gold((), NO_GOLD)

    def _together(self, letters: set[str]) -> Gold:
        ordered = tuple(sorted(letters))
        if len(ordered) > 1 and not self.several:
            return Gold((), f"has {len(ordered)} right answers ({', '.join(ordered)}): set its `task` to labels")
        return Gold(ordered)

    def _readings(self, value: Any) -> Iterator[list[Any]]:
        """Yield what the value may list: itself first, then its parts, where several answers may be right."""
        if isinstance(value, (list, tuple)):
            yield list(value)
            return
        yield [value]
        if not self.several or not isinstance(value, str):
            return
        if value.lstrip().startswith("["):
            try:
                yield list(json.loads(value))
            except json.JSONDecodeError:
                return
        for separator in _SEPARATORS:
            parts = [part.strip() for part in re.split(separator, value.strip()) if part.strip()]
            if len(parts) > 1:
                yield parts
        if value.strip().isupper():
            yield list(value.strip())

    def _one(self, value: Any, *, of_text: bool) -> Gold:
        name = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
        lone = _LONE.fullmatch(name)
        letter = lone[1].upper() if lone and lone[1].upper() in self._letters() else None
        if not of_text and (lone or (_WHOLE.fullmatch(name) and not isinstance(value, bool))):
            letter = letter if lone else self._at(int(name) - self.base)
            return Gold((letter,)) if letter else self._none(name)
        found = set(self._with_text(name))
        if letter and (self.all_letters or not found):
            found.add(letter)
        found = found or self._labelled(name) or {each for word in _words(value) for each in self._with_text(word)}
        if len(found) > 1:
            return Gold((), f"has the gold answer {_shown(name)}, which fits the options {' and '.join(sorted(found))}")
        return Gold(tuple(found)) if found else self._none(name)

    def _at(self, index: int) -> str | None:
        letter, text = self.slots[index] if 0 <= index < len(self.slots) else ("", "")
        return letter if text else None

    def _with_text(self, name: str) -> tuple[str, ...]:
        exact = tuple(letter for letter, text in self.slots if text and text == name)
        wanted = normalised(name).rstrip(".")
        return exact or tuple(letter for letter, text in self.slots if text and normalised(text).rstrip(".") == wanted)

    def _labelled(self, name: str) -> set[str]:
        """The option of "B. Prednisone", where letter and text agree."""
        match = _LABELLED.fullmatch(name)
        return {match[1].upper()} & set(self._with_text(match[2])) if match else set()

    def _none(self, name: str) -> Gold:
        return Gold(
            (), f"has the gold answer {_shown(name)}, which is none of its options {', '.join(self._letters())}"
        )

    def _letters(self) -> list[str]:
        return [letter for letter, text in self.slots if text]


def are_letters(values: Iterable[Any]) -> bool:
    """Whether the values of a column of texts, those that are there, are all single letters."""
    there = [str(value).strip() for value in values if not is_null(value) and str(value).strip()]
    return bool(there) and all(_LONE.fullmatch(value) for value in there)


def _words(value: Any) -> tuple[str, ...]:
    return _WORDS.get(str(value).strip().casefold(), ())


def _shown(value: Any) -> str:
    return shortened(value if isinstance(value, str) else str(value))
