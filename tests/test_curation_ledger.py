"""The ledger keeps every row, and its funnel adds up whatever the filters remove."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.ledger import (
    funnel,
    kept,
    open_ledger,
    reasons,
    remove,
    require_rows,
    with_pass_rates,
    with_rewritten,
)
from registry.curation_schema import FILTER_STAGES
from registry.errors import StageFailure
from tests.stages import row

ROWS = [row(number) for number in range(30)]


@given(st.lists(st.sampled_from(["keep", *FILTER_STAGES]), min_size=0, max_size=30), st.data())
def test_the_funnel_adds_up(fates: list[str], data: st.DataObject) -> None:
    ledger = open_ledger(ROWS[: len(fates)], [100] * len(fates))
    whys = data.draw(st.lists(st.sampled_from(["x", "y"]), min_size=len(fates), max_size=len(fates)))
    for stage in FILTER_STAGES:
        removals = {ROWS[i].id: whys[i] for i, fate in enumerate(fates) if fate == stage}
        ledger = remove(ledger, stage, removals)
    counts = funnel(ledger, FILTER_STAGES)
    assert [entry.row for entry in ledger] == ROWS[: len(fates)]
    assert list(counts) == ["total", *(f"after_{stage}" for stage in FILTER_STAGES)]
    assert counts["total"] == len(fates)
    left = len(fates)
    for stage in FILTER_STAGES:
        left -= fates.count(stage)
        assert counts[f"after_{stage}"] == left
        assert sum(reasons(ledger).get(stage, {}).values()) == fates.count(stage)
    assert len(kept(ledger)) == fates.count("keep")


def test_a_stage_that_did_not_run_is_not_in_the_funnel_and_cannot_hide_a_removal() -> None:
    ledger = remove(open_ledger(ROWS[:3], [1, 2, 3]), "difficulty", {ROWS[0].id: "too easy"})
    with pytest.raises(ValueError, match="does not add up: 3 rows left, 2 kept"):
        funnel(ledger, ["quality", "selection"])


def test_a_row_is_removed_once_and_only_if_it_is_there() -> None:
    ledger = remove(open_ledger(ROWS[:3], [1, 2, 3]), "quality", {ROWS[0].id: "missing answer"})
    with pytest.raises(ValueError, match="not kept"):
        remove(ledger, "selection", {ROWS[0].id: "not drawn"})
    with pytest.raises(ValueError, match="not kept"):
        remove(ledger, "selection", {"no such row": "not drawn"})


def test_rows_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="unique"):
        open_ledger([ROWS[0], ROWS[0]], [1, 1])


def test_pass_rates_are_noted_without_touching_what_was_removed() -> None:
    ledger = remove(open_ledger(ROWS[:3], [1, 2, 3]), "quality", {ROWS[0].id: "missing answer"})
    noted = with_pass_rates(ledger, {ROWS[1].id: 0.5})
    assert [entry.pass_rate for entry in noted] == [None, 0.5, None]
    assert [entry.stage for entry in noted] == ["quality", None, None]


def test_an_empty_selection_names_the_filter_that_emptied_it() -> None:
    ledger = remove(open_ledger(ROWS[:3], [1, 2, 3]), "quality", {ROWS[0].id: "missing answer"})
    require_rows(ledger, "e", "d")
    ledger = remove(ledger, "difficulty", {ROWS[1].id: "too easy", ROWS[2].id: "too hard"})
    with pytest.raises(StageFailure, match=r"e: the difficulty filter removed all of the 2 rows of d .*too easy \(1\)"):
        require_rows(ledger, "e", "d")


def test_a_rewritten_row_is_known_as_it_was_loaded() -> None:
    new = replace(ROWS[0], reasoning="Short.")
    before = open_ledger(ROWS[:2], [30, 40])
    ledger = with_rewritten(before, {new.id: new}, {new.id: 2}, {new.id: True})
    assert [(entry.row, entry.reasoning_tokens) for entry in ledger] == [(new, 2), (ROWS[1], 40)]
    assert tuple(entry.loaded for entry in ledger) == before
