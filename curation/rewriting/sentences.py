"""Plain prose: exactly one sentence, and thoughts on lines of their own. See `structures`."""

from __future__ import annotations

import re
from typing import Final

from data.rows import Row, normalised
from inference.dialogue import Complaint

MOST_WORDS: Final = 80
MOST_CHARACTERS: Final = 1000
"""For languages that set no space between words."""
LEAST_THOUGHTS: Final = 3

_END: Final = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s+[\"'“‘(\[]?[^\W_a-z])|[。！？]+[”’」）]*(?=\S|\s+\S)")
_ABBREVIATION: Final = re.compile(
    r"dr|prof|mr|mrs|ms|st|jr|sr|vs|cf|ca|approx|al|figs?|resp|bzw|ggf|evtl|inkl|env|etc|spp?|ssp|subsp|var|pts?|[hdtr]x|wt|ht|temp"
    r"|min|max|hrs?|wks?|mos?|yrs?|inj|tab|dept|inc",
    re.IGNORECASE,
)
# Units end sentences too: before such a word a new one begins.
_UNIT: Final = re.compile(r"hrs?|min|wks?|mos?|yrs?|tab|pts?", re.IGNORECASE)
_OPENER: Final = re.compile(r"(?:The|This|These|It|He|She|They|Then|Thus|Therefore|So|But|However)\b")
_LABEL: Final = re.compile(
    r"\A(?:\*\*|__)?(?:Summary|One[- ]sentence summary|Sentence|Answer|Here(?:['’]s| is)[^:.]{0,60} sentence)"
    r"(?:\*\*|__)?:(?:\*\*|__)?\s*",
    re.IGNORECASE,
)
_BOLD: Final = re.compile(r"\A(?:\*\*|__)((?:(?!\*\*|__).)+)(?:\*\*|__)\Z")
_HEADING: Final = re.compile(r"[ \t]*(?:#{1,6}[ \t]*\S|\*\*[^*]+\*\*:?[ \t]*\Z)")
_ITEM: Final = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+")
# Reasoning that is trained on finds the answer; it does not know that one was given.
_KNOWN: Final = re.compile(
    r"\b(?:given|provided|supplied|stated|known|listed|marked|reference)\s+(?:(?:correct|right|final)\s+)?answer\b(?!\s+(?:choice|option))"
    r"|\banswer\s+(?:is|was)\s+(?:already\s+)?(?:given|provided|supplied)\b",
    re.IGNORECASE,
)


def one_sentence(text: str) -> str:
    """Exactly one sentence of at most 80 words, with a period."""
    sentence = _BOLD.sub(r"\1", _LABEL.sub("", " ".join(text.split())))
    if sentence[-1:] in ",:;-–—":
        raise Complaint("The sentence breaks off. End it with a period.")
    if sentence and sentence.rstrip("\"'”’)]")[-1:] not in tuple(".!?。！？"):
        sentence += "."
    words = len(sentence.split())
    too_long = Complaint(
        f"The sentence is too long. It has {words} words and {len(sentence)} characters; "
        f"{MOST_WORDS} and {MOST_CHARACTERS} are allowed."
    )
    if len(sentence) > MOST_CHARACTERS:
        raise too_long
    ends = [match for match in _END.finditer(sentence) if match.end() < len(sentence) and _is_end(sentence, match)]
    if ends:
        raise Complaint(f"There is more than one sentence. There are {len(ends) + 1}; join them into one.")
    if words > MOST_WORDS:
        raise too_long
    return sentence


def _is_end(text: str, match: re.Match[str]) -> bool:
    """Whether a stop before a letter that is not a to z ends a sentence: not behind "Dr.", "e.g." and an initial."""
    if not match.group().startswith(".") or match.group().startswith(".."):
        return True
    *before, word = text[: match.start()].split()[-2:] or [""]
    word = word.strip("\"'“‘([")
    after = text[match.end() :].lstrip()
    following = after[:1]
    if _UNIT.fullmatch(word) and _OPENER.match(after):
        return True
    if following.islower():
        return False
    if word.casefold() in ("no", "nos"):
        return not following.isdigit()
    if len(word) == 1 and word.isupper():
        return bool(before) and not before[0][:1].isupper()
    return word[-1:].isdigit() or ("." not in word and not _ABBREVIATION.fullmatch(word))


def thoughts(text: str, row: Row) -> str:
    """Lines of thinking aloud towards the row's answer: no headings or items, and not the question over again."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(_HEADING.match(line) for line in lines):
        raise Complaint("There is a heading. Write plain lines of thought, without headings.")
    if sum(_ITEM.match(line) is not None for line in lines) > len(lines) // 2:
        raise Complaint("The thoughts are a list. Write them as plain lines, without bullets and numbers.")
    if len(lines) < LEAST_THOUGHTS:
        raise Complaint(f"There are too few lines. Write each thought on a line of its own, {LEAST_THOUGHTS} or more.")
    check_own_reasoning(text, row)
    return "\n".join(lines)


def check_own_reasoning(text: str, row: Row) -> None:
    """Raise `Complaint` for reasoning that repeats the question or speaks of the answer as given."""
    question = normalised(row.question)
    if len(question.split()) > 3 and question in normalised(text):
        raise Complaint("The question is repeated. Begin with the first thought about it.")
    known = _KNOWN.search(text)
    if known:
        raise Complaint(
            f'The reasoning speaks of the answer as known. Work it out instead; leave out "{known.group()}".'
        )
