"""What one text says that another does not: its numbers, each with its unit, and its words. Pure text.

Words count by their beginnings, so that "infections" is the same as "infectious", and common ones not at all. A number
must be there as digits; where the text gives it a unit of `_UNITS`, another unit does not do. Of Chinese and Japanese,
which set no blanks, every character is a word.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

STEM: Final = 6
"""So many letters at its beginning are compared of a word."""

_CHARACTERS = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_CHARACTERS}]|[^\W\d_{_CHARACTERS}]{{3,}}")
_COMMON_WORDS = """
    about above after again all also although among and another any are because been before being below between
    both but can cannot could did does due during each either for from further given had has have having hence here
    his her how however into its itself just let like make makes may might more moreover most much must need neither
    nor not now occurs off often once one only other our out over own patient patients point points rather same she
    should since some step such than that the their them then there therefore these they this those though through
    thus too two under until upon use used using very was way well were what when where whereas whether which while
    who whose why will with within without would yet you your consider considering suggest suggests"""
_COMMON = frozenset(_COMMON_WORDS.split())

_ALIASES: Final = {
    "h": "hour",
    "hr": "hour",
    "hrs": "hour",
    "min": "minute",
    "mins": "minute",
    "wk": "week",
    "wks": "week",
    "mo": "month",
    "mos": "month",
    "yr": "year",
    "yrs": "year",
    "y": "year",
    "ug": "mcg",
    "μg": "mcg",
    "percent": "%",
    "units": "unit",
    "u": "unit",
    "beats/min": "bpm",
    "mg/day": "mg",
    "mg/d": "mg",
    "c": "°c",
    "f": "°f",
    "milligram": "mg",
    "milligrams": "mg",
    "gram": "g",
    "grams": "g",
    "microgram": "mcg",
    "micrograms": "mcg",
    "liter": "l",
    "liters": "l",
    "milliliter": "ml",
    "milliliters": "ml",
}
_UNIT_WORDS = """
    % kg g mg mcg ng pg l dl ml cm mm mmhg meq mmol mol iu unit bpm °c °f hour minute second day week month year
    mg/dl g/dl mmol/l meq/l iu/l u/l unit/l ng/ml pg/ml mcg/l mg/kg mcg/kg ml/min ml/kg mg/l g/l kpa
    mg/m2 kg/m2 cells/mm3 /mm3 /min"""
_UNITS: Final = frozenset(_UNIT_WORDS.split())
_LETTERS = "a-zα-ω"  # of units and names, case-folded
_REFERENCE = re.compile(r"\bsteps?\s+\d+(?:(?:\s*(?:,|-|–|to|and)\s*)\d+)*", re.IGNORECASE)
_LIST_MARK = re.compile(r"^[ \t]*\d{1,2}[.)][ \t]+", re.MULTILINE)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)")
_NUMBER = re.compile(rf"(?<![{_LETTERS}\d_.])(?<![{_LETTERS}]-)\d+(?:[.,:/]\d+)*")
_RANGE = re.compile(r"\s*(?:-|–|—|to|or|and)\s*\d+(?:[.,]\d+)?")
_UNIT = re.compile(rf"[ \t-]*(%|°?[{_LETTERS}]+(?:/[{_LETTERS}]+\d?)*|/[{_LETTERS}]+\d?)")
_IN_A_NAME = re.compile(rf"(?<![{_LETTERS}\d_/-])[{_LETTERS}][{_LETTERS}\d]*-?\d[{_LETTERS}\d]*")


@dataclass(frozen=True, slots=True)
class Content:
    """`numbers` as (number, unit or ""), `names` such as "b12" and "t4", and the `words`: stem -> word."""

    numbers: frozenset[tuple[str, str]]
    names: frozenset[str]
    words: dict[str, str]


def content_of(text: str) -> Content:
    """What a text says; references to steps by number and the numbers of lists are no content."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("*", "").replace("mm hg", "mmhg")
    plain = _LIST_MARK.sub("", _REFERENCE.sub(" ", plain))
    plain = _GROUPED.sub(lambda match: match.group().replace(",", ""), plain)
    words = {word[:STEM]: word for word in _WORD.findall(plain) if word not in _COMMON}
    names = frozenset(map(_squeezed, _IN_A_NAME.findall(plain)))
    numbers = frozenset((_shortest(match.group()), _unit(plain, match.end())) for match in _NUMBER.finditer(plain))
    return Content(numbers, names, words)


def missing_numbers(part: str, whole: str) -> list[str]:
    """The numbers and the names with digits of `part` that `whole` has not, or has only with another unit."""
    wanted, found = content_of(part), content_of(whole)
    there = {number for number, _ in found.numbers}
    squeezed = _squeezed(whole)
    gone = [
        f"{number} {unit}".strip()
        for number, unit in sorted(wanted.numbers)
        if (number, unit) not in found.numbers and not (not unit and number in there)
    ]
    return gone + sorted(name for name in wanted.names if name not in squeezed)


def missing_words(part: str, whole: str) -> tuple[list[str], float]:
    """The words of `part` that `whole` has not, and which share of its distinct words that is."""
    wanted, found = content_of(part).words, content_of(whole).words
    gone = [word for stem, word in wanted.items() if stem not in found]
    return gone, len(gone) / len(wanted) if wanted else 0.0


def _squeezed(text: str) -> str:
    """The text in one spelling of names: "IL-6", "IL 6" and "il6" are the same."""
    return re.sub(r"[\s-]+", "", unicodedata.normalize("NFKC", text).casefold())


def _shortest(number: str) -> str:
    """The number without zeros that say nothing: 5.0 is 5."""
    whole, point, decimals = number.partition(".")
    return number if not point or "." in decimals else f"{whole}.{decimals}".rstrip("0").rstrip(".")


def _unit(text: str, end: int) -> str:
    """The unit of a number that ends there, also where a range goes on first: the 5 of "5-10 mg" has mg."""
    range_end = _RANGE.match(text, end)
    return _unit_at(text, end) or (_unit_at(text, range_end.end()) if range_end else "")


def _unit_at(text: str, at: int) -> str:
    match = _UNIT.match(text, at)
    if match is None:
        return ""
    word = _ALIASES.get(match[1], match[1])
    word = word if word in _UNITS else word.removesuffix("s")
    return word if word in _UNITS else ""
