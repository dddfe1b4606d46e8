"""Explicit statements of an answer in a cleaned text: where they stand and which option they are for.

A statement is a trigger ("the answer is", "Answer:", "I choose", "\\boxed{", ...) followed by a letter or by an
option's text, or a letter followed by a verdict ("B is correct"). The articles "A" and "a", the pronoun "I",
and names such as "E. coli", "B-cell" or "C-reactive" are no letters of options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scoring.choices import Choices

UNDECIDED = ""
REACH = 400
MAX_FILLERS = 10

_QUALITY = r"(?:correct|right|best|final|proper|(?:most\s+)?(?:appropriate|likely|accurate|suitable))"
_NOUN = rf"\b(?:(?:{_QUALITY}\s+)?answer|{_QUALITY}\s+(?:option|choice|letter|response))\b"
_GAP = (
    r"(?:\s*\(s\)|,[^.,\n]{1,60},"
    r"|\s+(?:to|for|here|of|in|among|from|given|based|option|choice|letter|therefore|then|that|which)\b[^.\n:?]{0,80}?)?"
)
_FINDING = r"\b(?:most\s+(?:likely|appropriate|suitable|accurate|probable)|best|correct)(?:\s+[\w-]+){1,6}?"
_IS = r"(?:is|was|would\s+be|should\s+be|must\s+be|will\s+be|has\s+to\s+be|remains)\b"
_TRIGGERS = {
    "answer_is": re.compile(rf"(?i)(?:{_NOUN}{_GAP}|{_FINDING})(?:\s+{_IS}|'s\b)"),
    "answer_label": re.compile(rf"(?i){_NOUN}{_GAP}\s*(?:[:=→–—]|->|-(?=\s))"),
    "answer_heading": re.compile(rf"(?im)^[^\w\n]{{0,9}}(?:(?:the|my)\s+)?{_NOUN}[ \t]*\n"),
    "choose": re.compile(r"(?i)\b(?:choose|chose|select(?:ed)?|pick(?:ed)?|go(?:ing)?\s+with|opt(?:ed)?\s+for)\b"),
    "therefore": re.compile(
        r"(?m)\b(?i:therefore|thus|hence|so|it\s+is|it's|I'd\s+say|I\s+would\s+say)\s*[,:]?(?=\s*\(?[A-Z]\)?\s*(?:[.!]?\s*$|\.\s))"
    ),
}
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_BOXED_LETTER = re.compile(r"[\s(\[{]*([A-Za-z])[\s)\]}.:]*")
_LEAD = r"(?:^[ \t]*|[.;:,]\s+|\b(?:(?i:option|choice|answer|therefore|thus|hence|so)|that|and|but|while|only)\s+)"
_RIGHT = (
    r"(?:correct\b|right(?=\s*(?:[.,;!]|$|answer|option|choice))|best\b(?!\s+avoided)"
    r"|most\s+(?:appropriate|likely|accurate|suitable)\b)"
)
_VERDICT = re.compile(
    rf"{_LEAD}\(?([A-Z])\)?(?:\s*\([^()\n]{{0,150}}\)|,[^,.\n]{{1,150}},)?\s+(?:is|would\s+be|seems|appears\s+to\s+be)\s+"
    rf"(?:(?:the|therefore|thus|clearly|single|only)\s+)*{_RIGHT}"
    rf"|{_LEAD}\(?([A-Z])[.):]+\s+[^.\n]{{1,150}}?\s(?:is|would\s+be)\s+the\s+{_RIGHT}\s+(?:answer|option|choice)\b",
    re.MULTILINE,
)
_DOUBTED = re.compile(
    r"(?i)(?:\b(?:if|whether|unless|suppose|assuming|had|why)\s+(?:that\s+)?"
    r"|(?:\bnot|n't|\bnever|\bcannot)\s+(?:think|believe|say|mean|conclude|agree|sure)\s+(?:that\s+)?)"
    r"(?:the\s+|your\s+|our\s+|my\s+)?$"
)
_REFUSED = re.compile(r"(?i)(?:\bnot|n't|\bnever|\bcannot|\bthan)\s+$")
_FILLER = re.compile(
    r"(?i)[\s:=→>\"'«–—-]+|(?:therefore|thus|clearly|definitely|probably|most\s+likely|likely|obviously|indeed|still|also"
    r"|simply|actually|really|hence|then|as\s+follows|to\s+be|that\s+of|I\s+(?:think|believe|guess|would\s+say)"
    r"|(?:the\s+)?(?:option|choice|letter|answer|alternative))\b[,:]?"
)
_NEGATED = re.compile(r"(?i)(?:not|neither|never|no\s+longer)\b")
_INSTEAD = re.compile(r"(?i)\b(?:but(?:\s+rather|\s+instead)?|rather|instead|it\s+is|it's)\b(?!\s+than)")
_SENTENCE_END = re.compile(r"\n|\.\s")
_LABEL = re.compile(r"[(\[{]?\s*([A-Za-z])(?![\w+/]|'\w|-\w|-$)(?:\s*([)\]}]))?")
_SECOND = re.compile(
    r"\s*,?\s*(?:and|or|&|/|,)\s*(?:(?:option|choice)\s+)?[(\[]?([A-Z])(?![\w'-])"
    r"(?=[)\]]?\s*(?:[.,;:)!?\n]|$|(?:and|or|are|together|both)\b))"
)
_STOP = re.compile(r"[ \t]*(?:$|\n|[.,;:!\"'\])}])")
_LINK = re.compile(
    r"\s+(?:because|since|as|which|for|due|and|or|but|instead|over|is|was|in|with|from|according|among|here|on|by|if"
    r"|when|to|rather(?=\s+than)|not(?=\s+[A-Z]\b)|given(?=\s+th)|based(?=\s+on))\b(?!-)|\s*[–—(]|\s+-+\s"
)
_FUNCTION_WORD = re.compile(r"(?:the|this|these|that|it|its|because|since|as|in|a|an|he|she|they|we|so|thus|hence)\b")


METHODS = frozenset({*_TRIGGERS, "boxed", "verdict"})


@dataclass(frozen=True)
class Statement:
    """A statement for the option `letter` (upper case), or for none or several of them: `UNDECIDED`."""

    letter: str
    method: str


def last_statement(text: str, choices: Choices) -> Statement | None:
    """Return the last statement of a cleaned text, whatever its form; null when there is none."""
    found: list[tuple[int, str, re.Match[str]]] = []
    for method, trigger in _TRIGGERS.items():
        found.extend((match.end(), method, match) for match in trigger.finditer(text))
    found.extend((match.start(), "boxed", match) for match in _BOXED.finditer(text))
    found.extend((match.start(), "verdict", match) for match in _VERDICT.finditer(text))
    for _, method, match in sorted(found, key=lambda entry: entry[0], reverse=True):
        letter = _stated(method, match, choices)
        if letter is not None:
            return Statement(letter, method)
    return None


def _stated(method: str, match: re.Match[str], choices: Choices) -> str | None:
    if method == "boxed":
        return _boxed(match[1], choices)
    if method == "verdict":
        letter = match[1] or match[2]
        return letter if letter in choices.letters else None
    before = match.string[max(0, match.start() - 60) : match.start()]
    if _DOUBTED.search(before) or (method == "choose" and _REFUSED.search(before)):
        return None
    return _read(_reach(match.string, match.end()), choices)


def _reach(text: str, start: int) -> str:
    """Return what follows a trigger, up to `REACH` characters and not cut inside a word."""
    tail = text[start : start + REACH]
    return tail if start + REACH >= len(text) else re.sub(r"\w+$", "", tail)


def _read(tail: str, choices: Choices) -> str | None:
    """Return the option that a statement's continuation names, `UNDECIDED`, or null when it names nothing."""
    for _ in range(MAX_FILLERS):
        found = choices.starting(tail)
        if found is not None:
            return found
        filler = _FILLER.match(tail)
        if not filler:
            break
        tail = tail[filler.end() :]
    if _NEGATED.match(tail):
        sentence = _SENTENCE_END.split(tail, maxsplit=1)[0]
        instead = _INSTEAD.search(sentence)
        return _read(sentence[instead.end() :], choices) if instead else None
    return _read_label(tail, choices)


def _read_label(tail: str, choices: Choices) -> str | None:
    label = _LABEL.match(tail)
    if not label:
        return None
    after = tail[label.end() :]
    letter = label[1].upper()
    if after.lstrip().startswith("?") or not (label[2] or _stands_alone(label[1], after, choices)):
        return None
    second = None if choices.starting(after) == letter else _SECOND.match(after)
    if letter not in choices.letters or (second and second[1] != letter):
        return UNDECIDED
    return letter


def _stands_alone(letter: str, after: str, choices: Choices) -> bool:
    """Whether an unbracketed letter is a label, judged by what follows it."""
    if choices.shares_word(letter.upper(), after):
        return True
    stop = _STOP.match(after)
    if stop:
        rest = after[stop.end() :].lstrip(" ")
        is_name = stop.group().endswith(".") and rest[:1].islower() and not _FUNCTION_WORD.match(rest)
        return not is_name or choices.starting(rest) is not None
    if _LINK.match(after):
        return True
    return letter.isupper() and letter not in "AI" and bool(re.match(r"\s+[A-Z]", after))


def _boxed(content: str, choices: Choices) -> str:
    """Return the option in a box; a box with anything else is an answer that names no option."""
    lone = _BOXED_LETTER.fullmatch(content)
    if lone:
        letter = lone[1].upper()
        return letter if letter in choices.letters else UNDECIDED
    return _read(content, choices) or UNDECIDED
