"""One row of each question stays: the one with the longest reasoning, whatever the order; and the pairs are named."""

from __future__ import annotations

import itertools

from curation.duplicates import NEARLY_REPEATED, REPEATED, Duplicates, duplicates
from curation.ledger import Entry
from data.rows import Row
from registry.filter_schema import DuplicatesConfig
from tests.stages import DRUGS, row

SWAPPED = {"A": DRUGS[1], "B": DRUGS[0], "C": DRUGS[2], "D": DRUGS[3]}
STEM = "A man of 60 with gout and a stomach ulcer asks for something against the pain in his big toe"


def found(*rows: tuple[Row, int], similarity: float | None = 0.8) -> Duplicates:
    """What is found among rows with their tokens of reasoning; the same in every order."""
    every = [
        duplicates(tuple(Entry(*each) for each in order), DuplicatesConfig(similarity=similarity))
        for order in itertools.permutations(rows)
    ]
    assert all(each == every[0] for each in every)
    return every[0]


def test_of_equal_questions_the_longest_reasoning_stays_and_then_the_smallest_id() -> None:
    first, second = row(1, occurrence=1), row(1, occurrence=2)
    shuffled = row(1, gold="A", options=SWAPPED, answer="Prednisone", occurrence=3)
    assert found((first, 10), (second, 11), (shuffled, 9), (row(2), 5)).removals == {
        first.id: REPEATED,
        shuffled.id: REPEATED,
    }
    smaller, larger = sorted((first, second), key=lambda each: each.id)
    assert found((smaller, 10), (larger, 10), similarity=None).removals == {larger.id: REPEATED}


def test_questions_that_differ_in_a_few_words_are_one_and_the_pair_is_named() -> None:
    kept = row(1, question=f"{STEM}. Which drug is best?")
    near = row(2, question=f"{STEM}! Which drug is now best?", options=SWAPPED, gold="A", answer="Prednisone")
    result = found((kept, 20), (near, 10))
    assert result.removals == {near.id: NEARLY_REPEATED}
    # Of the 22 shingles of 24 words the last one becomes two others: 21 of 24 are shared, and all 4 of the options.
    assert result.pairs == [
        {
            "row_id": near.id,
            "row_question": near.question,
            "kept_id": kept.id,
            "kept_question": kept.question,
            "kind": "similar",
            "similarity": min(21 / 24, 25 / 28),
        }
    ]
    assert found((kept, 20), (near, 10), similarity=None).removals == {}
    assert found((kept, 20), (near, 10), similarity=0.95).removals == {}


def test_punctuation_and_case_make_no_other_question() -> None:
    kept, near = row(1, question="Which drug is best?"), row(2, question="WHICH drug -- is best")
    assert found((kept, 20), (near, 10), similarity=1.0).removals == {near.id: NEARLY_REPEATED}


def test_other_options_make_another_question() -> None:
    other = dict(zip("ABCD", ("Aspirin", "Codeine", "Heparin", "Insulin"), strict=True))
    stem = "Which of the following is true?"
    asked, other_options = row(1, question=stem), row(2, question=stem, options=other, answer="Codeine")
    assert found((asked, 10), (other_options, 10)).removals == {}
    open_question = row(3, question=stem, options=None, answer_idx=None)
    assert found((asked, 20), (open_question, 10)).removals == {open_question.id: NEARLY_REPEATED}


def test_in_a_chain_only_a_row_that_stays_removes_another() -> None:
    words = [f"w{number}" for number in range(40)]
    texts = (words, ["other", *words[1:]], ["other", *words[1:39], "last"])
    a, b, c = (row(n, question=" ".join(text), options=None, answer_idx=None) for n, text in enumerate(texts))
    again = row(7, question=b.question, options=None, answer_idx=None)
    outer = found((a, 30), (b, 20), (c, 10), (again, 5), similarity=0.92)
    assert {(pair["row_id"], pair["kept_id"], pair["kind"]) for pair in outer.pairs} == {
        (b.id, a.id, "similar"),
        (again.id, a.id, "similar"),
    }
    middle = found((a, 10), (b, 30), (c, 20), (again, 5), similarity=0.92)
    assert middle.removals == {a.id: NEARLY_REPEATED, c.id: NEARLY_REPEATED, again.id: REPEATED}
