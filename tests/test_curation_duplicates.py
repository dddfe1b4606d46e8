"""One row of each question stays, and the pairs are named."""

from __future__ import annotations

from curation.duplicates import REPEATED, duplicates
from curation.ledger import open_ledger
from registry.curation_schema import DuplicatesConfig
from tests.stages import DRUGS, row

SWAPPED = {"A": DRUGS[1], "B": DRUGS[0], "C": DRUGS[2], "D": DRUGS[3]}


def test_the_first_copy_of_a_question_stays() -> None:
    first, second = row(1, occurrence=1), row(1, occurrence=2)
    shuffled = row(1, gold="A", options=SWAPPED, answer="Prednisone", occurrence=3)
    ledger = open_ledger([first, row(2), second, shuffled], [100] * 4)
    found = duplicates(ledger, DuplicatesConfig(similarity=None))
    assert found.removals == {second.id: REPEATED, shuffled.id: REPEATED}
