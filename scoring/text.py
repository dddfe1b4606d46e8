"""What counts as the same text: markup taken off, and words, numbers and the signs that change a meaning compared."""

from __future__ import annotations

import re
import sys
import unicodedata
from itertools import islice

_LATEX_FONT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf)\s*\{([^{}]*)\}")
_LATEX_MARKUP = re.compile(r"\\(?:[()\[\]]|(?=[ ,;!]))")
_TAG = re.compile(r"</?[a-zA-Z]+>")
_HEADING = re.compile(r"^[ \t]*(?:#+|>(?![ \t]*\d))[ \t]*", re.MULTILINE)
_EMPHASIS = ("*", "`", "$", "__")
# Signs of other scripts that NFKC leaves alone, and what no reader sees. A dotted capital I would change a text's
# length in lower case, and statements are searched there.
_SIGNS = {
    **dict.fromkeys("’‘‚", "'"),
    **dict.fromkeys("“”„「」『』《》〈〉", '"'),
    **dict.fromkeys("−‐‑", "-"),
    **dict.fromkeys("。।॥۔", "."),
    **dict.fromkeys("、،", ","),
    **dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", ""),
    "؟": "?",
    "؛": ";",
    "【": "[",
    "】": "]",
    "İ": "I",
}
_SIGN = re.compile(f"[{''.join(_SIGNS)}]")
# A plus or minus counts when it ends a word ("Na+", "A-") or signs a number; elsewhere a hyphen only joins words.
# Vowel signs and tones of Indic scripts, Thai and others are marks, which Python's \w leaves out of a word.
_MARKS = "".join(chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code)).startswith("M"))
TOKEN = re.compile(
    rf"\d+(?:\.\d+)*|[^\W\d_]+(?:[{_MARKS}]+[^\W\d_]*)*"
    r"|[<>≤≥%↑↓=]|\+(?!\w)|[+-](?=ve\b)|(?<=\w)-(?![\w-])|(?<!\w)[+-](?=\d)"
)
_BLANKS = re.compile(r"[^\S\n]+")
_EMPTY_LINES = re.compile(r"\n\s*\n")
ARTICLES = frozenset({"a", "an", "the"})


def clean(text: str) -> str:
    """Return `text` in NFKC without Markdown, HTML tags and LaTeX font commands, white space collapsed.

    Line breaks and paragraphs stay, punctuation of other scripts becomes its Latin counterpart.
    """
    plain = text
    if not text.isascii():
        plain = text if unicodedata.is_normalized("NFKC", text) else unicodedata.normalize("NFKC", text)
        plain = _SIGN.sub(_replaced, plain)
    if "  " in plain or "\t" in plain or "\r" in plain or "\u2028" in plain:
        plain = _BLANKS.sub(" ", plain)
    if "\\" in plain:
        plain = _LATEX_MARKUP.sub("", _LATEX_FONT.sub(r"\1", plain))
    for sign in _EMPHASIS:
        plain = plain.replace(sign, "")
    if "<" in plain:
        plain = _TAG.sub("", plain)
    if "#" in plain or ">" in plain:
        plain = _HEADING.sub("", plain)
    return _EMPTY_LINES.sub("\n\n", plain)


def _replaced(sign: re.Match[str]) -> str:
    return _SIGNS[sign.group()]


def token_spans(
    text: str, start: int = 0, limit: int | None = None, end: int = sys.maxsize
) -> list[tuple[str, int, int]]:
    """Return (case-folded token, start, end) for each word, number and meaningful sign of a cleaned text.

    Only those in [start, end), and only the first `limit` ones where that is given.
    """
    matches = islice(TOKEN.finditer(text, start, end), limit)
    return [(match.group().casefold(), match.start(), match.end()) for match in matches]


def tokens_of(text: str) -> tuple[str, ...]:
    """Return the tokens of a text, an article at its beginning left out: equal tuples mean equal texts."""
    return cleaned_tokens(clean(text))


def cleaned_tokens(plain: str, limit: int | None = None) -> tuple[str, ...]:
    """Return the (first `limit`) tokens of a cleaned text, an article at its beginning left out."""
    if limit is None:
        tokens = TOKEN.findall(plain.casefold())
        if not tokens or tokens[0] not in ARTICLES:
            return tuple(tokens)
    spans = token_spans(plain, 0, limit)
    return tuple([token for token, _, _ in (spans[1:] if begins_with_article(plain, spans) else spans)])


def begins_with_article(plain: str, spans: list[tuple[str, int, int]]) -> bool:
    """Whether the first token is an article: "A" is one only before a word, not in "A. word" and in "A and C"."""
    if len(spans) < 2 or spans[0][0] not in ARTICLES or spans[1][0] in {"and", "or"}:
        return False
    return plain[spans[0][2] : spans[1][1]].isspace()


def word_starts(low: str, word: str) -> list[int]:
    """Return where `word` begins in a text in lower case; not inside another word or a number."""
    found = []
    at = low.find(word)
    while at >= 0:
        before = low[max(0, at - 2) : at]
        if not (before[-1:].isalnum() or (before[-1:] == "." and before[:1].isdigit())):
            found.append(at)
        at = low.find(word, at + len(word))
    return found
