"""The benchmark of comparing, on a tiny lab: its files are those of an eval, and every part measures what it says."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.compare.__main__ import PARTS, main
from benchmarks.compare.answers import SHARES, make_exam
from benchmarks.compare.commands import compare, leaderboard
from benchmarks.compare.report import described, make, opened
from benchmarks.compare.simulations import equal_runs
from benchmarks.compare.timing import Goal
from benchmarks.parts import Report
from benchmarks.registry.big_lab import make_big_lab, name_of
from eval.predictions import Prediction
from registry.store import results_of
from tests.browser import why_unavailable


def quiet(text: str) -> None:
    """What is being done is of no interest here."""


def shown(report: Report) -> str:
    return json.dumps(report.data) + repr(report.lines)


def test_its_predictions_are_those_of_an_eval_and_its_numbers_are_theirs(tmp_path: Path) -> None:
    exam = make_exam(50)
    lab = make_big_lab(tmp_path / "lab", tmp_path / "cache", 1, exam.payload)
    entry = results_of(lab.read(), name_of(0))["eval"]
    lines = [json.loads(line) for line in Path(entry["predictions_path"]).read_text(encoding="utf-8").splitlines()]
    assert list(lines[0]) == [field.name for field in fields(Prediction)]
    assert lines == sorted(lines, key=lambda line: (line["source"], line["id"]))
    assert 2_000 < sum(map(len, map(json.dumps, lines))) / len(lines) < 5_000
    for line in lines:
        assert line["correct"] == (line["extracted"] == line["gold"])
        assert (line["failure_mode"] is None) == line["correct"]
        assert line["thinking"] in line["output"]
    for name in SHARES:
        own = [line["correct"] for line in lines if line["source"] == name]
        numbers = entry["metrics"]["benchmarks"][name]
        assert (numbers["num_correct"], numbers["total_examples"]) == (sum(own), len(own))


@pytest.mark.parametrize("limit", [0.5, 2.0])
def test_a_goal_is_judged_by_its_median(limit: float) -> None:
    goal = Goal("a thing", (9.0, 1.0, 0.1), limit)
    assert goal.row() == ["a thing, s", "0.10", "1.00", f"{limit:g}", "met" if limit > 1 else "MISSED"]


def test_the_leaderboard_is_timed() -> None:
    report = leaderboard(4, 1, quiet)
    assert len(report.data["seconds"]) == 1
    assert "meds1 leaderboard" in shown(report)


def test_a_comparison_is_timed() -> None:
    report = compare(60, 1, quiet)
    assert len(report.data["seconds"]) == 1
    assert "60 items" in shown(report)


@pytest.mark.full
def test_a_report_is_measured_and_opened() -> None:
    made = make(2, 40, quiet)
    report = described(made)
    assert report.data["bytes"] > 0
    assert report.data["megabytes"] > 20
    assert report.data["processor"] > 0
    if why_unavailable() is None:
        assert all(len(values) == 1 for values in opened(made, 1, quiet).data.values())


def test_equal_runs_are_simulated() -> None:
    report = equal_runs(2, quiet)
    assert report.data["simulations"] == 2
    assert report.sound


def test_an_unknown_part_is_refused_with_the_legal_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["leaderbord"])
    assert ended.value.code == 2
    assert ", ".join(PARTS) in capsys.readouterr().err
