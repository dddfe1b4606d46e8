"""Sampling: seeded, independent of the rows' order, balanced over specialties, long reasoning only."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from scipy.stats import binomtest, chisquare

from curation.ledger import Ledger, open_ledger
from curation.methods import METHODS
from curation.methods.pool import NOT_DRAWN, pool_of
from registry.curation_schema import CURATIONS, curation_of
from tests.stages import row

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


@pytest.mark.parametrize("method", ["random", "s1"])
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


def test_s1_takes_no_short_reasoning_even_when_long_ones_run_out() -> None:
    entries = ledger_of([999, 1000, 1001, 10, 2000])
    parsed = curation_of({"method": "s1", "n_samples": 5})
    short = "reasoning shorter than 1000 tokens"
    assert METHODS["s1"](pool_of(entries), parsed) == {ROWS[0].id: short, ROWS[3].id: short}


def test_s1_says_of_every_row_why_it_was_left_out() -> None:
    entries = ledger_of([1000, 1000, 5])
    parsed = curation_of({"method": "s1", "n_samples": 1})
    assert sorted(METHODS["s1"](pool_of(entries), parsed).values()) == [NOT_DRAWN, "reasoning shorter than 1000 tokens"]


def test_s1_is_balanced_where_the_pool_is_not() -> None:
    rows = [row(i, specialty="Cardiology" if i < 200 else "Oncology" if i < 220 else None) for i in range(240)]
    entries = open_ledger(rows, [1000 + i for i in range(240)])
    label = {each.id: each.specialty for each in rows}
    counts = Counter(
        label[row_id] for seed in range(40) for row_id in drawn(entries, method="s1", n_samples=15, seed=seed)
    )
    assert chisquare([counts["Cardiology"], counts["Oncology"], counts[None]]).pvalue > 1e-4


def test_s1_favours_long_reasoning_by_powers_of_two() -> None:
    """One draw from one specialty of four rows: rank k is drawn with probability 2^-k / (1 + 1/2 + 1/4 + 1/8)."""
    rows = [row(i, specialty="Cardiology") for i in range(4)]
    entries = open_ledger(rows, [4000, 3000, 2000, 1000])
    draws = Counter(next(iter(drawn(entries, method="s1", n_samples=1, seed=seed))) for seed in range(1500))
    expected = [1500 * 2.0**-rank / 1.875 for rank in range(4)]
    assert chisquare([draws[each.id] for each in rows], expected).pvalue > 1e-4


def test_s1_goes_on_with_the_other_specialties_when_one_is_used_up() -> None:
    rows = [row(i, specialty="Oncology" if i == 0 else "Cardiology") for i in range(10)]
    entries = open_ledger(rows, [1000] * 10)
    taken = [drawn(entries, method="s1", n_samples=8, seed=seed) for seed in range(200)]
    assert {len(each) for each in taken} == {8}
    # The single row misses a draw of eight only if seven or more coin flips in a row name the other specialty.
    assert binomtest(sum(rows[0].id in each for each in taken), 200, 1 - 0.5**8).pvalue > 1e-4
