"""The order of a leaderboard, what its macro average is over, and what its values are out of."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from plotting.leaderboard import Board, as_json, board_of, cells_of, table
from plotting.scores import Row, row_of
from registry.catalog import Display
from registry.errors import MissingError, UsageError
from registry.status import StageStatus


def numbers(accuracy: float, total: int = 100, **more: Any) -> dict[str, Any]:
    interval = [max(0.0, accuracy - 0.1), min(1.0, accuracy + 0.1)]
    counts = {"num_correct": round(accuracy * total), "total_examples": total}
    return {"accuracy": accuracy, "accuracy_ci": interval, **counts, **more}


def row(name: str, benchmarks: Mapping[str, Any], status: Any = "completed", limit: int | None = None) -> Row:
    metrics = {"benchmarks": dict(benchmarks), "limit": limit}
    return row_of(name, {"eval": {"metrics": metrics}}, StageStatus(status), Display())


def order(board: Board) -> list[str]:
    return [one.experiment for one in board.rows]


def means(board: Board) -> dict[str, float]:
    return {name: average.value for name, average in board.averages.items()}


class TestMacroAverage:
    def test_an_extra_benchmark_of_one_experiment_costs_nobody_the_average(self) -> None:
        rows = [row(name, {"x": numbers(0.5), "y": numbers(value)}) for name, value in (("a", 0.3), ("b", 0.7))]
        rows.append(row("c", {"x": numbers(0.5), "y": numbers(0.5), "z": numbers(1.0)}))

        board = board_of(rows)

        assert board.shared == ["x", "y"]
        assert means(board) == pytest.approx({"a": 0.4, "b": 0.6, "c": 0.5})
        assert order(board) == ["b", "c", "a"]
        assert "mean over x, y;" in board.macro_rule(Display())

    def test_an_experiment_that_lacks_a_common_benchmark_has_none_and_comes_after_those_that_have(self) -> None:
        rows = [row(name, {"x": numbers(0.2), "y": numbers(0.2)}) for name in ("a", "b")]
        rows.append(row("c", {"x": numbers(0.9)}))

        board = board_of(rows)

        assert set(board.averages) == {"a", "b"}
        assert order(board) == ["a", "b", "c"]
        assert as_json(board)[2]["macro_average"] is None

    def test_it_is_over_the_benchmarks_that_were_asked_for(self) -> None:
        rows = [row("a", {"x": numbers(0.2), "y": numbers(0.6)}), row("b", {"x": numbers(0.9), "z": numbers(0.1)})]

        board = board_of(rows, ["y", "x"])

        assert board.benchmarks == ["y", "x"]
        assert means(board) == pytest.approx({"a": 0.4})

    def test_there_is_none_where_no_two_benchmarks_are_shared(self) -> None:
        rows = [row("a", {"x": numbers(0.2), "y": numbers(0.6)}), row("b", {"x": numbers(0.3)})]

        board = board_of(rows)

        assert board.averages == {}
        assert "macro" not in table(board, Display()).header
        assert order(board) == ["b", "a"]  # by what both have

    def test_there_is_an_order_where_no_benchmark_is_of_most(self) -> None:
        rows = [row("a", {"x": numbers(0.2)}), row("b", {"y": numbers(0.6)}), row("c", {"z": numbers(0.4)})]

        assert order(board_of(rows)) == ["b", "c", "a"]

    def test_it_has_an_interval_as_of_independent_benchmarks(self) -> None:
        rows = [row("a", {"x": numbers(0.3), "y": numbers(0.5)}), row("b", {"x": numbers(0.0), "y": numbers(0.5)})]

        board = board_of(rows)
        told = {one["experiment"]: one["macro_ci"] for one in as_json(board)}

        off = math.hypot(0.1, 0.1) / 2
        assert told["a"] == pytest.approx([0.4 - off, 0.4 + off])
        assert told["b"] == pytest.approx([0.25 - 0.1 / 2, 0.25 + off])  # no accuracy is below 0
        assert cells_of(board, board.rows[0])[-1] == "40.0 [32.9, 47.1]"
        assert board.macro_rule(Display()).endswith("; its interval takes the benchmarks as independent")

    def test_it_has_none_where_a_benchmark_has_none(self) -> None:
        one = numbers(0.5, unanswered=7)

        board = board_of([row("a", {"x": one, "y": one})], metric="unanswered")

        assert as_json(board)[0]["macro_average"] == pytest.approx(0.07)
        assert as_json(board)[0]["macro_ci"] is None
        assert cells_of(board, board.rows[0])[-1] == "7.0"
        assert "interval" not in board.macro_rule(Display())


class TestMetric:
    ROWS = (
        row("a", {"x": numbers(0.9, unanswered=30), "y": numbers(0.5)}),
        row("b", {"x": numbers(0.1, unanswered=10), "y": numbers(0.5)}),
        row("c", {"x": numbers(0.5), "y": numbers(0.5)}),
    )

    def test_the_best_is_first_whichever_way_is_better(self) -> None:
        board = board_of(self.ROWS, metric="unanswered")

        assert order(board) == ["b", "a"]
        assert [one.experiment for one in board.without] == ["c"]
        assert board.benchmarks == ["x"]  # nobody has it on the other
        assert board.caption == "Answers without an answer in % (lower is better)"
        assert as_json(board)[0]["benchmarks"]["x"]["measure"]["value"] == 0.1

    def test_a_metric_or_benchmark_that_no_result_has_is_named_with_the_nearest(self) -> None:
        with pytest.raises(UsageError, match="--metric 'unaswered': no result has it; did you mean 'unanswered'"):
            board_of(self.ROWS, metric="unaswered")
        with pytest.raises(UsageError, match="--metric unanswered: no result has it on y"):
            board_of(self.ROWS, ["y"], "unanswered")
        with pytest.raises(UsageError, match="--benchmark 'z': no result has it; legal: x, y"):
            board_of(self.ROWS, ["z"])


class TestOutOf:
    def test_repeated_answers_and_questions_are_told_apart(self) -> None:
        board = board_of([row("a", {"x": numbers(0.5, 120, num_questions=40, repetitions=3)})])

        assert table(board, Display()).header[1] == "x (n=40, 120 answers)"

    def test_only_the_cell_that_differs_says_so(self) -> None:
        rows = [row(name, {"x": numbers(0.5)}) for name in ("a", "b")] + [row("few", {"x": numbers(0.9, 20)}, limit=20)]

        board = board_of(rows)

        cells = {one.experiment: cells_of(board, one) for one in board.rows}
        assert cells == {"a": ["50.0 [40.0, 60.0]"], "b": ["50.0 [40.0, 60.0]"], "few": ["90.0 [80.0, 100.0] n=20"]}
        assert order(board)[-1] == "few"
        assert board.rows[-1].remark == "first 20 questions only"

    @pytest.mark.parametrize("status", ["stale", "running", "submitted"])
    def test_what_is_not_of_now_comes_last_and_is_marked(self, status: str) -> None:
        rows = [row("old", {"x": numbers(0.9)}, status), row("new", {"x": numbers(0.1)})]

        board = board_of(rows)

        assert order(board) == ["new", "old"]
        assert board.rows[-1].remark == status


@pytest.mark.parametrize("broken", [{"accuracy": None}, {"accuracy_ci": None}, {"accuracy_ci": [None, 1]}, None, "0.5"])
def test_numbers_that_are_none_are_a_mistake_of_that_experiment(broken: Any) -> None:
    body = {**numbers(0.5), **broken} if isinstance(broken, dict) else broken

    with pytest.raises(UsageError, match=r"^odd: its eval result of x needs accuracy"):
        row("odd", {"x": body})


def test_who_was_asked_in_another_way_than_most_is_marked() -> None:
    rows = [row(name, {"x": numbers(0.5)}) for name in ("a", "b", "stepwise", "silent")]
    ways = ("plain", "plain", "step")
    rows[:3] = [replace(one, inputs={"prompting": way}) for one, way in zip(rows, ways, strict=False)]

    remarks = {one.experiment: one.remark for one in board_of(rows).rows}

    assert remarks == dict.fromkeys(("a", "b", "silent"), "") | {
        "stepwise": 'asked in another way than most: prompting "plain" -> "step"'
    }


def test_of_two_ways_that_are_equally_common_neither_is_that_of_most() -> None:
    rows = [replace(row(name, {"x": numbers(0.5)}), inputs={"prompting": name}) for name in ("plain", "step")]

    remarks = {one.experiment: one.remark for one in board_of(rows).rows}

    assert remarks == {"plain": "", "step": 'asked in another way than plain: prompting "plain" -> "step"'}


def test_grades_of_another_judge_are_remarked_and_accuracies_beside_them_are_not() -> None:
    graded = numbers(0.5, judge={"quality": {"mean": 3.0, "n": 100}})
    judges = {"a": "judge-1", "b": "judge-1", "c": "judge-2"}
    rows = [replace(row(name, {"x": graded}), inputs={"judge_model": judge}) for name, judge in judges.items()]

    by_grade = {one.experiment: one.remark for one in board_of(rows, metric="judge.quality").rows}
    by_accuracy = {one.experiment: one.remark for one in board_of(rows).rows}

    told = 'asked in another way than most: judge.model "judge-1" -> "judge-2"'
    assert by_grade == {"a": "", "b": "", "c": told}
    assert by_accuracy == {"a": "", "b": "", "c": ""}


def test_no_experiment_at_all() -> None:
    board = board_of([])

    assert (as_json(board), board.averages) == ([], {})


def test_names_stand_in_the_table_as_they_are() -> None:
    label = "a|b_c %&<d> é中" + "x" * 128
    shown = Display.model_validate({"experiments": {"a": {"name": label}}, "benchmarks": {"x": "X & Y"}})
    one = row_of("a", {"eval": {"metrics": {"benchmarks": {"x": numbers(0.5)}}}}, StageStatus("completed"), shown)

    grid = table(board_of([one]), shown)

    assert grid.rows[0][:2] == ["a", label]
    assert re.fullmatch(r"X & Y \(n=100\)", grid.header[2])


@pytest.mark.parametrize("status", ["submitted", "running"])
def test_who_waits_for_a_result_is_not_told_to_run_it_again(status: Any) -> None:
    with pytest.raises(MissingError, match=f"a: its eval is {status} and has no result yet; wait for it"):
        row_of("a", {}, StageStatus(status), Display())
