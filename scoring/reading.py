"""Reading what follows a trigger: which option it names, if it names one and no other.

The articles "A" and "a", the pronoun "I", and names such as "E. coli", "B-cell" or "C-reactive" are no letters of
options.
"""

from __future__ import annotations

import re
from typing import Final

from scoring.choices import Choices
from scoring.languages import CONTINUED
from scoring.languages import FILLER as FOREIGN_FILLER

UNDECIDED: Final = ""
"""Stated, but for no option, for several ones, or for a letter and the text of another option."""

_MAX_FILLERS = 10
_SENTENCE = 200
_FILLER = re.compile(
    r"(?i)[\s:=→>\"'«»–—-]+|(?:therefore|thus|clearly|definitely|probably|most\s+likely|likely|obviously|indeed|still|also"
    r"|simply|actually|really|hence|then|as\s+follows|to\s+be|that\s+of|I\s+(?:think|believe|guess|would\s+say)"
    r"|(?:the\s+)?(?:(?:correct|best|final)\s+)?(?:option|choice|letter|answer|alternative))\b[,:]?"
    rf"|{FOREIGN_FILLER}"
)
_NEGATED = re.compile(r"(?i)(?:not|neither|never|no\s+longer)\b")
_INSTEAD = re.compile(r"(?i)\b(?:but(?:\s+rather|\s+instead)?|rather|instead|it\s+is|it's)\b(?!\s+than)")
_SENTENCE_END = re.compile(r"\n|\.\s")
# Scripts without blanks may follow a letter at once; their words are judged by CONTINUED.
LETTERLIKE = r"[^\W\u0900-\u0dff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
_LABEL = re.compile(rf"[(\[{{]?\s*([A-Za-z])(?!{LETTERLIKE}|[+/]\w|\+|'{LETTERLIKE}|-{LETTERLIKE}|-$)(?:\s*([)\]}}]))?")
_JOIN = re.compile(
    r"(?i)\s*,?\s*(?:\b(?:and(?:/or)?|or|y|et|und|e|o|ou|oder)\b|[&/,;+和或与與及])\s*(?:also\s+|both\s+)?"
    r"(?:(?:the\s+)?(?:options?|choices?)\s+)?"
)
_NEXT_LETTER = re.compile(
    r"[(\[]?([A-Za-z])(?![\w'-])(?=[)\]]?\s*(?:[.,;:)!?\n/&]|$|(?:and|or|are|together|both|y|et|und)\b))"
)
_INSERTION = re.compile(r",[^,.\n]{1,30},\s*")
_MARKS = re.compile(r"[).:\]]*\s*")
_CORRECTED = re.compile(
    r"(?i)[)\]]?\s*[.,;…–—-]*\s*(?:\b(?:no|wait|sorry|actually|hmm|oops|or\s+rather|I\s+mean)\b[\s,.:…–—-]*)+(?:it\s+is\s+|it's\s+)?"
)
_CALLED_WRONG = re.compile(
    r"[)\]]?\s*,?\s*(?:but|which|and|although|though)\s+(?:(?:that|this|it)\s+)?(?:is|was|seems)\s+(?:wrong|incorrect|not|false)\b"
)
_CLAUSE = re.compile(r"\s*[(\[]?[A-Za-z][)\]]?\s+(?:is|was|are|would|has|seems|may|might|could)\b")
_STOP = re.compile(r"[ \t]*(?:$|\n|[.,;:!\"'\])}»])")
_TEXT_STOP = re.compile(r"\s*(?:$|\n|[.;,)\]}](?!\w))")
_LINK = re.compile(
    r"\s+(?:because|since|as|which|for|due|and|or|but|instead|over|is|was|in|with|from|according|among|here|on|by|if"
    r"|unless|when|to|rather(?=\s+than)|not(?=\s+[A-Z]\b)|given(?=\s+th)|based(?=\s+on)|porque|weil|car|parce)\b(?!-)"
    r"|\s+(?:है|হল|です|입니다)|\s*[–—(]|\s+-+\s"
)
_NEW_SENTENCE = re.compile(
    r"\s+(?:The|This|These|That|It|Its|Because|Since|In|He|She|They|We|So|Thus|Hence|Explanation|Reason)\b"
)
_FUNCTION_WORD = re.compile(r"(?:the|this|these|that|it|its|because|since|as|in|a|an|he|she|they|we|so|thus|hence)\b")
_BRACKETED = re.compile(
    r"\s*,?\s*[(\[]\s*(?:(?:option|choice|answer)\s+)?([A-Za-z])\s*[)\]]|\s*,?\s*(?:option|choice)\s+([A-Z])\b"
)
_PHRASE_AND_LABEL = re.compile(
    r"\s*(?!(?:not|neither|never|if)\b)[A-Za-z][\w' -]{2,60}[\w']\s*\(([A-Z])\)"
    r"(?=\s*(?:[.,;:!\n]|$|because\b|since\b|as\b))"
)
_QUESTION = re.compile(r"\s*[)\]]?\s*\?")
_CONDITION = re.compile(r"\s*,?\s+(?:(?:only\s+)?if|unless|were|had|in\s+case)\b")


def option_at(text: str, start: int, choices: Choices, end: int | None = None) -> str | None:
    """Return the option (upper case) that a cleaned text names from `start` on, `UNDECIDED`, or null for nothing."""
    position = start
    for _ in range(_MAX_FILLERS):
        mention = choices.starting(text, position)
        if mention is not None and (end is None or mention.end <= end):
            return _confirmed_text(mention.letter, text, mention.end, choices)
        filler = _FILLER.match(text, position)
        if not filler:
            break
        position = filler.end()
    if _NEGATED.match(text, position):
        sentence = _SENTENCE_END.split(text[position : position + _SENTENCE], maxsplit=1)[0]
        instead = _INSTEAD.search(sentence)
        if not instead or _CLAUSE.match(sentence, instead.end()):
            return None
        return option_at(text, position + instead.end(), choices)
    return _labelled(text, position, choices)


def is_condition(text: str, start: int) -> bool:
    """Whether "if" or "unless" follows: what was named holds only under a condition."""
    return bool(_CONDITION.match(text, start))


def _confirmed_text(letter: str, text: str, end: int, choices: Choices) -> str | None:
    """Return the option named by its text unless it is asked, conditional, joined to another or labelled as another."""
    if _QUESTION.match(text, end) or is_condition(text, end) or _CALLED_WRONG.match(text, end):
        return None
    label = _BRACKETED.match(text, end)
    named = (label[1] or label[2]).upper() if label else letter
    if named in choices.letters and named != letter:
        return UNDECIDED
    return UNDECIDED if _joined(letter, text, end, choices) else letter


def _joined(letter: str, text: str, end: int, choices: Choices) -> bool:
    """Whether another option is named in the same breath: "A and C", "aspirin or warfarin"."""
    join = _JOIN.match(text, end)
    if not join:
        return False
    insertion = _INSERTION.match(text, join.end())
    at = insertion.end() if insertion else join.end()
    label = _LABEL.match(text, at)
    named = label[1].upper() if label else letter
    if label and named != letter:
        own = choices.starting(text, _after_marks(text, label.end()))
        if _NEXT_LETTER.match(text, at) or (own is not None and own.letter == named):
            return True
    mention = choices.starting(text, at)
    return mention is not None and mention.letter != letter and bool(_TEXT_STOP.match(text, mention.end))


def _after_marks(text: str, end: int) -> int:
    marks = _MARKS.match(text, end)
    return marks.end() if marks else end


def _corrected(text: str, end: int, choices: Choices) -> str | None:
    """Return the letter that takes back what was just named: "A. Wait, no, B"."""
    correction = _CORRECTED.match(text, end)
    second = _NEXT_LETTER.match(text, correction.end()) if correction else None
    return second[1].upper() if second and second[1].upper() in choices.letters else None


def _labelled(text: str, start: int, choices: Choices) -> str | None:
    label = _LABEL.match(text, start)
    if not label:
        phrase = _PHRASE_AND_LABEL.match(text, start)
        return phrase[1] if phrase and phrase[1] in choices.letters else None
    letter, end = label[1].upper(), label.end()
    if _QUESTION.match(text, end) or not (label[2] or _stands_alone(label[1], text, end, choices)):
        return None
    if is_condition(text, end) or _CALLED_WRONG.match(text, end):
        return None
    if letter not in choices.letters:
        return UNDECIDED
    own = choices.starting(text, _after_marks(text, end))
    if own is not None and own.letter == letter:
        return _corrected(text, own.end, choices) or (UNDECIDED if _joined(letter, text, own.end, choices) else letter)
    if own is not None and _TEXT_STOP.match(text, own.end):
        return UNDECIDED
    return _corrected(text, end, choices) or (UNDECIDED if _joined(letter, text, end, choices) else letter)


def _stands_alone(letter: str, text: str, end: int, choices: Choices) -> bool:
    """Whether an unbracketed letter is a label, judged by what follows it."""
    if choices.shares_word(letter.upper(), text[end : end + 80]):
        return True
    stop = _STOP.match(text, end)
    if stop:
        rest = text[stop.end() : stop.end() + 40].lstrip(" ")
        is_name = stop.group().endswith(".") and rest[:1].islower() and not _FUNCTION_WORD.match(rest)
        # "the answer is a" may have been cut off before a noun
        cut = letter == "a" and end == len(text) and text[: end - 1].rstrip(" ")[-1:].isalpha()
        return not (is_name or cut)
    if _LINK.match(text, end) or text[end : end + 1] in CONTINUED:
        return True
    return letter.isupper() and letter not in "AI" and bool(_NEW_SENTENCE.match(text, end))
