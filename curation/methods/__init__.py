"""How the training rows are drawn from those that passed the filters: one function for each method of the schema.

A method takes the pool and its own parameters and returns, like any other filter, the reason for each row that it
leaves out. It is pure: all draws are seeded and depend on the rows alone, never on the order in which they were loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from curation.ledger import Removals
from curation.methods.diversity import draw_diverse
from curation.methods.drawing import draw_random, take_all
from curation.methods.novelty import draw_novel
from curation.methods.pool import Pool
from curation.methods.s1 import draw_s1
from curation.methods.similarity import draw_similar
from curation.methods.wording import draw_substring, take_by_ngrams

Method = Callable[[Pool, Any], Removals]

METHODS: Final[Mapping[str, Method]] = {
    "all": take_all,
    "random": draw_random,
    "s1": draw_s1,
    "difficulty-substring": draw_substring,
    "difficulty-n-gram": take_by_ngrams,
    "embedding-similarity": draw_similar,
    "embedding-diversity": draw_diverse,
    "novelty-answer": draw_novel,
}
