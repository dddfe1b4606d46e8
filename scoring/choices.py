"""The options of one question as an answer can refer to them: by letter or by text."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from scoring.text import (
    ARTICLES,
    TOKEN,
    begins_with_article,
    cleaned_tokens,
    token_spans,
    tokens_of,
    word_starts,
)

Tokens = tuple[str, ...]
Options = tuple[tuple[str, str], ...]

_CACHED_QUESTIONS = 8192
_LETTERS = frozenset(string.ascii_uppercase)
_SENTENCE_MARK = re.compile(r"[.?!;]")
# What may follow an option's text that is meant as such; "aspirin allergy" and "5 mg/kg" are other things.
_AFTER_TEXT = re.compile(
    r"\s*(?:$|\n|[.,;:!?)\]}\"(|\[–—]|'(?!s\b)|->)|\s+-+\s"
    r"|\s+(?:because|since|as|which|due|given|and|or|but|instead|over|is|was|are|if|unless|when|here|rather|not|than|would"
    r"|will|should|based|this|therefore|thus|among|according|may|might|could|now|today|immediately|first|alone|only|daily|well"
    r"|best|it|they|he|she|there|next|promptly|urgently|therapy|treatment)\b(?!-)"
)
_NARROWED = re.compile(r"\s+(?:with|without|of|in|to|for|on|by|at|from|after|per|that)\b(?!-)")


@dataclass(frozen=True)
class Mention:
    """An option's text at [start, end) of a cleaned text; `letter` in upper case."""

    letter: str
    start: int
    end: int


@dataclass(frozen=True)
class Choices:
    """Upper-case key -> key as given (`letters`: those of one letter), key -> tokens of its text, and the texts that
    name one option only.

    No text has more than `longest` tokens or `reach` characters; texts begin with one of the tokens
    `firsts`.
    """

    keys: Mapping[str, str]
    letters: Mapping[str, str]
    texts: Mapping[str, Tokens]
    by_text: Mapping[Tokens, str]
    longest: int
    reach: int
    firsts: frozenset[str]

    def starting(self, text: str, start: int = 0) -> Mention | None:
        """Return the option whose text stands at `start` of a cleaned text: the longest one where several do."""
        first = TOKEN.search(text, start, start + self.reach)
        if not first or not self._may_begin(first.group()) or _SENTENCE_MARK.search(text, start, first.start()):
            return None
        spans = token_spans(text, first.start(), self.longest + 1, first.start() + self.reach)
        return self._longest(spans[1:] if begins_with_article(text, spans) else spans, text)

    def equal_to(self, text: str) -> str | None:
        """Return the option whose text this cleaned text is."""
        first = TOKEN.search(text)
        return (
            self.by_text.get(cleaned_tokens(text, self.longest + 2))
            if first and self._may_begin(first.group())
            else None
        )

    def mentioned(self, text: str) -> list[Mention]:
        """Return where options' texts occur in a cleaned text, other than inside a longer option's text."""
        low = text.lower()
        found, position = [], 0
        for at in sorted({at for word in self.firsts if word in low for at in word_starts(low, word)}):
            mention = (
                None if at < position else self._longest(token_spans(text, at, self.longest, at + self.reach), text)
            )
            if mention:
                found.append(mention)
                position = mention.end
        return found

    def shares_word(self, letter: str, text: str) -> bool:
        """Return whether the first words of a cleaned text occur in the option's own text."""
        own = set(self.texts.get(letter, ())) - ARTICLES
        words = [token for token, _, _ in token_spans(text[:80]) if token not in ARTICLES]
        return bool(own.intersection(words[:4]))

    def _may_begin(self, token: str) -> bool:
        folded = token.casefold()
        return folded in self.firsts or folded in ARTICLES

    def _longest(self, spans: list[tuple[str, int, int]], text: str) -> Mention | None:
        """Return the longest option text that the tokens begin with, if it ends where a phrase can end."""
        tokens = tuple(token for token, _, _ in spans[: self.longest])
        for length in range(len(tokens), 0, -1):
            letter = self.by_text.get(tokens[:length])
            if letter is not None:
                mention = Mention(letter, spans[0][1], spans[length - 1][2])
                return mention if self._ends(mention, tokens[:length], text) else None
        return None

    def _ends(self, mention: Mention, tokens: Tokens, text: str) -> bool:
        if text[max(0, mention.start - 1) : mention.start] == "-" and tokens[0].isalpha():
            return False
        if _AFTER_TEXT.match(text, mention.end):
            return True
        if not _NARROWED.match(text, mention.end):
            return False
        size = len(tokens)
        return not any(len(other) > size and other[:size] == tokens for other in self.by_text)


@lru_cache(maxsize=_CACHED_QUESTIONS)
def choices_of(options: Options) -> Choices:
    """Return the options of a question, as (letter, text).

    A text that two options share names neither. A text of a single letter is taken for a label where it could be
    one, or for the article or pronoun.
    """
    texts = {letter.upper(): tokens_of(text) for letter, text in options}
    shared = Counter(texts.values())
    ambiguous = {(name.casefold(),) for name in (*texts, "a", "i")}
    by_text = {
        tokens: letter for letter, tokens in texts.items() if tokens and shared[tokens] == 1 and tokens not in ambiguous
    }
    return Choices(
        keys={letter.upper(): letter for letter, _ in options},
        letters={
            letter.upper(): letter
            for letter, _ in options
            if len(letter) == 1 and letter.isascii() and letter.isalpha()
        },
        texts=texts,
        by_text=by_text,
        longest=max(map(len, by_text), default=0),
        reach=2 * max((len(text) for _, text in options), default=0) + 80,
        firsts=frozenset(tokens[0] for tokens in by_text),
    )
