"""What texts made out of a case report must show, for each thing that a prompt may ask for. English, as reports are.

Each check raises `Complaint`, its first sentence without anything of the text, so that it can be counted.
"""

from __future__ import annotations

import re
from typing import Final

from curation.rewriting.content import content_of, missing_numbers, missing_words
from data.rows import Row, normalised
from inference.dialogue import Complaint
from scoring.extraction import extract_choice
from scoring.text import tokens_of

ANSWER_WORDS: Final = 0.5
"""Share of the answer's words that reasoning which comes to it may put otherwise."""
WEIGHING: Final = 2
ALOUD: Final = 2
"""So many different words of weighing, and of thinking aloud, are asked for."""
QUESTION_WORDS: Final = 20
ANSWER_LENGTH: Final = 25
KEPT: Final = 0.8
"""Share of the sentences without a mention of the report that must be left as they are."""

_MENTION: Final = re.compile(
    r"(?i:\bcase[ -](?:reports?|records?)\b|\b(?:this|the|our) (?:report|article|paper|manuscript|authors?)\b"
    r"|\bthe (?:discussants?|editors?|journal)\b|\bnew england journal\b|\bsupplementa(?:ry|l) (?:appendix|material)"
    r"|\b(?:fig(?:ure|s|\.)?s?|tables?|videos?) ?S?\d+\w?\b)"
    r"|\b[Pp]anels? [A-H]\b|\bNEJM\b|\b(?:Drs?\.?|[Dd]octors?|Prof(?:essor|\.)?) [A-Z]\w*"
)
_FIRST_PERSON: Final = re.compile(r"\b(?:I|I['’](?:m|d|ll|ve)|me|my|we|us|our|let['’]s)\b", re.IGNORECASE)
_WEIGHING: Final = re.compile(
    r"\b(?:although|though|however|but|yet|whereas|unlike|instead|rather than|against|argues?|(?:un|less |more )likely"
    r"|rules? out|ruled out|exclud\w+|alternativ\w+|if it were|would have|would (?:be )?expect(?:ed)?|differential"
    r"|on the other hand|absence of|lacks?|without|neither|not fit)\b",
    re.IGNORECASE,
)
_ALOUD: Final = re.compile(
    r"\b(?:hmm*|oh|ah|wait|okay|hold on|let me|let['’]s|actually|I wonder|what if|I think|maybe)\b"
    r"|\b(?:well|now|so|right),",
    re.IGNORECASE,
)
_SENTENCE_END: Final = re.compile(r"(?<!\b[DdMm]r\.)(?<!\bDrs\.)(?<!\bFig\.)(?<!\bProf\.)(?<=[.!?])\s+|\n+")
_CHOICE: Final = re.compile(r"^[ \t]*\(?[A-Ea-e][.):][ \t]+(?=\S)|(?<!\w)\([A-Ea-e]\)", re.MULTILINE)
_FOLLOWING: Final = re.compile(r"\bof the following\b|\bof these (?:options|choices)\b", re.IGNORECASE)
_NO_MORE_THAN_YES: Final = frozenset({"yes", "no", "true", "false", "unknown", "all", "none"})


def mentions_of(text: str) -> list[str]:
    """Return where a text speaks of the report, its figures and tables, or of doctors by name."""
    return [match.group() for match in _MENTION.finditer(text)]


def check_pure(text: str) -> None:
    """No mention of the report."""
    found = mentions_of(text)
    if found:
        named = ", ".join(f'"{each}"' for each in dict.fromkeys(found[:5]))
        raise Complaint(f"The text mentions the report, its figures or its doctors. Say the same without {named}.")


def check_comes_to_the_answer(text: str, row: Row) -> None:
    """The answer's option, or most of its words; of an answer without words its numbers."""
    if row.options and extract_choice(text, row.choices).letter in (row.answer_idx or "").split(","):
        return
    missing, share = missing_words(row.answer, text)
    if not content_of(row.answer).words:
        missing = missing_numbers(row.answer, text)
        share = float(bool(missing))
    if share > ANSWER_WORDS:
        raise Complaint(f"The reasoning does not come to the answer. It never says: {', '.join(missing)}.")


def check_first_person(text: str) -> None:
    """Written by somebody who says I or we."""
    if _FIRST_PERSON.search(text) is None:
        raise Complaint("The reasoning is not in the first person. Write it as the physician who thinks: I, my, we.")


def check_weighs(text: str) -> None:
    """Alternatives, and what speaks against them."""
    if len({found.casefold() for found in _WEIGHING.findall(text)}) < WEIGHING:
        raise Complaint(
            "The reasoning weighs nothing. Name the alternatives, the findings for and against each (including absent "
            "ones), and why each is more or less likely."
        )


def check_thinks_aloud(text: str) -> None:
    """Words of somebody who thinks aloud."""
    if len({found.casefold() for found in _ALOUD.findall(text)}) < ALOUD:
        raise Complaint(
            'The reasoning does not sound like thinking aloud. Use phrases such as "Hmm", "Wait", "Let me see".'
        )


def cleaned_of_mentions(text: str, row: Row) -> str:
    """Return the text when nothing in it speaks of the report and the sentences that never did stand as they stood."""
    check_pure(text)
    pieces = [piece for piece in _SENTENCE_END.split(row.reasoning) if piece.strip() and not mentions_of(piece)]
    whole = normalised(text)
    changed = [piece for piece in pieces if normalised(piece) not in whole]
    if len(changed) > (1 - KEPT) * len(pieces):
        raise Complaint(
            "Sentences were changed that do not mention the report. Of these there are "
            f'{len(changed)} of {len(pieces)}, such as "{_short(changed[0])}".'
        )
    return text.strip()


def check_exam_question(question: str, answer: str) -> None:
    """A question of its own, without choices and without its answer, and an answer of a few words."""
    check_pure(f"{question}\n{answer}")
    if len(question.split()) < QUESTION_WORDS or "?" not in question:
        raise Complaint(
            "The question is no vignette that ends in a question. Present the case with all the findings that are "
            "needed, then ask."
        )
    if _FOLLOWING.search(question) or len(_CHOICE.findall(question)) > 1:
        raise Complaint("The question is a multiple choice. Ask it openly, without any options.")
    tokens = tokens_of(answer)
    if len(answer.split()) > ANSWER_LENGTH or "\n" in answer.strip():
        raise Complaint(f"The answer is too long. Give it in at most {ANSWER_LENGTH} words, without the reasons.")
    if not tokens or (len(tokens) == 1 and tokens[0] in _NO_MORE_THAN_YES):
        raise Complaint(
            "The answer names nothing specific. Ask so that a diagnosis, a drug, a test or the like answers."
        )
    if _stands_in(tokens, tokens_of(question)):
        raise Complaint("The answer stands in the question. Take it out of there.")


def _stands_in(phrase: tuple[str, ...], tokens: tuple[str, ...]) -> bool:
    size = len(phrase)
    return any(tokens[start : start + size] == phrase for start in range(len(tokens) - size + 1))


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 80 else f"{text[:77]}..."
