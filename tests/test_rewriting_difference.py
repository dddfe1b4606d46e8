"""What a rewriting changed, word by word: nothing is lost, and a person can read it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from curation.rewriting.difference import CONTEXT, LONGEST_CHANGE, MOST_SHOWN, Run, shortened, word_difference

WORDS = st.lists(st.sampled_from(["the", "of", "heart", "fails", "pain", "\n", "  "]), max_size=60).map(" ".join)


def shown(before: str, after: str) -> list[tuple[str, str]]:
    return list(shortened(word_difference(before, after)))


@given(WORDS, WORDS)
def test_the_runs_hold_both_texts_word_for_word(before: str, after: str) -> None:
    runs = word_difference(before, after)
    old = [word.strip() for run in runs if run.kind != "added" for word in run.words]
    new = "".join(word for run in runs if run.kind != "removed" for word in run.words)
    assert old == before.split()
    assert new == after.lstrip()
    assert not any(one.kind == other.kind == "removed" for one, other in pairwise(runs))


def test_a_word_that_changed_is_seen_between_those_that_stayed() -> None:
    before = "The pulse is fast, so the heart fails."
    assert shown(before, "The pulse is slow, so the heart fails.") == [
        ("same", "The pulse is "),
        ("removed", "fast, "),
        ("added", "slow, "),
        ("same", "so the heart fails."),
    ]
    assert shown(before, before) == [("same", before)]
    assert shown("", "New words.") == [("added", "New words.")]
    assert shown("Old words.", "") == [("removed", "Old words.")]
    assert shown("", "") == []


def test_a_few_equal_words_between_two_changes_are_a_part_of_them() -> None:
    assert shown("one of the two", "three of the four") == [
        ("removed", "one of the two"),
        ("added", "three of the four"),
    ]


def test_long_runs_are_shown_by_their_ends() -> None:
    words = [f"w{number}" for number in range(1_200)]
    text = " ".join(words)
    start, change, end = shown(text, text.replace("w600", "new", 1))[0], *shown(text, text.replace("w600", "new"))[2:]
    assert start == ("same", f"[… {600 - CONTEXT} words …] {' '.join(words[600 - CONTEXT : 600])} ")
    assert change == ("added", "new ")
    assert end == ("same", f"{' '.join(words[601 : 601 + CONTEXT])} [… {599 - CONTEXT} words …] ")
    ((_, removed),) = shown(text, "")
    assert f"[… {1_200 - LONGEST_CHANGE:,} words …]" in removed
    assert removed.endswith("w1199")


def test_texts_with_many_changes_end_with_how_many_words_are_left_out() -> None:
    words = [f"w{number}" for number in range(8_000)]
    after = [f"new{number}" if number % 20 == 0 else word for number, word in enumerate(words)]
    *runs, (kind, last) = shown(" ".join(words), " ".join(after))
    assert kind == "same"
    assert last.endswith("more words …]")
    assert MOST_SHOWN < sum(len(text.split()) for _, text in runs) < 2 * MOST_SHOWN


def test_what_went_stands_before_what_came() -> None:
    assert word_difference("a b c d x e", "a b c d y z e") == [
        Run("same", ["a ", "b ", "c ", "d "]),
        Run("removed", ["x "]),
        Run("added", ["y ", "z "]),
        Run("same", ["e"]),
    ]
