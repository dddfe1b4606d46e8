"""What figures show, how they look, and that they stay readable, from invented experiments and through the command."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.text import Text

from curation.figures import draw_funnel
from plotting.figures import style
from plotting.figures.kinds import KINDS, Sketch, write
from plotting.figures.labels import LABEL_LENGTH, short_labels
from plotting.runs import Run
from registry.catalog import Display
from registry.errors import MissingError, UsageError
from registry.figure_style import MARKERS
from tests import figure_cases as cases
from tests.figure_cases import DISPLAY, answered_lab, asked, drawn, lab, numbers, run_with
from tests.figure_references import assert_looks_like, difference, picture_of
from tests.figure_references import cases as stored_cases
from tests.lab import Lab, lab_environment
from tests.original_registry import original_document, write_files
from tests.small_lab import add, answer_of, edit_json, make_small_lab, save, write_json


def table_of(sketch: Sketch) -> list[dict[str, Any]]:
    return [dict(zip(sketch.header, row, strict=True)) for row in sketch.rows]


HOURS = {"metrics": {"gpu_hours": 1.0}}


def pixels(sketch: Sketch) -> Any:
    return imread(io.BytesIO(picture_of(sketch)))


def places(line: Line2D) -> list[float]:
    """Where it stands along x."""
    return [float(x) for x in cast("list[float]", line.get_xdata())]


def many(count: int, *, groups: int = 0, benchmarks: int = 2, label: str = "run {}") -> tuple[list[Run], Display]:
    """`count` experiments on some benchmarks, in some groups."""
    named = {
        f"e{number}": {"name": label.format(number), "group": f"group {number % groups}" if groups else None}
        for number in range(count)
    }
    display = Display.model_validate({"experiments": named})
    scores = {f"benchmark-{number}": numbers(60 + number, tokens=100 + number) for number in range(benchmarks)}
    return [run_with(name, scores, display, training={"metrics": {"gpu_hours": 1.0}}) for name in named], display


def faults(sketch: Sketch) -> list[str]:
    """Labels that lie on each other or beyond the page, and a legend over data."""
    figure = sketch.figure
    figure.draw_without_rendering()
    page = figure.bbox
    found = []
    for panel in figure.axes:
        ticks = [label for label in panel.get_yticklabels() if label.get_visible() and label.get_text()]
        boxes = sorted((label.get_window_extent() for label in ticks), key=lambda box: box.y0)
        found += ["a label beyond the page" for box in boxes if box.x0 < page.x0 - 1]
        found += ["labels overlap" for low, high in pairwise(boxes) if high.y0 < low.y1 - 2]
        title = panel.title.get_window_extent()
        found += [f"title {panel.get_title()} too wide"] if title.width > 1.35 * panel.bbox.width else []
        found += ["a legend over data" for legend in figure.legends if legend.get_window_extent().overlaps(panel.bbox)]
    found += ["a panel without room" for panel in figure.axes if panel.bbox.width < 90 or panel.bbox.height < 20]
    return found


class TestLook:
    @pytest.mark.parametrize("name", stored_cases())
    def test_each_figure_looks_like_its_stored_picture(self, name: str, tmp_path: Path) -> None:
        assert_looks_like(stored_cases()[name](tmp_path), name)

    def test_a_stored_picture_is_told_from_one_with_another_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(cases._CORRECT, "s1-1000", 132)  # two points more
        for name in ("comparison", "scaling", "cost"):
            with pytest.raises(AssertionError, match=f"{name} is drawn otherwise"):
                assert_looks_like(drawn(name, lab()), name)

    def test_other_hinting_and_lighter_letters_make_no_difference(self) -> None:
        with rc_context({"text.hinting": "force_autohint"}):
            sketch = drawn("comparison", lab())
            assert_looks_like(sketch, "comparison")
        before = pixels(sketch)
        for text in sketch.figure.findobj(Text):
            text.set_alpha(0.8)

        assert difference(before, pixels(sketch)) > 10
        assert_looks_like(sketch, "comparison")

    def test_a_groups_look_is_the_same_whichever_experiments_are_shown_in_whichever_order(self) -> None:
        runs = lab()
        every = style.group_looks(DISPLAY, runs)
        assert style.group_looks(DISPLAY, runs[:1:-1]) == {run.experiment: every[run.experiment] for run in runs[:1:-1]}
        named = style.experiment_looks(DISPLAY, runs)
        assert style.experiment_looks(DISPLAY, runs[3:4]) == {"s1-100": named["s1-100"]}
        assert named["s1-100"].color == named["s1-1000"].color
        assert named["s1-100"].marker != named["s1-1000"].marker

    def test_a_colour_of_the_catalog_is_an_experiments_own(self) -> None:
        looks = style.group_looks(DISPLAY, lab())
        assert looks["budgets"].color == "#AA3377"

    def test_the_groups_of_a_large_lab_are_told_apart(self) -> None:
        _, display = many(36, groups=36)
        looks = list(style.looks_of(display).values())
        assert len({(look.color, look.marker) for look in looks}) == 37

    def test_long_labels_lose_their_middle_and_stay_apart(self) -> None:
        long = ["a" * 100 + "-1", "a" * 100 + "-2", "short", "b" * 60 + "x" + "b" * 60, "b" * 60 + "y" + "b" * 60]
        short = short_labels(long)
        assert len(set(short)) == 5
        assert all(len(label) <= LABEL_LENGTH + 4 for label in short)
        assert (short[0][-2:], short[2]) == ("-1", "short")

    def test_the_card_of_a_data_set_is_drawn_with_the_same_colours(self) -> None:
        picture = imread(io.BytesIO(draw_funnel({"total": 40, "after_selection": 12})))
        blue = [int(style.PALETTE[0][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert (abs(picture[..., :3] - blue).max(axis=2) < 0.01).any()


class TestReadable:
    @pytest.mark.parametrize("kind", ["comparison", "scaling", "cost"])
    @pytest.mark.parametrize(
        "lab_of",
        [
            {"count": 1, "benchmarks": 1},
            {"count": 4, "groups": 2, "label": "{} " + "long name " * 12},
            {"count": 70, "groups": 8},
        ],
        ids=["one", "long names", "seventy"],
    )
    def test_nothing_lies_on_anything_else(self, kind: str, lab_of: Mapping[str, Any]) -> None:
        runs, display = many(**lab_of)
        assert faults(drawn(kind, runs, display)) == []

    def test_dozens_of_benchmarks_stand_in_rows(self) -> None:
        runs, display = many(4, groups=2, benchmarks=24, label="{} " + "long name " * 4)
        sketch = drawn("comparison", runs, display)
        assert faults(sketch) == []
        width, height = sketch.figure.get_size_inches()
        assert width < 16
        assert height < 16
        assert len({panel.get_position().y0 for panel in sketch.figure.axes}) == 6

    def test_seventy_paired_differences(self, tmp_path: Path) -> None:
        right = {"base": 10, **{f"e{number}": 10 + number % 10 for number in range(70)}}
        sketch = drawn("differences", answered_lab(tmp_path, right, questions=20), Display(), baseline="base")
        assert faults(sketch) == []


class TestComparison:
    def test_groups_stand_together_in_the_catalogs_order_the_best_first_and_stale_ones_last(self) -> None:
        rows = table_of(drawn("comparison", lab()))
        order = list(dict.fromkeys(row["experiment"] for row in rows))
        assert order == ["base", "random-1000", "random-100", "s1-1000", "s1-100", "budgets"]
        better = {row["experiment"]: row["value"] for row in rows if row["benchmark"] == "mcq"}
        assert better["s1-1000"] > better["s1-100"]

    def test_where_less_is_better_the_least_comes_first(self) -> None:
        runs = [run_with(name, {"mcq": numbers(100, truncated=count)}) for name, count in (("a", 9), ("b", 2))]
        rows = table_of(drawn("comparison", runs, metric="truncated"))
        assert [(row["experiment"], row["value"]) for row in rows] == [("b", 0.01), ("a", 0.045)]

    def test_guessing_is_a_line_where_the_results_say_what_it_brings(self) -> None:
        def lines(sketch: Sketch) -> list[float]:
            return [places(line)[0] for line in sketch.figure.axes[0].lines if line.get_linestyle() == "--"]

        runs = [run_with("a", {"mcq": numbers(100, chance=0.2)})]
        assert lines(drawn("comparison", runs)) == [pytest.approx(20)]
        assert lines(drawn("comparison", [run_with("a", {"mcq": numbers(100, chance=None)})])) == []

    def test_a_panel_says_of_how_many_questions_most_are_and_what_range_the_others_have(self) -> None:
        sizes = {"a": 200, "b": 200, "limited": 20, "of-a-summary": 600}
        runs = [run_with(name, {"mcq": numbers(10, size)}) for name, size in sizes.items()]
        titles = [drawn("comparison", some).figure.axes[0].get_title().split() for some in (runs, runs[:2])]
        assert [" ".join(words) for words in titles] == [
            "Multiple choice (n=200, some 20-600)",
            "Multiple choice (n=200)",
        ]

    @pytest.mark.filterwarnings("error", "ignore:Glyph")
    @pytest.mark.parametrize("name", ["W" * 60, "WWWWWWWWWW " * 6, "\N{CJK UNIFIED IDEOGRAPH-533B}" * 60, "i" * 60])
    def test_a_title_is_no_wider_than_its_panel(self, name: str) -> None:
        display = Display.model_validate({"benchmarks": {"mcq": name}})
        run = run_with("a", {"mcq": numbers(100), "hard": numbers(90)})
        figure = drawn("comparison", [run], display).figure
        figure.draw_without_rendering()
        panel, other = figure.axes
        title = panel.title.get_window_extent()

        assert panel.get_title().endswith("(n=200)")
        assert title.width <= 2.4 * figure.dpi
        assert not title.overlaps(other.title.get_window_extent())

    def test_a_scale_of_values_that_are_close_has_several_numbers(self) -> None:
        panel = drawn("scaling", [run_with("a", {"mcq": numbers(100, tokens=170), "hard": numbers(90, tokens=220)})])
        low, high = panel.figure.axes[0].get_xlim()

        assert sum(low <= tick <= high for tick in panel.figure.axes[0].get_xticks()) >= 3

    def test_a_name_covers_no_dot_where_there_is_room(self) -> None:
        budgets = {"256": numbers(90, tokens=100), "1024": numbers(100, tokens=900)}
        line = run_with("line", {"mcq": numbers(100, tokens=900, budgets=budgets)})
        others = [run_with(f"x{place}", {"mcq": numbers(103, tokens=770 + 4 * place)}) for place in range(13)]
        figure = drawn("scaling", [line, *others]).figure
        figure.draw_without_rendering()
        panel = figure.axes[0]
        (name,) = [text.get_window_extent() for text in panel.texts if text.get_text() == "line"]
        dots = [dot for dot in panel.get_lines() if dot.get_marker() in MARKERS]

        assert not [dot for dot in dots for x, y in panel.transData.transform(dot.get_xydata()) if name.contains(x, y)]

    def test_a_benchmark_or_metric_that_no_result_has_is_told_with_the_nearest(self) -> None:
        with pytest.raises(UsageError, match=r"'mqc'.*did you mean 'mcq'"):
            drawn("comparison", lab(), benchmarks=["mqc"])
        with pytest.raises(UsageError, match=r"'accurracy'.*did you mean 'accuracy'"):
            drawn("comparison", lab(), metric="accurracy")

    def test_who_lacks_what_is_said(self) -> None:
        runs = [*lab(), run_with("new", {})]
        sketch = drawn("comparison", runs, benchmarks=["hard"])
        said = {name: str(error) for name, error in sketch.lacking.items()}
        assert said.keys() == {"new", "s1-100"}
        assert said["s1-100"].startswith("s1-100: has no result on hard;")
        with pytest.raises(MissingError, match=r"nothing to draw.*new: has no eval result"):
            drawn("comparison", [run_with("new", {})])

    def test_an_interval_that_leaves_out_its_value_is_drawn_as_it_is(self) -> None:
        odd = run_with("odd", {"mcq": numbers(100, accuracy_ci=[0.6, 0.7])})
        (row,) = table_of(drawn("comparison", [odd]))
        assert (row["value"], row["low"], row["high"]) == (0.5, 0.6, 0.7)

    def test_what_was_asked_in_another_way_than_most_has_a_mark(self) -> None:
        sketch = drawn("comparison", [asked("a", 90), asked("b", 80), asked("hot", 150, temperature=0.9)])
        sketch.figure.draw_without_rendering()
        names = [label.get_text() for label in sketch.figure.axes[0].get_yticklabels()]
        assert sorted(names) == ["a", "b", "hot †"]
        assert "† asked in another way" in " ".join(sketch.figure.get_supxlabel().split())
        assert [row["experiment"] for row in table_of(sketch) if row["not_ranked"]] == ["hot"]
        alone = drawn("comparison", [asked("a", 90), asked("b", 80)])
        assert "†" not in alone.figure.get_supxlabel()


class TestDifferences:
    def test_the_sign_and_the_size_are_those_of_the_gain_over_the_baseline(self, tmp_path: Path) -> None:
        rows = table_of(
            drawn("differences", answered_lab(tmp_path, {"worse": 30, "base": 40, "better": 60}), baseline="base")
        )
        found = {row["experiment"]: row for row in rows if row["benchmark"] == "mcq"}
        assert {name: row["difference"] for name, row in found.items()} == {
            "better": pytest.approx(0.2),
            "worse": pytest.approx(-0.1),
        }
        assert list(found) == ["better", "worse"]
        assert found["better"]["low"] < 0.2 < found["better"]["high"]

    def test_a_dot_is_filled_where_the_test_holds_after_holm_over_all_of_the_figure(self, tmp_path: Path) -> None:
        one_way = {"base": 40, "a": 46, **{f"e{number}": 40 for number in range(9)}}
        runs = answered_lab(tmp_path, one_way)

        def filled(sketch: Sketch) -> bool:
            panel: Axes = sketch.figure.axes[0]
            (dot,) = [line for line in panel.lines if places(line) == [pytest.approx(6)]]
            return bool(dot.get_markerfacecolor() != "white")

        alone = drawn("differences", runs[:2], baseline="base", benchmarks=["mcq"])
        among_ten = drawn("differences", runs, baseline="base", benchmarks=["mcq"])
        p_values = [row["p_holm"] for row in table_of(alone) if row["experiment"] == "a"]
        assert p_values == [pytest.approx(2 / 2**6)]
        assert filled(alone)
        assert not filled(among_ten)

    def test_a_baseline_that_is_stale_is_starred(self, tmp_path: Path) -> None:
        first, second = answered_lab(tmp_path, {"first": 30, "second": 50})
        assert first.row is not None
        stale = replace(first, row=replace(first.row, status="stale"))
        caption = drawn("differences", [stale, second], baseline="first").figure.get_supxlabel()
        assert "gained over first *" in caption
        assert "* stale" in caption

    def test_who_cannot_be_compared_is_named_with_the_reason(self, tmp_path: Path) -> None:
        runs = answered_lab(tmp_path, {"base": 40, "a": 46, "gone": 50})
        (tmp_path / "gone.jsonl").unlink()
        fewer = answered_lab(tmp_path, {"short": 10}, questions=50)
        other = run_with("summary", {"mcq": numbers(40, 100)})

        sketch = drawn("differences", [*runs, *fewer, other], baseline="base", benchmarks=["mcq"])

        said = {name: str(error) for name, error in sketch.lacking.items()}
        assert "gone.jsonl is not on this machine" in said["gone"]
        assert "short: cannot be compared with base: 100 answers of the one, 50 of the other" in said["short"]
        assert "summary: its eval result names no file of predictions" in said["summary"]

    def test_the_baseline_is_the_first_whole_and_fresh_result_unless_it_is_named(self, tmp_path: Path) -> None:
        runs = answered_lab(tmp_path, {"first": 40, "second": 60})
        assert {row["baseline"] for row in table_of(drawn("differences", runs))} == {"first"}
        more = [*answered_lab(tmp_path, {"gone": 50}), *runs]
        (tmp_path / "gone.jsonl").unlink()
        without = drawn("differences", more)
        assert {row["baseline"] for row in table_of(without)} == {"first"}
        assert "gone.jsonl is not on this machine" in str(without.lacking["gone"])
        with pytest.raises(MissingError, match=r"gone\.jsonl is not on this machine"):
            drawn("differences", more, baseline="gone")
        with pytest.raises(UsageError, match=r"no experiment 'secnd'.*'second'"):
            drawn("differences", runs, baseline="secnd")


class TestScalingAndCost:
    def test_a_line_has_a_point_for_each_budget(self) -> None:
        rows = [row for row in table_of(drawn("scaling", lab())) if row["experiment"] == "budgets"]
        on_mcq = [(row["budget"], row["mean_reasoning_tokens"]) for row in rows if row["benchmark"] == "mcq"]
        assert on_mcq == [(256, 200), (1024, 700), (4096, 1900)]
        assert [row["budget"] for row in rows if row["benchmark"] == "hard"] == [None]

    def test_without_tokens_of_reasoning_there_is_no_place(self) -> None:
        sketch = drawn("scaling", lab())
        assert list(sketch.lacking) == ["base"]
        with pytest.raises(MissingError, match="base: its answers have no tokens of reasoning"):
            drawn("scaling", lab()[:1])

    def test_the_front_has_whom_none_beats_at_equal_or_lower_cost(self) -> None:
        rows = table_of(drawn("cost", lab(), benchmarks=["mcq"]))
        fronts = {
            unit: [row["experiment"] for row in rows if row["on_front"] and row["cost_unit"] == unit]
            for unit in ("gpu_hours", "dollars")
        }
        assert fronts == {"gpu_hours": ["s1-100", "s1-1000", "budgets"], "dollars": ["budgets"]}
        costs = {row["experiment"]: row["cost"] for row in rows if row["cost_unit"] == "dollars"}
        assert (costs["s1-1000"], costs["base"]) == (7.5, 0)

    def test_the_front_is_of_those_that_were_asked_as_most_were(self) -> None:
        runs = [asked("a", 90, hours=1.0), asked("b", 80, hours=2.0), asked("c", 100, hours=3.0)]
        hot = asked("hot", 150, hours=0.5, temperature=0.9)
        sketch = drawn("cost", [hot, *runs])
        rows = {row["experiment"]: row for row in table_of(sketch)}
        assert [name for name, row in rows.items() if row["on_front"]] == ["a", "c"]
        assert "temperature 0 -> 0.9" in rows["hot"]["not_ranked"]
        assert {row["not_ranked"] for name, row in rows.items() if name != "hot"} == {None}
        assert "1 asked in another way than most" in " ".join(sketch.figure.get_supxlabel().split())

    def test_the_front_holds_no_two_that_only_a_silent_result_is_like(self) -> None:
        """Results of another program say nothing of temperatures."""
        silent = [run_with(name, {"mcq": numbers(20)}, training=HOURS) for name in ("old", "older")]
        runs = [*silent, asked("a", 90, hours=2.0), asked("b", 95, hours=3.0), asked("hot", 150, 4.0, temperature=0.9)]
        rows = {row["experiment"]: row for row in table_of(drawn("cost", runs))}
        assert [name for name, row in rows.items() if row["on_front"]] == ["old", "a", "b"]

    def test_a_price_that_is_not_known_is_no_cost_of_zero(self) -> None:
        spent = run_with("s1-100", {"mcq": numbers(90)}, curation={"spending": {"cost": None, "calls": 3}})
        with pytest.raises(MissingError, match="no experiment has recorded GPU hours"):
            drawn("cost", [spent])
        sketch = drawn("cost", [*lab()[2:3], spent])
        said = str(sketch.lacking["s1-100"])
        assert said.startswith("s1-100: its results say neither GPU hours nor dollars")

    def test_what_was_reused_has_cost_what_its_source_has_paid(self) -> None:
        found = {"mcq": numbers(90)}
        paid = run_with("s1-100", found, curation={"spending": {"cost": 0.8}})
        reusing = run_with("s1-1000", found, curation={"reused_from": "s1-100"})
        orphan = run_with("base", found, curation={"reused_from": "gone"})
        sketch = drawn("cost", [paid, reusing, orphan])
        assert {row["experiment"]: row["cost"] for row in table_of(sketch)} == {"s1-100": 0.8, "s1-1000": 0.8}
        assert list(sketch.lacking) == ["base"]

    def test_two_of_one_name_have_their_own_entries_in_the_legend(self) -> None:
        display = Display.model_validate({"experiments": {name: {"name": "same"} for name in ("one", "two")}})
        runs = [run_with(name, {"mcq": numbers(90)}, display) for name in ("one", "two")]
        (legend,) = drawn("scaling", runs, display).figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["same", "same"]


class TestCommand:
    @pytest.fixture(scope="class")
    @classmethod
    def original(cls, tmp_path_factory: pytest.TempPathFactory) -> Lab:
        """A registry of the original project: results are summary files."""
        folder = tmp_path_factory.mktemp("original")
        document = original_document(str(folder / "files"))
        write_files(document)
        write_json(folder / "results.json", document)
        write_json(folder / "config.json", {"display": {}})
        return Lab(folder, lab_environment(folder))

    def test_an_original_registry_is_compared_and_has_no_paired_tests(self, original: Lab, tmp_path: Path) -> None:
        out = tmp_path / "figures"
        body = answer_of(original, "plot", "comparison", "--benchmark", "MedQA_test", "--out", str(out))
        assert len({row["experiment"] for row in body["data"]["numbers"]}) > 50
        with (out / "comparison.csv").open(encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == len(body["data"]["numbers"])

        refused = original.meds1("plot", "differences", "--out", str(out), code=3).stderr
        assert "names no file of predictions" in refused.splitlines()[-1]
        assert not (out / "differences.png").exists()

    def test_the_first_that_is_named_is_the_baseline_and_one_that_lacks_predictions_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lab = make_small_lab(tmp_path / "lab", monkeypatch)
        for run in answered_lab(tmp_path, {"a": 40, "b": 50, "c": 60}):
            add(lab, run.experiment, "base")
            answers = tmp_path / f"{run.experiment}.jsonl"
            save(lab, run.experiment, "eval", "completed", metrics=run.metrics("eval"), predictions_path=str(answers))
        out = tmp_path / "figures"

        def baselines(*arguments: str, code: int = 0) -> Any:
            body = answer_of(lab, "plot", "differences", *arguments, "--out", str(out), code=code)
            return body["data"] and {row["baseline"] for row in body["data"]["numbers"]}

        (tmp_path / "a.jsonl").rename(tmp_path / "kept")
        assert baselines("--experiments", "c", "--experiments", "a", code=3) is None
        assert not out.exists()
        (tmp_path / "kept").rename(tmp_path / "a.jsonl")
        assert baselines("--experiments", "c", "--experiments", "a") == {"c"}
        edit_json(lab.folder / "results.json", lambda body: body["experiments"]["c"].update(tags=["few"]))
        assert baselines("--tag", "few", "--baseline", "b") == {"b"}

    @pytest.mark.filterwarnings("error")
    def test_letters_that_the_font_lacks_are_told_in_one_line(self, tmp_path: Path) -> None:
        latin = write(drawn("comparison", lab()), tmp_path / "latin")
        assert latin[1] == ""
        display = Display.model_validate({"experiments": {"base": {"name": "医学模型"}}})
        runs = [run_with("base", {"mcq": numbers(100)}, display)]
        files, remark = write(drawn("comparison", runs, display), tmp_path / "figure")
        assert all(file.exists() for file in files)
        assert "DejaVu Sans, has no 医学模型, and shows boxes; give other names" in remark

    def test_wrong_words_are_one_line_and_nothing_is_written(self, original: Lab, tmp_path: Path) -> None:
        out = tmp_path / "figures"
        for arguments, said in (
            (["comparisons"], "did you mean 'comparison'"),
            (["cost", "--baseline", "x"], "the figure cost has no --baseline; it takes --benchmark, --metric"),
            (["differences", "--metric", "accuracy"], "the figure differences has no --metric"),
        ):
            done = original.meds1("plot", *arguments, "--out", str(out), code=2)
            assert said in done.stderr
            assert len(done.stderr.splitlines()) == 1
        assert not out.exists()

    def test_without_a_kind_all_are_listed_with_what_they_show(self, original: Lab) -> None:
        listed = original.meds1("plot").stdout
        assert all(kind in listed and about.shows[:30] in listed for kind, about in KINDS.items())
