"""Phrases that people and models use when they think aloud, with a weight each: the default of `difficulty-n-gram`.

The list is the project's own, written by hand; it is no result of counting. The idea is the original med-s1's, which
ranked traces by n-grams picked from a TF-IDF table. A phrase that takes back what was said weighs 3, one of doubt or
of checking 2, one that weighs alternatives or marks a step 1. Longer phrases count in addition to the words that they
hold. A change of this list changes what existing configs choose: raise the stage version of curation with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TURNS = (
    "wait",
    "hmm",
    "oops",
    "hold on",
    "scratch that",
    "on second thought",
    "i was wrong",
    "that is wrong",
    "that's wrong",
    "not quite right",
    "i misread",
    "i overlooked",
    "let me reconsider",
    "going back to",
    "start over",
)
_DOUBTS = (
    "unsure",
    "tricky",
    "confusing",
    "puzzling",
    "recheck",
    "verify",
    "double check",
    "let me check",
    "let me think",
    "not sure",
    "makes me wonder",
    "am i missing",
    "does not fit",
    "doesn't fit",
    "at first glance",
    "what if",
    "to make sure",
    "seems odd",
)
_STEPS = (
    "actually",
    "alternatively",
    "although",
    "however",
    "maybe",
    "perhaps",
    "though",
    "unless",
    "whereas",
    "could it be",
    "less likely",
    "more likely",
    "on the contrary",
    "on the other",
    "rather than",
    "rule out",
    "but then",
    "so far",
)

MARKERS: Final[Mapping[str, float]] = {
    **dict.fromkeys(_TURNS, 3.0),
    **dict.fromkeys(_DOUBTS, 2.0),
    **dict.fromkeys(_STEPS, 1.0),
}
