"""The benchmarks of curation in short forms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.curation import diversity
from benchmarks.curation.s1_shares import Share, made_up_rows, measure_s1_shares, report, shares


def quiet(text: str) -> None:
    """Nobody looks on."""


def test_shares_of_s1_follow_their_closed_form() -> None:
    found = shares(made_up_rows(5), 200, range(40))
    assert sum(each.expected for each in found.values()) == pytest.approx(100.0)
    assert report(found, 40).sound


def test_a_share_that_is_off_is_not_sound() -> None:
    share = Share(weight=1.0, expected=50.0, measured=50.2, errors=2.9)
    assert report({"Cardiology": share}, 200).sound
    assert not report({"Cardiology": replace(share, errors=-3.1)}, 200).sound


def test_200_seeds_are_within_three_standard_errors() -> None:
    assert measure_s1_shares(False, quiet).sound


def test_diverse_rows_are_chosen_as_many_as_wanted() -> None:
    report = diversity.report(300, (40, 400), quiet)
    assert [each["chosen"] for each in report.data["choices"]] == [40, 300]
    assert not report.sound
    assert diversity.report(300, (40,), quiet).sound
