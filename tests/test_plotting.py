"""The leaderboard and the comparison figure, from results that were saved through the registry."""

from __future__ import annotations

import csv
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from scoring.intervals import wilson_interval
from tests.lab import Lab
from tests.small_lab import add, answer_of, edit_json, make_small_lab, save, scores


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Base models: `both-a` and `both-b` on two benchmarks, `one` on one of them, `limited`, `stale`, `waiting`."""
    lab = make_small_lab(tmp_path / "lab", monkeypatch)
    two = {"eval": ["held-out", "second-set"]}
    for name in ("both-a", "both-b", "one", "limited", "stale", "waiting"):
        add(lab, name, "base", datasets={"eval": "held-out"} if name == "one" else two)
    save(lab, "both-a", "eval", "completed", metrics=scores(held_out=(50, 100), second_set=(30, 40)))
    save(lab, "both-b", "eval", "completed", metrics=scores(held_out=(60, 100), second_set=(10, 40)))
    save(lab, "one", "eval", "completed", metrics=scores(held_out=(90, 100)))
    limited = {**scores(held_out=(20, 20), second_set=(20, 20)), "limit": 20}
    save(lab, "limited", "eval", "completed", metrics=limited)
    save(lab, "stale", "eval", "completed", metrics=scores(held_out=(99, 100), second_set=(39, 40)))
    lab.edit("stale", prompting="step")
    return lab


def board(lab: Lab, *names: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = answer_of(lab, "leaderboard", *names)["data"]
    return rows


def draw(lab: Lab, *arguments: str) -> Path:
    """Draw the comparison; return the folder of the figure."""
    out = lab.folder / "figures"
    lab.meds1("plot", "comparison", "--out", str(out), *arguments)
    return out


class TestLeaderboard:
    def test_what_cannot_be_compared_comes_last_and_is_marked(self, lab: Lab) -> None:
        rows = board(lab)

        assert [row["experiment"] for row in rows] == ["both-a", "both-b", "one", "limited", "stale"]
        remarks = {row["experiment"]: row["remark"] for row in rows}
        assert (remarks["both-a"], remarks["limited"]) == ("", "first 20 questions only")
        assert remarks["stale"] == 'stale: prompting "plain" -> "step"'
        text = lab.meds1("leaderboard").stdout
        assert re.search(r"^stale .*99\.0 \[94\.6, 99\.8\].* stale: prompting", text, re.MULTILINE)

    def test_macro_averages_are_over_the_same_benchmarks_for_all_that_have_one(self, lab: Lab) -> None:
        averages = {row["experiment"]: row["macro_average"] for row in board(lab)}

        assert averages["both-a"] == pytest.approx((50 / 100 + 30 / 40) / 2)
        assert averages["both-b"] == pytest.approx((60 / 100 + 10 / 40) / 2)
        assert averages["one"] is None

    def test_intervals_are_those_of_the_result(self, lab: Lab) -> None:
        (row,) = board(lab, "one")

        assert row["benchmarks"]["held-out"] == {
            "accuracy": 0.9,
            "ci": list(wilson_interval(90, 100)),
            "correct": 90,
            "total": 100,
            "flags": [],
            "measure": dict(zip(("value", "low", "high"), (0.9, *wilson_interval(90, 100)), strict=True))
            | {"n": 100, "questions": None},
        }

    def test_what_makes_a_result_suspect_is_remarked(self, lab: Lab) -> None:
        metrics = scores(held_out=(90, 100), second_set=(0, 40))
        metrics["benchmarks"]["second-set"]["flags"] = ["0 % right", "12 % unanswered"]
        save(lab, "both-b", "eval", "completed", metrics=metrics)

        (row,) = board(lab, "both-b")
        with draw(lab, "--experiments", "both-b").joinpath("comparison.csv").open(encoding="utf-8") as file:
            drawn = {line["remark"] for line in csv.DictReader(file)}

        assert row["remark"] == "second-set: 0 % right, 12 % unanswered"
        assert "second-set: 0 % right, 12 % unanswered" in lab.meds1("leaderboard").stdout
        assert drawn == {row["remark"]}

    def test_the_number_of_questions_stands_in_the_heading_and_where_one_had_others_in_its_cell(self, lab: Lab) -> None:
        _, header, _, *rows = lab.meds1("leaderboard").stdout.splitlines()

        assert "held-out (n=100)" in header
        assert "second-set (n=40)" in header
        assert [row.split()[0] for row in rows if "n=20" in row] == ["limited"]

    def test_without_a_result_an_experiment_is_an_error_when_named_and_else_a_warning(self, lab: Lab) -> None:
        every = answer_of(lab, "leaderboard")
        assert "waiting: has no eval result; run `meds1 run waiting`" in every["warnings"]
        globbed = answer_of(lab, "leaderboard", "*a*")
        assert "waiting: has no eval result; run `meds1 run waiting`" in globbed["warnings"]
        named = answer_of(lab, "leaderboard", "one", "waiting", code=3)
        assert "waiting: has no eval result" in named["error"]["message"]
        assert [row["experiment"] for row in named["data"]] == ["one"]

    def test_a_result_of_another_program_without_numbers_is_a_warning(self, lab: Lab) -> None:
        def add_results(document: dict[str, Any]) -> None:
            document["experiments"]["waiting"]["results"] = {"eval": {"metrics": None, "metrics_path": "m.json"}}
            odd = {"summary": {"held-out": {"accuracy": 0.5}}}
            document["experiments"]["base"]["results"] = {"eval": {"metrics": odd}}

        edit_json(lab.folder / "results.json", add_results)

        body = answer_of(lab, "leaderboard")

        assert [row["experiment"] for row in body["data"]] == ["both-a", "both-b", "one", "limited", "stale"]
        told = [line.split(";")[0] for line in body["warnings"] if "has no eval result" not in line]
        assert told == [
            "base: its eval result of held-out needs accuracy, accuracy_ci [low, high], num_correct and total_examples",
            "waiting: its eval result holds no benchmark",
        ]

    def test_an_experiment_that_is_evaluated_again_is_marked(self, lab: Lab) -> None:
        save(lab, "one", "eval", "submitted", job={"cluster": "slurm", "id": "1"})

        (row,) = board(lab, "one")

        assert (row["status"], row["remark"]) == ("submitted", "submitted")

    def test_a_metric_that_is_not_there_is_one_line_and_one_that_some_lack_a_warning(self, lab: Lab) -> None:
        metrics = scores(held_out=(90, 100))
        metrics["benchmarks"]["held-out"]["unanswered"] = 7
        save(lab, "one", "eval", "completed", metrics=metrics)

        wrong = lab.meds1("leaderboard", "--metric", "unanswerd", code=2)
        body = answer_of(lab, "leaderboard", "--metric", "unanswered", "--benchmark", "held-out", "--top", "3")
        named = answer_of(lab, "leaderboard", "one", "both-a", "--metric", "unanswered", code=3)

        last = wrong.stderr.splitlines()[-1]
        assert last == "meds1 leaderboard: --metric 'unanswerd': no result has it; did you mean 'unanswered'?"
        assert [row["experiment"] for row in body["data"]] == ["one"]
        assert "both-a: its eval result has no unanswered on held-out" in body["warnings"]
        assert named["error"]["message"] == "both-a: its eval result has no unanswered on held-out"

    def test_only_the_best_so_many(self, lab: Lab) -> None:
        text = lab.meds1("leaderboard", "--top", "2").stdout.splitlines()

        assert [line.split()[0] for line in text[3:5]] == ["both-a", "both-b"]
        assert text[5:] == [
            "macro: mean over held-out, second-set; only for experiments that have them all; its interval takes the "
            "benchmarks as independent",
            "and 3 more",
        ]

    def test_display_names_of_experiments_and_benchmarks(self, lab: Lab) -> None:
        display = {"experiments": {"one": {"name": "Just one"}}, "benchmarks": {"held-out": "Held out"}}
        edit_json(lab.folder / "config.json", lambda body: body.update(display=display))

        text = lab.meds1("leaderboard", "one").stdout

        assert "Just one" in text
        assert "Held out (n=100)" in text


class TestComparison:
    def test_png_pdf_and_csv_are_written_and_nothing_else(self, lab: Lab) -> None:
        out = draw(lab)

        assert sorted(path.name for path in out.iterdir()) == ["comparison.csv", "comparison.pdf", "comparison.png"]
        png = (out / "comparison.png").read_bytes()
        assert png.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", png[16:24])
        assert width > 800
        assert height > 300
        assert (out / "comparison.pdf").read_bytes().startswith(b"%PDF")

    def test_the_csv_holds_the_registrys_numbers(self, lab: Lab) -> None:
        with open(draw(lab) / "comparison.csv", newline="", encoding="utf-8") as file:
            drawn = list(csv.DictReader(file))

        expected = []
        for name in ("both-a", "both-b", "one", "limited", "stale"):
            for source, numbers in lab.results(name)["eval"]["metrics"]["benchmarks"].items():
                low, high = numbers["accuracy_ci"]
                expected.append((name, source, numbers["accuracy"], low, high, numbers["total_examples"]))
        numbers_of = [[float(r[key]) for key in ("value", "low", "high", "n")] for r in drawn]
        found = [(r["experiment"], r["benchmark"], *numbers) for r, numbers in zip(drawn, numbers_of, strict=True)]
        assert found == expected
        assert {r["experiment"]: r["status"] for r in drawn}["stale"] == "stale"

    def test_equal_data_gives_equal_bytes_and_other_data_other_ones(self, lab: Lab) -> None:
        first = {path.name: path.read_bytes() for path in draw(lab).iterdir()}
        again = {path.name: path.read_bytes() for path in draw(lab).iterdir()}
        fewer = {path.name: path.read_bytes() for path in draw(lab, "--experiments", "both-*").iterdir()}

        assert again == first
        assert all(fewer[name] != first[name] for name in first)

    def test_a_named_experiment_without_a_result_is_an_error_and_no_picture(self, lab: Lab) -> None:
        out = lab.folder / "figures"

        done = lab.meds1(
            "plot", "comparison", "--experiments", "one", "--experiments", "waiting", "--out", str(out), code=3
        )

        assert "waiting: has no eval result" in done.stderr
        assert not out.exists()

    def test_a_place_that_is_no_folder(self, lab: Lab) -> None:
        done = lab.meds1("plot", "comparison", "--out", str(lab.folder / "config.json"), code=1)

        assert re.fullmatch(
            r"meds1 plot: .*config\.json: the figure cannot be written: .*--out", done.stderr.splitlines()[-1]
        )

    def test_thirty_experiments_in_groups_have_a_row_each(self, lab: Lab) -> None:
        rows = 30
        shown = {}
        for number in range(rows):
            add(lab, f"sweep-{number}", "base", eval={"seed": number})
            save(lab, f"sweep-{number}", "eval", "completed", metrics=scores(held_out=(number, 100)))
            shown[f"sweep-{number}"] = {"group": f"group {number % 8}"}
        edit_json(lab.folder / "config.json", lambda body: body.update(display={"experiments": shown}))

        out = draw(lab, "--experiments", "sweep-*")

        assert (out / "comparison.csv").read_text().count("\n") == rows + 1
        _, height = struct.unpack(">II", (out / "comparison.png").read_bytes()[16:24])
        assert height > rows * 200 * 0.15  # at 200 dots per inch, a label of 9 points needs an eighth of an inch
