"""Numbers in free-text answers: which number an answer states, and whether it is the gold one.

Read: signs ("-5", "minus 5"), thousands ("1,234", "1.234.567"), decimals (also "1,5": a comma that parts no three
digits), fractions ("1/2", "1 1/2", "½"), exponents ("3.2e-4", "3.2 x 10^-4", "3 million"), percent, bounds ("< 5", "at
least 5"), ranges ("5-10", "between 5 and 10"), the units of `_UNITS`, and, in a text without digits, number words to
ninety-nine ("none" is 0, "one of the ..." is no number). Not numbers: digits of a name ("B12", "COVID-19", "CD4",
"5-FU"), ordinals, clock times, dates, and pairs such as a blood pressure of 120/80.

A text with several different numbers states the one behind its last "answer is", "total of", "Count:", "=" or \\boxed;
without such a statement it states none. Nothing is guessed.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NUMERIC_TOLERANCE = 0.1
_SLACK = 1e-9  # the float noise of a conversion is no difference

_EXPONENTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_VULGAR_FRACTION = re.compile("([¼½¾⅐-⅞])")
_GROUP_SPACE = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3})")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_MINUS = re.compile(r"(?i)−|\b(?:minus|negative)\s+(?=\d)")
_PER = re.compile(r"(?i)(?<=[a-zμ])\s+per\s+(?!cent)(?=[a-z])")

_COMMA_GROUPS = r"[1-9]\d{0,2}(?:,\d{3})+(?!\d)(?:\.\d+)?"
_DIGITS = _COMMA_GROUPS + r"|[1-9]\d{0,2}(?:\.\d{3}){2,}|\d+[.,]\d+|\d+|\.\d+"
_POWER = (
    r"(?:e(?P<e>[+-]?\d{1,3})(?!\d)|\s*(?:[x×*·]|\\times|\\cdot)\s*10\s*\^\s*[({]?\s*(?P<ten>[+-]?\d{1,3})\s*[)}]?)?"
)
_NUMBER = re.compile(
    rf"(?i)(?<![a-zα-ω0-9_.^])(?<![a-z]-)(?<!\d[:/,])(?P<sign>[+-](?=[\d.]))?(?:(?P<whole>\d+)\s+(?=\d+\s*/))?"
    rf"(?P<digits>{_DIGITS})(?:\s*/\s*(?P<divisor>\d+)(?![\d/]))?{_POWER}"
    r"(?:\s*(?P<scale>thousand|million|billion)\b)?(?P<percent>\s*(?:\\?%|\bper\s?cent\b))?"
    r"(?:(?P<gap>\s?)(?P<unit>[a-zα-ω]+(?:/[a-zα-ω]+)*))?"
)
_GOES_ON = re.compile(r"-[A-Z]|[:/,.]\d|\^")
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
_BELOW = re.compile(r"(?i)(?:[<≤]\s*=?|\b(?:less|fewer)\s+than|\bat\s+most)\s*$")
_ABOVE = re.compile(r"(?i)(?:[>≥]\s*=?|\b(?:more|greater)\s+than|\bat\s+least)\s*$")
_RANGE = re.compile(r"\s*(?:-|–|—|to\b)\s*")
_STATED = re.compile(
    r"(?i)\b(?:answer|count|number|total|result)\b[^.\n\d]{0,40}?(?:\b(?:is|was|would be|of)\b|:)|=|≈|\\boxed\s*\{"
)

_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_SMALL = ("zero", *_ONES, *_TEENS)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORD = re.compile(
    rf"(?i)\b(?:({'|'.join(_TENS)})(?:[\s-]({'|'.join(_ONES)}))?|({'|'.join(_SMALL)})|(none))\b"
    r"(?!\s+(?:of|should|must|who|that|to\s+\w+\s+is|is)\b)"
)
_MANY = re.compile(r"(?i)\b(?:hundred|thousand|million|billion|dozen)s?\b")

# unit -> (what it measures, its size in a unit of that)
_UNITS = {
    unit: (measured, size)
    for measured, units in {
        "mass": {"g": 1.0, "gram": 1.0, "kg": 1e3, "mg": 1e-3, "mcg": 1e-6, "ug": 1e-6, "ng": 1e-9},
        "volume": {"l": 1.0, "liter": 1.0, "litre": 1.0, "dl": 0.1, "ml": 1e-3, "cc": 1e-3, "mcl": 1e-6, "ul": 1e-6},
        "length": {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "mcm": 1e-6, "um": 1e-6, "km": 1e3},
        "amount": {"mol": 1.0, "mmol": 1e-3, "mcmol": 1e-6, "umol": 1e-6, "nmol": 1e-9},
        "time": {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0}
        | {"hour": 3600.0, "day": 86400.0, "week": 604800.0},
        "calendar": {"month": 1.0, "yr": 12.0, "year": 12.0},
        "pressure": {"mmhg": 1.0},
        "charge": {"meq": 1.0},
        "activity": {"iu": 1.0},
        "rate": {"bpm": 1.0},
    }.items()
    for unit, size in units.items()
}
_UNIT_DASH = re.compile(rf"(?i)(?<=\d)(\s?(?:{'|'.join(_UNITS)}))-(?=\d)")


@dataclass(frozen=True)
class Number:
    """A number, or a range from `low` to `high`, as written; `size` turns it into a unit of what it measures.

    `bound` is "<" or ">" for a number that is only said to be under or over it.
    """

    low: float
    high: float
    measured: str = ""
    size: float = 1.0
    percent: bool = False
    bound: str = ""


@dataclass(frozen=True)
class CountingAccuracy:
    """Answers that state exactly the gold number: `num_correct` of `n` items, of which `n_numeric` have one.

    An item without a gold number is wrong in `over_all` and left out of `over_numeric`; null stands for no items.
    """

    n: int
    n_numeric: int
    num_correct: int
    over_all: float | None
    over_numeric: float | None


def read_number(text: str) -> Number | None:
    """Return the number that a text states, null when it states none or several. Never raises."""
    plain = _plain(text)
    numbers = _joined(plain, list(_digits(plain) if any(map(str.isdigit, plain)) else _words(plain)))
    different = {number for number, _, _ in numbers}
    if len(different) == 1:
        return different.pop()
    statements = [match.end() for match in _STATED.finditer(plain)]
    behind = (number for number, start, _ in numbers if statements and start >= statements[-1])
    return next(behind, None)


def number_matches(prediction: str, gold: str, tolerance: float = NUMERIC_TOLERANCE) -> bool | None:
    """Return whether the prediction's number is the gold one within `tolerance`; null when the gold text has none.

    The tolerance is relative to the gold number, and absolute where that is 0. A gold range holds every number in it;
    a predicted range is right only against a range with the same ends. Units are converted, and those that measure
    different things, or numbers with different bounds, never match. A unit or percent sign that one side leaves out is
    not held against it: "25 %" is 25 and 0.25.
    """
    expected, found = read_number(gold), read_number(prediction)
    if expected is None:
        return None
    if found is None or found.bound != expected.bound:
        return False
    sizes = (1.0, 1.0)
    if found.measured and expected.measured:
        if found.measured != expected.measured:
            return False
        sizes = (found.size, expected.size)
    scales = {1.0, 1.0 if found.percent == expected.percent else 0.01 if found.percent else 100.0}
    return any(_within(found, expected, (sizes[0] * scale, sizes[1]), tolerance) for scale in scales)


def counting_accuracy(predictions: Sequence[str], golds: Sequence[str]) -> CountingAccuracy:
    """Return how many predictions state exactly the gold number. Raises ValueError when the two differ in number."""
    matches = [number_matches(text, gold, 0.0) for text, gold in zip(predictions, golds, strict=True)]
    n, numeric, correct = len(matches), sum(match is not None for match in matches), matches.count(True)
    return CountingAccuracy(n, numeric, correct, correct / n if n else None, correct / numeric if numeric else None)


def _within(found: Number, expected: Number, sizes: tuple[float, float], tolerance: float) -> bool:
    low, high = found.low * sizes[0], found.high * sizes[0]
    gold_low, gold_high = expected.low * sizes[1], expected.high * sizes[1]
    if low == high and gold_low < gold_high:
        return gold_low <= low <= gold_high
    return _near(low, gold_low, tolerance, sizes[1]) and _near(high, gold_high, tolerance, sizes[1])


def _near(value: float, gold: float, tolerance: float, size: float) -> bool:
    allowed = tolerance * (abs(gold) if gold else size)
    return abs(value - gold) <= allowed + _SLACK * max(abs(value), abs(gold), size if gold == 0 else 0.0)


def _plain(text: str) -> str:
    """Return the text in NFKC with one way to write exponents, fractions, minus and "per"."""
    text = _EXPONENTS.sub(lambda match: "^" + unicodedata.normalize("NFKC", match.group()), text)
    text = _GROUP_SPACE.sub("", _VULGAR_FRACTION.sub(r" \1", text))
    text = unicodedata.normalize("NFKC", text).replace("⁄", "/").replace("**", " ").replace("$", " ")
    return _UNIT_DASH.sub(r"\1 - ", _PER.sub("/", _MINUS.sub("-", _LATEX_FRACTION.sub(r" \1/\2", text))))


def _digits(text: str) -> Iterator[tuple[Number, int, int]]:
    for match in _NUMBER.finditer(text):
        measured, size = _unit(match["unit"] or "")
        end = match.end() if measured or not match["unit"] else match.start("gap")
        part_of_a_name = match["unit"] and not match["gap"] and not measured
        value = _value(match)
        if value is None or part_of_a_name or _GOES_ON.match(text, end):
            continue
        percent, bound = match["percent"] is not None, _bound(text, match.start())
        yield Number(value, value, measured, size, percent, bound), match.start(), end


def _value(match: re.Match[str]) -> float | None:
    """Return the value of a written number; null for a pair like 120/80, a division by 0 and what no float holds."""
    digits = match["digits"]
    if re.fullmatch(_COMMA_GROUPS, digits):
        digits = digits.replace(",", "")
    elif digits.count(".") > 1:
        digits = digits.replace(".", "")
    value = float(digits.replace(",", "."))
    if match["divisor"]:
        divisor = float(match["divisor"])
        if divisor == 0 or (divisor > 20 and value > divisor):
            return None
        value = float(match["whole"] or 0) + value / divisor
    value *= float(f"1e{match['e'] or match['ten'] or 0}")
    value *= _SCALES[match["scale"].casefold()] if match["scale"] else 1.0
    return (-value if match["sign"] == "-" else value) if math.isfinite(value) else None


def _unit(word: str) -> tuple[str, float]:
    """Return what a unit measures ("" when the word is none) and its size: "mg/dl" measures mass/volume."""
    measured, size = [], 1.0
    for place, part in enumerate(word.casefold().replace("μ", "mc").split("/")):
        entry = _UNITS.get(part) or _UNITS.get(part.removesuffix("s"))
        if entry is None:
            return "", 1.0
        measured.append(entry[0])
        size = size / entry[1] if place else entry[1]
    return "/".join(measured), size


def _bound(text: str, position: int) -> str:
    before = text[max(0, position - 20) : position]
    return "<" if _BELOW.search(before) else ">" if _ABOVE.search(before) else ""


def _words(text: str) -> Iterator[tuple[Number, int, int]]:
    for match in () if _MANY.search(text) else _WORD.finditer(text):
        tens, ones, small, none = (group and group.casefold() for group in match.groups())
        value = 0 if none else _SMALL.index(small) if small else 10 * _TENS.index(tens) + 20
        value += _SMALL.index(ones) if ones else 0
        yield Number(value, value, bound=_bound(text, match.start())), match.start(), match.end()


def _joined(text: str, numbers: list[tuple[Number, int, int]]) -> list[tuple[Number, int, int]]:
    """Return the numbers with those that bound a range joined to one."""
    joined: list[tuple[Number, int, int]] = []
    for number, start, end in numbers:
        if joined:
            before, first, last = joined[-1]
            between = text[last:start]
            opened = re.search(r"(?i)\bbetween\s+$", text[max(0, first - 20) : first])
            link = _RANGE.fullmatch(between) or (opened and between.strip().casefold() == "and")
            if link and before.low == before.high < number.low:
                joined[-1] = (_range(before, number), first, end)
                continue
        joined.append((number, start, end))
    return joined


def _range(low: Number, high: Number) -> Number:
    if not low.measured:
        return Number(low.low, high.low, high.measured, high.size, low.percent or high.percent)
    if not high.measured or low.measured != high.measured:
        return Number(low.low, high.low, low.measured, low.size, low.percent or high.percent)
    return Number(low.low, high.low * high.size / low.size, low.measured, low.size, low.percent or high.percent)
