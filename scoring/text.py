"""What counts as the same text: markup taken off, and words, numbers and the signs that change a meaning compared."""

from __future__ import annotations

import re
import unicodedata

_LATEX_FONT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf)\s*\{([^{}]*)\}")
_MARKUP = re.compile(r"[*`$]|__|\\[()\[\]]|</?[a-zA-Z]+>|^[ \t]*(?:#+|>(?![ \t]*\d))[ \t]*|\\(?=[ ,;!])", re.MULTILINE)
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "−": "-", "‐": "-", "‑": "-", "。": "."})
# A plus or minus counts when it ends a word ("Na+", "A-") or signs a number; elsewhere a hyphen only joins words.
_TOKEN = re.compile(r"\d+(?:\.\d+)*|[^\W\d_]+|[<>≤≥%↑↓=]|\+(?!\w)|[+-](?=ve\b)|(?<=\w)-(?![\w-])|(?<!\w)[+-](?=\d)")
_BLANKS = re.compile(r"[^\S\n]+")
_EMPTY_LINES = re.compile(r"\n\s*\n")
ARTICLES = frozenset({"a", "an", "the"})


def clean(text: str) -> str:
    """Return `text` in NFKC without Markdown, HTML tags and LaTeX font commands, white space collapsed.

    Line breaks and paragraphs stay.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    bare = _MARKUP.sub("", _BLANKS.sub(" ", _LATEX_FONT.sub(r"\1", plain)))
    return _EMPTY_LINES.sub("\n\n", bare)


def token_spans(text: str) -> list[tuple[str, int, int]]:
    """Return (case-folded token, start, end) for each word, number and meaningful sign of a cleaned text."""
    return [(match.group().casefold(), match.start(), match.end()) for match in _TOKEN.finditer(text)]


def tokens_of(text: str) -> tuple[str, ...]:
    """Return the tokens of a text, an article at its beginning left out: equal tuples mean equal texts.

    "A" is an article only before a word: it is none in "A. word" and in "A and C".
    """
    plain = clean(text)
    spans = token_spans(plain)
    tokens = tuple(token for token, _, _ in spans)
    if len(spans) < 2 or tokens[0] not in ARTICLES or tokens[1] in {"and", "or"}:
        return tokens
    return tokens[1:] if plain[spans[0][2] : spans[1][1]].isspace() else tokens
