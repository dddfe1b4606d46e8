"""The options of one question as an answer can refer to them: by letter or by text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scoring.text import ARTICLES, token_spans, tokens_of

Tokens = tuple[str, ...]


@dataclass(frozen=True)
class Choices:
    """Upper-case letter -> letter as given, letter -> tokens of its text, and the texts that name one option only."""

    letters: dict[str, str]
    texts: dict[str, Tokens]
    by_text: dict[Tokens, str]

    def starting(self, text: str) -> str | None:
        """Return the option whose text a text begins with: the longest one where several do."""
        found = self._longest(tokens_of(text))
        return found[0] if found else None

    def equal_to(self, text: str) -> str | None:
        """Return the option whose text this is."""
        return self.by_text.get(tokens_of(text))

    def mentioned(self, text: str) -> set[str]:
        """Return the options whose text occurs in a cleaned text, other than inside a longer option's text."""
        tokens = [token for token, _, _ in token_spans(text)]
        found, position = set(), 0
        while position < len(tokens):
            match = self._longest(tokens[position : position + self._longest_text()])
            if match:
                found.add(match[0])
            position += match[1] if match else 1
        return found

    def shares_word(self, letter: str, text: str) -> bool:
        """Return whether the first words of a cleaned text occur in the option's own text."""
        own = set(self.texts.get(letter, ())) - ARTICLES
        words = [token for token, _, _ in token_spans(text[:80]) if token not in ARTICLES]
        return bool(own.intersection(words[:4]))

    def _longest(self, tokens: Sequence[str]) -> tuple[str, int] | None:
        """Return the letter and the length of the longest option text that the tokens begin with."""
        for length in range(min(len(tokens), self._longest_text()), 0, -1):
            letter = self.by_text.get(tuple(tokens[:length]))
            if letter is not None:
                return letter, length
        return None

    def _longest_text(self) -> int:
        return max(map(len, self.by_text), default=0)


def choices_of(options: Sequence[tuple[str, str]]) -> Choices:
    """Return the options of a question, as (letter, text).

    A text that two options share names neither. A text of a single letter is taken for a label where it could be
    one, or for the article or pronoun.
    """
    texts = {letter.upper(): tokens_of(text) for letter, text in options}
    shared = Counter(texts.values())
    ambiguous = {(name.casefold(),) for name in (*texts, "a", "i")}
    return Choices(
        letters={letter.upper(): letter for letter, _ in options if re.fullmatch(r"[A-Za-z]", letter)},
        texts=texts,
        by_text={
            tokens: letter
            for letter, tokens in texts.items()
            if tokens and shared[tokens] == 1 and tokens not in ambiguous
        },
    )
