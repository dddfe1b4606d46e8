"""Explicit statements of an answer in a cleaned text: where they stand and which option they are for.

A statement is a trigger ("the answer is", "Answer:", "I choose", "\\boxed{", ...) followed by a letter or by an
option's text, or a letter followed by a verdict ("B is correct").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from scoring.choices import Choices
from scoring.languages import PHRASES
from scoring.methods import Method
from scoring.reading import UNDECIDED, option_at
from scoring.text import word_starts

METHODS: Final[frozenset[Method]] = frozenset(
    {
        "answer_is",
        "answer_label",
        "answer_heading",
        "other_language",
        "choose",
        "therefore",
        "boxed",
        "json",
        "verdict",
        "marker",
    }
)

# Patterns are matched in lower case at words that plain search finds: a regular expression that looks for all of
# them at every position of a long text costs ten times as much.
_NOUN_WORDS = ("ans", "correct", "right", "best", "final", "proper", "most ", "appropriate", "likely", "accurate")
_CHOOSE_WORDS = ("choos", "chose", "select", "pick", "going with", "go with", "opt for", "opted for", "choice is")
_THEREFORE_WORDS = ("therefore", "thus", "hence", "so", "it is", "it's", "i'd say", "i would say")

_QUALITY = r"(?:correct|right|best|final|proper|(?:most\s+)?(?:appropriate|likely|accurate|suitable))"
_NOUN = (
    rf"(?:(?:{_QUALITY}\s+)?(?:{_QUALITY}\s+)?answers?"
    rf"|{_QUALITY}\s+(?:option|choice|letter|response|diagnosis)(?:s(?=\W))?)\b"
)
_GAP = (
    r"(?:\s*\(s\)|,[^.,\n]{1,60},"
    r"|\s+(?:to|for|here|of|in|among|from|given|based|option|choice|letter|therefore|then|that|which)\b[^.\n:?]{0,80}?)?"
)
_FINDING = r"(?:most\s+(?:likely|appropriate|suitable|accurate|probable)|best|correct)(?:\s+[\w-]+){1,6}?"
_IS = r"(?:is|are|was|would\s+be|should\s+be|must\s+be|will\s+be|has\s+to\s+be|remains)\b"
_ANSWER = re.compile(
    rf"{_NOUN}{_GAP}(?:(?P<answer_is>\s+{_IS}|'s\b)|(?P<answer_label>\s*(?:[:=→–—]|->|-(?=\s))))"
    rf"|(?P<answer_heading>{_NOUN}[ \t]*\n)"
    rf"|(?P<finding>{_FINDING}(?:\s+{_IS}|'s\b))"
)
_BARE_ANSWER = re.compile(
    r"answer\s+(?=[(\[]?[a-z][)\]]?\s*(?:$|[.,:\n]))|ans(?:\.|\b)\s*(?:is\b|:|-)?\s*(?=['\"(\[]?[a-z](?!\w))"
)
_HEADING_LINE = re.compile(r"[^\w\n]{0,9}(?:(?:the|my)\s+)?")
_CHOOSE = re.compile(
    r"(?:choos(?:e|ing)|chose|select(?:ed|ing)?|pick(?:ed|ing)?|go(?:ing)?\s+with|opt(?:ed)?\s+for|choice\s+is)\b"
)
_THEREFORE = re.compile(r"(?:therefore|thus|hence|so|it\s+is|it's|i'd\s+say|i\s+would\s+say)\s*[,:]?\s*")
_THEREFORE_LETTER = re.compile(r"(?:option\s+)?\(?[A-Z]\)?\s*(?:[.!]?\s*$|\.\s|\)\s)", re.MULTILINE)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]{0,200}\}){0,400})\}")
_BOX_JOIN = re.compile(r"\}\s*(?:,|;|and|or|&|,\s*and)\s*\Z")
_LONE_LETTER = re.compile(r"[\s(\[{'\"]*([A-Za-z])[\s)\]}.:'\"]*")
_JSON = re.compile(
    r"[\"'](?:(?:final|correct|selected|chosen|predicted|best|my|the)[ _]?)?(?:answer|choice|option|letter)s?"
    r"(?:[_ ]?(?:letter|choice|option|idx|index|key))?[\"']\s*:\s*"
    r"(?:\"((?:[^\"\\]|\\.){0,300})\"|'([^'\n]{0,300})'|\[([^\]]{0,300})\])"
)
_QUOTES = re.compile("[\"']")
_LEAD = (
    r"(?:^[ \t]*|[.;:,]\s+|\b(?:(?i:option|choice|answer|therefore|thus|hence|so|actually|however|instead)"
    r"|that|and|but|while|only|both|think|believe|because|since|say)\s+)"
)
_COPULA = r"(?:is|are|would\s+be|seems|appears\s+to\s+be)"
_ADVERB = r"(?:the|therefore|thus|clearly|single|only|also|both|indeed|in\s+fact)"
_BEFORE_VERDICT = re.compile(rf"\b{_COPULA}\s+(?:{_ADVERB}\s+)*\Z")
_VERDICT_WORDS = frozenset(
    {
        "is",
        "are",
        "be",
        "seems",
        "the",
        "therefore",
        "thus",
        "clearly",
        "single",
        "only",
        "also",
        "both",
        "indeed",
        "fact",
    }
)
_RIGHT = (
    r"(?:correct\b|right(?=\s*(?:[.,;!]|$|answer|option|choice))|best\b(?!\s+(?:avoided|known|described|understood))"
    r"|most\s+(?:appropriate|likely|accurate|suitable)\b|answer\b)"
)
_VERDICT = re.compile(
    rf"{_LEAD}\(?([A-Z])\)?(?:\s*\([^()\n]{{0,150}}\)|,[^,.\n]{{1,150}},)?\s+{_COPULA}\s+(?:{_ADVERB}\s+)*{_RIGHT}"
    rf"|{_LEAD}\(?([A-Z])[.):]+\s+[^.\n]{{1,150}}?\s(?:is|would\s+be)\s+the\s+{_RIGHT}(?:\s+(?:answer|option|choice))?\b",
    re.MULTILINE,
)
# What must stand before the verb of a verdict: cheap to rule out.
_LABEL_BEFORE = re.compile(r"(?<![^\W_])[A-Z](?:\)?\s\Z|\)?\s\(|,|[.):])")
_VERDICT_REACH, _LEAD_REACH = 220, 20
_UNLESS = re.compile(r"\s+(?:in\s+that|about|that|only|if|when|unless)\b|\s*\?")
_SHARED_VERDICT = re.compile(r"\b(?:also|both|are)\b")
_DOUBTED = re.compile(
    r"(?:\b(?:if|whether|unless|suppose|assuming|had|why|when|once)\s+(?:that\s+)?"
    r"|(?:\bnot|n't|\bnever|\bcannot)\s+(?:(?:think|believe|say|mean|conclude|agree|sure|certain|know|clear)\s+)?"
    r"(?:that\s+|if\s+|whether\s+|what\s+)?"
    r"|\b(?:might|may|could|would)\s+(?:think|say|argue|assume|believe|guess)\s+(?:that\s+)?"
    r"|\b(?:tempt\w+|wrong|mistake\w*|incorrect|erroneous\w*)\s+(?:to\s+(?:\w+\s+)?)?(?:that\s+)?)"
    r"(?:the\s+|your\s+|our\s+|my\s+|option\s+|choice\s+|\(|\"|')*\Z"
)
# A statement about another rank than the first; "the next best step" is what a question may ask for.
_OTHER_RANK = re.compile(
    r"\b(?:second|third|popular|alternative|tempting|competing)(?:[\s-]+(?:most|best))?[\s-]+\Z|\bnext\s+\Z"
)
_LEAST = re.compile(r"\bleast\s+\Z")
_NOT_ME = re.compile(
    r"(?:\bnot|n't|\bnever|\bcannot|\bthan|\binstead\s+of|\bwithout|\bavoid|\bwhy|\bto\s+(?:have\s+)?wrongly"
    r"|\b(?:you|they|who|one|some|many|most|patients?|students?|people|clinicians|doctors|could|might|may|(?:we|i)\s+can)"
    r"|\btempt\w+\s+to|\bwrong\s+to|\bmistake\s+to|\bif\s+(?:i|we|you)(?:\s+(?:had|were))?(?:\s+to)?)"
    r"(?:\s+(?:often|usually|wrongly|also|would|to|be|just|simply))*\s*\Z"
)
_OTHER_CASE = re.compile(
    r"\b(?:if|unless|suppose)\b(?!\s+(?:i|we|you)\s+(?:had|have|were|must)\s+to)"
    r"|\b(?:had|were)\s+(?:s?he|it|they|the|there|this|her|his)\b"
)
_WOULD = re.compile(r"\b(?:would|should)\b")
_SENTENCE_START = re.compile(r"[.!?]\s|\n")
_SENTENCE_REACH = 250


@dataclass(frozen=True)
class Statement:
    """A statement for the option `letter` (upper case), or for none or several of them: `UNDECIDED`.

    `at` is where in the text it stands; for `weak` see `Trigger`.
    """

    letter: str
    method: Method
    at: int = 0
    weak: bool = False


@dataclass(frozen=True)
class Trigger:
    """Where a statement begins, and `at` which position what it states begins; `content` is that of a box or JSON.

    One that is `weak` counts only where there is no other: "the least likely is" may be what the question asks for.
    """

    method: Method
    start: int
    at: int
    content: str | None = None
    weak: bool = False


def last_statement(text: str, choices: Choices) -> Statement | None:
    """Return the last statement of a cleaned text, whatever its form; null when there is none."""
    for trigger in sorted(triggers(text), key=lambda trigger: trigger.weak):
        letter = _stated(trigger, text, choices)
        if letter is not None:
            return Statement(letter, trigger.method, trigger.start, trigger.weak)
    return None


def triggers(text: str) -> list[Trigger]:
    """Return the triggers of a cleaned text that are neither doubted nor somebody else's, the last one first."""
    low = text.lower()
    found = [*_answers(low), *_choices_made(low), *_conclusions(text, low), *_verdicts(text, low)]
    if "\\boxed" in text:
        found.extend(Trigger("boxed", match.start(), match.start(), match[1]) for match in _BOXED.finditer(text))
    if '"' in text or "'" in text:
        for match in _JSON.finditer(low):
            group = match.lastindex or 1
            value = text[match.start(group) : match.end(group)]
            found.append(Trigger("json", match.start(), match.start(group), _QUOTES.sub("", value)))
    if not text.isascii() or any(word in low for word, _ in PHRASES if word.isascii()):
        found.extend(_abroad(low))
    return sorted(found, key=lambda trigger: trigger.at, reverse=True)


def _stated(trigger: Trigger, text: str, choices: Choices) -> str | None:
    if trigger.method == "boxed":
        joined = _BOX_JOIN.search(text, max(0, trigger.start - 12), trigger.start)
        return UNDECIDED if joined else _content(trigger, choices)
    if trigger.method == "json":
        return _content(trigger, choices)
    if trigger.method == "verdict":
        letter = trigger.content
        return letter if letter == UNDECIDED or letter in choices.letters else None
    return option_at(text, trigger.at, choices)


def _content(trigger: Trigger, choices: Choices) -> str:
    """Return the option that a box or a JSON value holds; anything else is an answer that names no option."""
    content = trigger.content or ""
    lone = _LONE_LETTER.fullmatch(content)
    if lone:
        letter = lone[1].upper()
        return letter if letter in choices.letters else UNDECIDED
    return option_at(content, 0, choices) or UNDECIDED


def _positions(low: str, words: tuple[str, ...]) -> list[int]:
    """Return where one of the words begins, in order; a word that only ends another one does not count."""
    return sorted([at for word in words if word in low for at in word_starts(low, word)])


def _answers(low: str) -> Iterator[Trigger]:
    done = 0
    for at in _positions(low, _NOUN_WORDS):
        if at < done:
            continue
        match = _ANSWER.match(low, at)
        if not match:
            bare = _BARE_ANSWER.match(low, at)
            if bare and _is_line_start(low, at):
                yield Trigger("answer_label", at, bare.end())
            continue
        kind = match.lastgroup
        if kind == "answer_heading" and not _is_line_start(low, at):
            continue
        done = match.end()
        if _is_meant(low, match):
            methods: dict[str | None, Method] = {"answer_label": "answer_label", "answer_heading": "answer_heading"}
            weak = bool(_LEAST.search(low, max(0, at - 10), at))
            yield Trigger(methods.get(kind, "answer_is"), at, match.end(), weak=weak)


def _is_line_start(low: str, at: int) -> bool:
    line = low.rfind("\n", 0, at) + 1
    return at - line < 20 and bool(_HEADING_LINE.fullmatch(low, line, at))


def _is_meant(low: str, match: re.Match[str]) -> bool:
    """Whether a statement is neither doubted nor one about another case ("if she were ..., it would be C")."""
    if _DOUBTED.search(low, max(0, match.start() - 60), match.start()):
        return False
    rank = _OTHER_RANK.search(low, max(0, match.start() - 25), match.start())
    if rank and not (match.lastgroup == "finding" and rank.group().startswith("next")):
        return False
    return not (_WOULD.search(match.group()) and _is_other_case(low, match.start()))


def _is_other_case(low: str, at: int) -> bool:
    before = low[max(0, at - _SENTENCE_REACH) : at]
    return bool(_OTHER_CASE.search(_SENTENCE_START.split(before)[-1]))


def _choices_made(low: str) -> Iterator[Trigger]:
    for at in _positions(low, _CHOOSE_WORDS):
        match = _CHOOSE.match(low, at)
        before = low[max(0, at - 40) : at]
        if match and not _NOT_ME.search(before) and not (_WOULD.search(before) and _is_other_case(low, at)):
            yield Trigger("choose", at, match.end())


def _conclusions(text: str, low: str) -> Iterator[Trigger]:
    for at in _positions(low, _THEREFORE_WORDS):
        match = _THEREFORE.match(low, at)
        if match and _THEREFORE_LETTER.match(text, match.end()):
            yield Trigger("therefore", at, match.end())


def _verdicts(text: str, low: str) -> Iterator[Trigger]:
    for at in _positions(low, ("correct", "right", "best", "most ", "answer")):
        word = low[low.rfind(" ", 0, max(0, at - 1)) + 1 : at].strip()
        copula = _BEFORE_VERDICT.search(low, max(0, at - 40), at) if word in _VERDICT_WORDS else None
        label = copula and _LABEL_BEFORE.search(text, max(0, copula.start() - _VERDICT_REACH), copula.start())
        if not label:
            continue
        for match in _VERDICT.finditer(text, max(0, label.start() - _LEAD_REACH), at + 30):
            letter, start = (match[1], match.start(1)) if match[1] else (match[2], match.start(2))
            is_this = match.start() < at < match.end()
            if not is_this or _UNLESS.match(low, match.end()) or _DOUBTED.search(low, max(0, start - 60), start):
                continue
            shared = _SHARED_VERDICT.search(low, match.end(1) if match[1] else match.end(2), at)
            yield Trigger("verdict", start, start, UNDECIDED if shared else letter)


def _abroad(low: str) -> Iterator[Trigger]:
    for word, phrase in PHRASES:
        at = low.find(word)
        while at >= 0:
            match = phrase.match(low, at)
            if match:
                yield Trigger("other_language", at, match.end())
            at = low.find(word, at + 1)
