"""The benchmark of model calls: writers killed lose nothing, and what it counts as late and torn."""

from __future__ import annotations

from benchmarks.rewriting.calls import FRESH_S, is_whole, late
from benchmarks.rewriting.kills import measure_kills


def test_sixteen_killed_writers_lose_nothing_that_they_handed_out() -> None:
    report = measure_kills(False, lambda text: None)
    assert report.sound
    assert report.data["kept"] >= 16


def test_a_call_is_late_when_another_process_had_kept_the_answer_for_a_while() -> None:
    other = {"kept": {"a": 1.0, "b": 1.0, "c": 9.0}}
    assert late({"sent": {"a": 1.0 + 2 * FRESH_S, "b": 1.0 + FRESH_S / 2, "c": 2.0, "d": 9.0}}, [other]) == 1


def test_half_a_line_is_torn() -> None:
    assert [is_whole(line) for line in (b'{"a": 1}', b'{"a": ')] == [True, False]
