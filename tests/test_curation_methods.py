"""Methods that need the rows alone: seeded, blind to the rows' order, true to their closed form."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare

from curation.ledger import Ledger, open_ledger
from curation.methods import METHODS
from curation.methods.pool import NOT_DRAWN, pool_of
from curation.methods.s1 import UNREACHED, unknown_weights
from curation.methods.wording import WITHOUT
from data.specialties import SPECIALTIES
from registry.curation_schema import CURATIONS, S1Rows, curation_of
from registry.errors import UsageError
from tests.stages import row

LABELS = ("Cardiology", "Oncology", "unlabelled")
ROWS = [row(number, specialty=("Cardiology", "Oncology", None)[number % 3]) for number in range(60)]


def ledger_of(tokens: list[int]) -> Ledger:
    return open_ledger(ROWS[: len(tokens)], tokens)


def drawn(entries: Ledger, **config: object) -> set[str]:
    parsed = curation_of({"quality": None, "difficulty": None, **config})
    left_out = METHODS[parsed.method](pool_of(entries), parsed)
    assert set(left_out) <= {entry.row.id for entry in entries}
    return {entry.row.id for entry in entries} - set(left_out)


def test_every_method_of_the_schema_is_there_and_no_other() -> None:
    assert set(METHODS) == set(CURATIONS)


def test_all_takes_everything() -> None:
    entries = ledger_of([10] * 60)
    assert drawn(entries, method="all") == {entry.row.id for entry in entries}


@pytest.mark.parametrize("method", ["random", "s1"])
def test_draws_are_seeded_and_blind_to_the_order_of_the_rows(method: str) -> None:
    entries = ledger_of([1000 + i for i in range(60)])
    shuffled = tuple(random.Random(1).sample(entries, len(entries)))
    first = drawn(entries, method=method, n_samples=20, seed=1)
    assert len(first) == 20
    assert drawn(shuffled, method=method, n_samples=20, seed=1) == first
    assert drawn(entries, method=method, n_samples=20, seed=2) != first


@pytest.mark.parametrize("method", ["random", "s1", "difficulty-n-gram"])
def test_too_few_rows_are_all_taken(method: str) -> None:
    entries = ledger_of([1000] * 10)
    assert drawn(entries, method=method, n_samples=20) == {entry.row.id for entry in entries}


def test_random_draws_every_row_equally_often() -> None:
    entries = ledger_of([10] * 12)
    counts = Counter(
        row_id for seed in range(600) for row_id in drawn(entries, method="random", n_samples=3, seed=seed)
    )
    assert len(counts) == 12
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_s1_takes_all_long_reasoning_and_draws_the_rest_from_the_shorter() -> None:
    entries = ledger_of([1000 if at % 5 == 0 else 10 for at in range(60)])
    long = {entry.row.id for entry in entries if entry.reasoning_tokens == 1000}
    draws = [drawn(entries, method="s1", n_samples=20, seed=seed) for seed in range(20)]
    assert {len(each) for each in draws} == {20}
    assert all(long < each for each in draws)
    assert len({frozenset(each) for each in draws}) > 1


def test_s1_draws_among_the_long_alone_when_these_are_too_many() -> None:
    entries = ledger_of([1000, 1000, 5])
    left_out = METHODS["s1"](pool_of(entries), curation_of({"method": "s1", "n_samples": 1}))
    assert left_out[ROWS[2].id] == "reasoning shorter than 1000 tokens, and enough rows are longer"
    assert sorted(left_out.values())[0] == NOT_DRAWN
    assert len(left_out) == 2


def test_s1_chooses_specialties_uniformly_then_by_weight() -> None:
    """14 draws over three specialties alike, 6 with weights 3, 0 and (none is given) 1."""
    labels = ("Cardiology", "Oncology", None)
    rows = [row(i, specialty=labels[0 if i < 200 else 1 + i % 2]) for i in range(280)]
    entries = open_ledger(rows, [10 + i for i in range(280)])
    label = {each.id: each.specialty for each in rows}
    weights = {"Cardiology": 3.0, "Oncology": 0.0}
    counts = Counter(
        label[row_id]
        for seed in range(200)
        for row_id in drawn(entries, method="s1", n_samples=20, seed=seed, specialty_weights=weights)
    )
    expected = [200 * (14 / 3 + 6 * chance) for chance in (0.75, 0.0, 0.25)]
    assert chisquare([counts[name] for name in labels], expected).pvalue > 1e-4


def test_s1_ends_early_where_only_weights_of_zero_are_left() -> None:
    entries = ledger_of([10] * 30)
    none = {"Cardiology": 0.0, "Oncology": 0.0, "unlabelled": 0.0}
    left_out = METHODS["s1"](
        pool_of(entries), curation_of({"method": "s1", "n_samples": 10, "specialty_weights": none})
    )
    assert len(left_out) == 30 - 7
    assert set(left_out.values()) == {UNREACHED}


def test_a_weight_that_no_row_can_have_is_warned_of_with_the_nearest_name() -> None:
    weights = {"Cardiolgy": 2.0, "Neurologie": 1.0, "Oncology": 3.0, "Qqqq": 1.0, "unlabelled": 0.0}
    config = S1Rows(method="s1", n_samples=5, specialty_weights=weights)
    first, second, third = unknown_weights(ledger_of([10] * 60), config)
    assert first.startswith("specialty_weights: no row is of specialty 'Cardiolgy'; did you mean 'Cardiology'")
    assert "'Neurology'" in second
    assert "'Qqqq'; the rows are of" in third


def test_s1_favours_long_reasoning_by_powers_of_two() -> None:
    """One draw from one specialty of four rows: rank k is drawn with probability 2^-k / (1 + 1/2 + 1/4 + 1/8)."""
    rows = [row(i, specialty="Cardiology") for i in range(4)]
    entries = open_ledger(rows, [4000, 3000, 2000, 1000])
    draws = Counter(next(iter(drawn(entries, method="s1", n_samples=1, seed=seed))) for seed in range(1500))
    expected = [1500 * 2.0**-rank / 1.875 for rank in range(4)]
    assert chisquare([draws[each.id] for each in rows], expected).pvalue > 1e-4


def test_s1_goes_on_with_the_other_specialties_when_one_is_used_up() -> None:
    rows = [row(i, specialty="Oncology" if i == 0 else "Cardiology") for i in range(10)]
    entries = open_ledger(rows, [10] * 10)
    taken = [drawn(entries, method="s1", n_samples=8, seed=seed) for seed in range(200)]
    assert {len(each) for each in taken} == {8}
    # The single row misses eight draws with 2^-8 (all weights are alike), and is never drawn twice.
    assert binomtest(sum(rows[0].id in each for each in taken), 200, 1 - 0.5**8).pvalue > 1e-4


POOLS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["Cardiology", "Oncology", None])), max_size=30)


@given(
    POOLS,
    st.integers(1, 35),
    st.integers(0, 2**32),
    st.dictionaries(st.sampled_from(LABELS), st.sampled_from((0.0, 0.5, 9.0))),
)
def test_s1_on_any_pool(pool: list[tuple[int, str | None]], n: int, seed: int, weights: dict[str, float]) -> None:
    rows = [replace(ROWS[at], specialty=label) for at, (_, label) in enumerate(pool)]
    entries = open_ledger(rows, [tokens for tokens, _ in pool])
    chosen = drawn(entries, method="s1", n_samples=n, seed=seed, long_tokens=20, specialty_weights=weights)
    long = {entry.row.id for entry in entries if entry.reasoning_tokens >= 20}
    assert len(chosen) <= n
    assert long <= chosen or (len(long) > n and chosen <= long)
    if 0.0 not in weights.values():
        assert len(chosen) == min(n, len(entries))


SUBSTRINGS = {"method": "difficulty-substring", "n_samples": 3}


def worded(*texts: str) -> Ledger:
    return open_ledger([row(at, reasoning=text) for at, text in enumerate(texts)], [5] * len(texts))


def test_substrings_are_found_in_any_case_and_within_words() -> None:
    entries = worded("This is CONFUSING.", "All is clear.", "Do not be misled, double-Check it", "I overlooked it")
    assert drawn(entries, **SUBSTRINGS) == {entries[at].row.id for at in (0, 2, 3)}
    left_out = METHODS["difficulty-substring"](pool_of(entries), curation_of(SUBSTRINGS | {"n_samples": 1}))
    assert sorted(left_out.values()) == [NOT_DRAWN, NOT_DRAWN, WITHOUT]
    assert left_out[entries[1].row.id] == WITHOUT


def test_of_rows_that_hold_a_substring_every_one_is_drawn_equally_often() -> None:
    entries = worded(*["Doubt it."] * 8, *["Sure."] * 8)
    config: dict[str, Any] = {**SUBSTRINGS, "substrings": ["doubt"]}
    counts = Counter(row_id for seed in range(400) for row_id in drawn(entries, **config, seed=seed))
    assert set(counts) == {entry.row.id for entry in entries[:8]}
    assert chisquare(list(counts.values())).pvalue > 1e-4


NGRAMS = {"method": "difficulty-n-gram", "ngrams": {"wait": 1.0, "let me": 2.0, "let me check": 4.0, "don't": 8.0}}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("Wait! Wait", "wait then go"),  # 2 of 3 against 1 of 4
        ("_WAIT_ here now", "waiter here now"),  # a whole word, in any case and markup
        ("Let me,\nCHECK it", "let me see it"),  # a longer phrase beside the shorter one that it holds
        ("We don’t go", "We do not go"),  # a typographic apostrophe
        ("ｗａｉｔ here", "way here"),  # wide letters
        ("wait", "wait for it"),  # by the number of words
    ],
)
def test_ngrams_are_counted_as_whole_words_by_their_share(better: str, worse: str) -> None:
    entries = worded(worse, better)
    assert drawn(entries, **NGRAMS, n_samples=1) == {entries[1].row.id}
    assert drawn(tuple(reversed(entries)), **NGRAMS, n_samples=1) == {entries[1].row.id}


def test_equal_scores_are_taken_in_the_order_of_the_ids() -> None:
    entries = worded(*["wait"] * 6)
    first = sorted(entry.row.id for entry in entries)[:2]
    assert drawn(entries, **NGRAMS, n_samples=2) == set(first)


def test_the_order_of_the_phrases_in_a_config_decides_nothing() -> None:
    """Added up in another order, 0.1 + 0.2 + 0.3 is more than 0.3 + 0.2 + 0.1, and the first row would lose its tie."""
    weights = {"let": 0.3, "let me": 0.2, "let me go": 0.1, "one": 0.1, "two": 0.2, "three": 0.3}
    first, second = sorted(worded("let me go", "let me go"), key=lambda entry: entry.row.id)
    entries = (first, replace(second, row=replace(second.row, reasoning="one two three")))
    for order in permutations(weights.items()):
        assert drawn(entries, method="difficulty-n-gram", n_samples=1, ngrams=dict(order)) == {first.row.id}


def test_the_projects_own_phrases_prefer_thinking_aloud() -> None:
    entries = worded(
        "Wait, that's wrong. Let me check the dose again.", "The dose is ten milligrams a day, as is usual."
    )
    assert drawn(entries, method="difficulty-n-gram", n_samples=1) == {entries[0].row.id}


def test_a_phrase_without_a_word_is_refused() -> None:
    with pytest.raises(UsageError, match=r"curation.ngrams: '\?!' holds no word; remove it"):
        drawn(ledger_of([1]), method="difficulty-n-gram", n_samples=1, ngrams={"?!": 1.0})


def test_specialties_are_listed_once_each() -> None:
    folded = [name.casefold() for name in SPECIALTIES]
    assert len(set(folded)) == len(folded) > 150
    assert all(name == name.strip() for name in SPECIALTIES)
    assert {"Cardiovascular Disease", "Dentistry", "Optometry", "Podiatry", "Mathematics"} <= set(SPECIALTIES)
