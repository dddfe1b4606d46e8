"""Answers without an explicit statement: forms of a text that leave one reading.

In this order: a letter on the last or the first line alone or as the last sentence, a letter or an option's text that
opens the text with its reason ("B because", "Yes, it does"), a line that is an option's text, one labelled line
("B. ..."), the only option that a sentence names by letter and speaks for, the only one that it names by text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from scoring.choices import Choices, Mention
from scoring.methods import Method
from scoring.text import cleaned_tokens, word_starts

_LONGEST_LONE_LINE = 40
_LONE = re.compile(r"(?i)\W{0,9}(?:(?:option|choice)(?=[\s:(]))?[\s:]{0,3}[(\[{]?\s?([A-Z])\s?[)\]}]?\W{0,9}")
_LAST_SENTENCE = re.compile(r"\w{2}[^\w\s]*[.!]\s+[(\[]?([A-Z])[)\]]?\.?\s*\Z|\.\.\.\s*([A-Z])\.?\s*\Z")
_ABBREVIATION = re.compile(
    r"\b(?:vs|e\.g|i\.e|hep|vit|cf|dr|no|fig|type|grade|class|group|stage)\.\s+\S+\s*\Z", re.IGNORECASE
)
_LEADING = re.compile(r"\W*([A-Z])\)?(?:,?\s+(?:because|since|as(?!\s+in\b)|due)\b(?!-))")
_REASON = re.compile(r"\s*(?:,\s*|[–—]\s*|-\s+)?\b(?:because|since|as|due\s+to|given\s+th\w+)\b(?!-)")
_FULL_STOP = re.compile(r"\s*[.!](?:\s|$)")
_YES_NO = frozenset({("yes",), ("no",), ("maybe",), ("true",), ("false",), ("uncertain",), ("unknown",)})
_YES_NO_STOP = re.compile(r"\s*(?:[.,;:!]|[–—]|-\s|\n|$)|\s+(?:it|this|that|they|he|she|there|because|since|as)\b(?!-)")
_LABELLED = re.compile(
    r"(?i)\W{0,9}(?:(?:option|choice)\s+)?(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z])\s?[).:]|([A-Z])\s-)\s+(?=\S)"
)
_LISTING = re.compile(
    r"(?i)\b(?:options?|choices?|each|consider|evaluate|analy[sz]e|review|following|let's|let\s+me|possib\w+)\b"
)
_NAMED = re.compile(
    r"(?:[Oo]ption|OPTION|[Cc]hoice)\s+\(?([A-Z](?![\w'-])|[a-z](?=\)|[.,;:!]|\s*$))|(?<!\\)\(([A-Z])\)",
    re.MULTILINE,
)
_SENTENCE_ENDS = (". ", ".\n", "\n", "? ", "! ", "; ")
_SHORT = 300
_CLAUSE_END = re.compile(r"[,.;:!?\n]|\b(?:but|however|whereas|while|although|though|and|because|since|so|or)\b")
_CUE = re.compile(
    r"\b(?:fits?|best|leaves|remains|match(?:es)?|consistent|most|makes\s+sense|preferred|recommend\w*|supports?|points?\s+to"
    r"|indicat(?:es?|ed|ing)|corresponds\s+to|correct|right|explains?|suggests?|suggestive|diagnosis|diagnosed|should|start|give|administer|prescribe|treat(?:ed)?"
    r"|use|order|perform|obtain|begin|initiate|this\s+is|it\s+is|it's|has|must|likely|therefore|thus|hence|appropriate|so)\b"
)
_STATED = re.compile(r"\b(?:is|are)\s+(?:(?:an?|the)\s+)?\Z")
_AGAINST = re.compile(
    r"\b(?:not|no|never|neither|nor|without|except|excludes?d?|eliminates?d?|incorrect|wrong|unlikely|less|least|contraindicated"
    r"|inappropriate|avoid\w*|rules?d?\s+out|stop\w*|discontinu\w+|withhold\w*|hold|harmful|dangerous"
    r"|inferior|worse|fails?|cannot|allerg\w+|distractors?)\b|n't\b"
)
_LESS_THAN = re.compile(r"\b(?:than|over|unlike|instead\s+of)\b")
_HEDGED = re.compile(
    r"\?|\b(?:if|whether|unless|may|might|could|possib\w+|perhaps|consider\w*|history|previous\w*|evaluate|either|or|first"
    r"|let's|let\s+me|let\s+us|look\w*|such\s+as|e\.g|like|suppose|would\s+have|some|students?|often|although|though)\b"
)


def lone_last_letter(text: str) -> str:
    """Return the letter that is the last line of several or the last sentence, "" for none.

    A bare "A" or "I" may begin what was cut off.
    """
    whole = text.strip()
    last = whole.rpartition("\n")[2]
    letter = (_lone(last) if len(last) < len(whole) else None) or _last_sentence(last)
    return letter if letter and last[-2:].strip() not in ("A", "I", "a", "i") else ""


def unstated(text: str, choices: Choices) -> Iterator[tuple[Method, str | None]]:
    """Yield a method and the option (upper case) that it finds, or null, for a cleaned text without a statement."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return
    yield "lone_letter", _lone(lines[-1]) or _lone(lines[0])
    leading = _LEADING.match(lines[0])
    yield "leading_letter", leading[1] if leading and leading[1] != "I" else None
    as_line = {letter for line in lines if (letter := choices.equal_to(line))}
    yield "option_text", choices.equal_to(text) or _only(as_line)
    yield "leading_text", _leading_text(text, choices)
    yield "labelled_line", _labelled_line(lines, choices)
    yield "only_letter", _only_letter(text, choices)
    yield "only_text", _only_text(text, choices)


def _only(letters: set[str]) -> str | None:
    return next(iter(letters)) if len(letters) == 1 else None


def _lone(line: str) -> str | None:
    match = _LONE.fullmatch(line) if len(line) <= _LONGEST_LONE_LINE and "?" not in line else None
    return match[1].upper() if match else None


def _last_sentence(line: str) -> str | None:
    end = line[-_LONGEST_LONE_LINE:]
    match = _LAST_SENTENCE.search(end)
    return match[1] or match[2] if match and not _ABBREVIATION.search(end) else None


def _leading_text(text: str, choices: Choices) -> str | None:
    """Return the option whose text opens the text, given a reason or a full stop; yes and no need less."""
    mention = choices.starting(text)
    if mention is None or "\n" in text[: mention.start]:
        return None
    if _is_yes_no(choices):
        return mention.letter if _YES_NO_STOP.match(text, mention.end) else None
    if not (_REASON.match(text, mention.end) or _FULL_STOP.match(text, mention.end)):
        return None
    others = {other.letter for other in choices.mentioned(text) if other.letter != mention.letter}
    rejected = all(_is_rejected(text, other) for other in choices.mentioned(text) if other.letter in others)
    return mention.letter if rejected and not _is_rejected(text, mention) else None


def _is_yes_no(choices: Choices) -> bool:
    return bool(choices.by_text) and _YES_NO.issuperset(choices.by_text)


def _labelled_line(lines: Sequence[str], choices: Choices) -> str | None:
    """Return the option of the only line with a label ("B. Ibuprofen"), the first or the last one.

    "E. coli" and "a) first" label nothing; a line that speaks against its option, or that may begin a list of all of
    them, chooses nothing.
    """
    labelled = [(index, *found) for index, line in enumerate(lines) if (found := _label(line, choices))]
    if len(labelled) != 1:
        return None
    index, letter, is_whole = labelled[0]
    if index not in (0, len(lines) - 1):
        return None
    if not is_whole and _AGAINST.search(_without_texts(lines[index], choices)):
        return None
    return None if index > 0 and _LISTING.search("\n".join(lines[:index])) else letter


def _label(line: str, choices: Choices) -> tuple[str, bool] | None:
    """Return the letter that a line is labelled with, and whether the rest of the line is its option's text."""
    match = _LABELLED.match(line)
    if not match:
        return None
    letter = match[1] or match[2] or match[3] or match[4]
    rest = line[match.end() :]
    key = letter.upper()
    if key not in choices.letters:
        return None
    if cleaned_tokens(rest) == choices.texts[key]:
        return key, True
    if choices.shares_word(key, rest):
        return key, False
    is_prose = letter.isupper() and not rest[0].islower() and choices.starting(rest) is None
    return (key, False) if is_prose else None


def _without_texts(text: str, choices: Choices) -> str:
    """Return the text in lower case without the options' own texts: "not indicated" may be an option."""
    parts, position = [], 0
    for mention in choices.mentioned(text):
        parts.append(text[position : mention.start])
        position = mention.end
    return "".join([*parts, text[position:]]).lower()


def _only_letter(text: str, choices: Choices) -> str | None:
    """Return the only option named by letter ("option C", "(C)") and not rejected, if the sentence is for it."""
    low = text.lower()
    affirmed: set[str] = set()
    for at in sorted(at for word in ("option", "choice", "(") for at in word_starts(low, word)):
        match = _NAMED.match(text, at)
        if not match:
            continue
        letter = (match[1] or match[2]).upper()
        start, end = _sentence(text, match.start(), match.end())
        words = text[start:end].lower()
        if letter not in choices.letters or _AGAINST.search(words):
            continue
        if _HEDGED.search(words) or not _CUE.search(words):
            return None
        affirmed.add(letter)
    return _only(affirmed)


def _only_text(text: str, choices: Choices) -> str | None:
    """Return the only option that is named by its text, where every other one that is named is rejected."""
    mentions = choices.mentioned(text)
    affirmed = [mention for mention in mentions if not _is_rejected(text, mention)]
    chosen = _only({mention.letter for mention in affirmed})
    if chosen is None or len(affirmed) < sum(mention.letter == chosen for mention in mentions):
        return None
    last = affirmed[-1]
    start, end = _sentence(text, last.start, last.end)
    around = f"{text[start : last.start]} {text[last.end : end]}".lower()
    if _HEDGED.search(around) or not (_CUE.search(around) or _STATED.search(text, start, last.start)):
        return None
    # What a long text concludes stands in its last sentence.
    return None if len(text) > _SHORT and end < len(text.rstrip()) else chosen


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where the sentence around [start, end) begins and ends."""
    begin = max(text.rfind(mark, 0, start) for mark in _SENTENCE_ENDS) + 1
    ends = [at + 1 for mark in _SENTENCE_ENDS if (at := text.find(mark, end)) >= 0]
    return begin, min(ends, default=len(text))


def _is_rejected(text: str, mention: Mention) -> bool:
    """Whether the clause around a mention speaks against it."""
    window = max(0, mention.start - 100)
    before = text[window : mention.start].lower()
    clause_before = _CLAUSE_END.split(before)[-1]
    clause_after = _CLAUSE_END.split(text[mention.end : mention.end + 100].lower(), maxsplit=1)[0]
    return bool(_LESS_THAN.search(clause_before) or _AGAINST.search(clause_before) or _AGAINST.search(clause_after))
