"""The figures of families, curations and trainings: who is in them, which numbers, what is said of the others."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plotting.figures.kinds import Sketch
from plotting.runs import Run, runs_of
from registry.catalog import Display
from registry.console import Answer
from registry.errors import MissingError
from registry.store import experiments_of
from tests import figure_family_cases as cases
from tests.figure_cases import drawn, run_with
from tests.figure_family_cases import GROUPS, RANDOM, config_of, run_of
from tests.lab import Lab, lab_environment
from tests.original_registry import original_document, write_files
from tests.small_lab import answer_of, write_json

FAMILIES = ("sample-efficiency", "perturbation", "reasoning-style")
ALL = (*FAMILIES, "funnel", "specialties", "lengths", "training")


def table_of(sketch: Sketch) -> list[dict[str, Any]]:
    return [dict(zip(sketch.header, row, strict=True)) for row in sketch.rows]


def on_mcq(sketch: Sketch) -> list[dict[str, Any]]:
    return [row for row in table_of(sketch) if row["benchmark"] == "mcq"]


def legend_of(sketch: Sketch) -> list[str]:
    return [text.get_text() for legend in sketch.figure.legends for text in legend.get_texts()]


def told(kind: str, runs: list[Run]) -> Mapping[str, str]:
    return {name: str(error) for name, error in drawn(kind, runs, GROUPS).lacking.items()}


class TestSampleEfficiency:
    def test_a_line_per_recipe_over_the_rows_that_were_used(self) -> None:
        sketch = drawn("sample-efficiency", list(cases.sizes()), GROUPS)
        rows = on_mcq(sketch)

        assert [(row["line"], row["rows"]) for row in rows if row["line"] == "random"] == [
            *(("random", count) for count in (95, 950, 4750, 19000)),
        ]
        assert {row["rows_from"] for row in rows if row["rows"]} == {"training"}
        assert legend_of(sketch) == ["random", "s1", "model A (not trained)"]
        assert [row["experiment"] for row in rows if row["line"] == "not trained"] == ["base"]

    def test_a_base_that_is_stale_is_said_to_be_stale(self) -> None:
        stale = run_of("base", config_of(None), 0.35, status="stale")
        sketch = drawn("sample-efficiency", [stale, *list(cases.sizes())[1:]], GROUPS)
        assert legend_of(sketch)[-1] == "model A (not trained, stale)"

    def test_all_rows_are_the_end_of_each_recipe_with_the_same_filters(self) -> None:
        rows = on_mcq(drawn("sample-efficiency", list(cases.sizes()), GROUPS))
        assert [row["line"] for row in rows if row["experiment"] == "everything"] == ["random", "s1"]

        unfiltered = run_of("unfiltered", config_of({"method": "all"}), training={"metrics": {"rows": 20000}})
        assert "differs from it in nothing but" in told("sample-efficiency", [*cases.sizes(), unfiltered])["unfiltered"]

    def test_without_counts_the_rows_are_as_configured_and_the_figure_says_so(self) -> None:
        runs = [run_of(f"n{size}", config_of({**RANDOM, "n_samples": size})) for size in (10, 20)]
        sketch = drawn("sample-efficiency", runs, GROUPS)

        assert {(row["rows"], row["rows_from"]) for row in table_of(sketch)} == {(10, "config"), (20, "config")}
        assert "as configured" in sketch.figure.get_supxlabel()

    def test_who_does_not_say_how_many_rows_there_were_is_named(self) -> None:
        recipe = {"quality": {}, "method": "all"}
        silent = run_of("silent", config_of(recipe))

        lacking = told("sample-efficiency", [*cases.sizes(), silent])

        assert lacking == {"silent": "silent: no result of it says how many rows it was trained on"}

    def test_two_experiments_of_one_size_are_no_line(self) -> None:
        runs = [run_of(name, config_of(RANDOM)) for name in ("one", "two")]
        with pytest.raises(MissingError, match=r"differ in nothing but curation\.n_samples"):
            drawn("sample-efficiency", runs, GROUPS)


@pytest.mark.parametrize("kind", ["sample-efficiency", "perturbation", "reasoning-style"])
def test_benchmarks_share_their_scale_and_have_a_line_of_guessing(kind: str) -> None:
    runs = {"sample-efficiency": cases.sizes, "perturbation": cases.perturbed, "reasoning-style": cases.styles}[kind]()
    sketch = drawn(kind, list(runs), GROUPS)
    first, second = sketch.figure.axes
    along_x = kind == "reasoning-style"
    limits = [panel.get_xlim() if along_x else panel.get_ylim() for panel in (first, second)]
    values = [np.asarray(line.get_xdata() if along_x else line.get_ydata()) for line in first.lines]

    assert limits[0] == limits[1]
    assert any(len(at) == 2 and (at == 25).all() for at in values)
    assert "guessing" in sketch.figure.get_supxlabel()


class TestPerturbation:
    def test_each_line_starts_at_the_unperturbed_member(self) -> None:
        sketch = drawn("perturbation", list(cases.perturbed()), GROUPS)
        rows = [(row["line"], row["rate"]) for row in on_mcq(sketch)]

        assert rows == [
            ("not perturbed", 0.0),
            *(("skip", rate) for rate in (0.33, 1.0)),
            *(("skip, restored", rate) for rate in (0.33, 1.0)),
            *(("answer", rate) for rate in (0.33, 1.0)),
            ("not trained", 0.0),
        ]
        realised = {(row["line"], row["rate"]): row["realised_rate"] for row in on_mcq(sketch)}
        assert (realised["skip", 0.33], realised["skip, restored", 1.0]) == (pytest.approx(0.31), pytest.approx(0.98))
        assert realised["answer", 1.0] is realised["not trained", 0.0] is None
        drawn_at = [list(np.asarray(line.get_xdata())) for line in sketch.figure.axes[0].lines]
        assert sum(len(at) == 3 and at[0] == 0 for at in drawn_at) == 3
        assert legend_of(sketch) == ["not perturbed", "skip", "answer", "restored", "model A (not trained)"]

    def test_without_the_unperturbed_one_lines_start_at_the_lowest_rate(self) -> None:
        runs = [run for run in cases.perturbed() if run.experiment != "step"]
        assert {row["rate"] for row in on_mcq(drawn("perturbation", runs, GROUPS)) if row["line"] != "not trained"} == {
            0.33,
            1.0,
        }

    def test_nothing_perturbed_is_an_error_that_says_what_it_needs(self) -> None:
        with pytest.raises(MissingError, match=r"needs a scored experiment with curation\.perturbation"):
            drawn("perturbation", list(cases.sizes()), GROUPS)


class TestReasoningStyle:
    def test_the_full_reasoning_is_first_then_the_best(self) -> None:
        sketch = drawn("reasoning-style", list(cases.styles()), GROUPS)
        labels = [label.get_text() for label in sketch.figure.axes[0].get_yticklabels()]

        assert labels == ["full reasoning", "step", "cot + step", "list", "no reasoning (none)"]
        assert {row["family"] for row in on_mcq(sketch)} == {"model-a", "model-b", ""}
        assert {row["style"] for row in on_mcq(sketch) if row["family"] == "model-b"} == {"full reasoning", "step"}

    def test_one_family_without_a_base_model_needs_no_legend(self) -> None:
        runs = [run_of("full", config_of(RANDOM)), run_of("step", config_of({**RANDOM, "extract": "step"}))]
        sketch = drawn("reasoning-style", runs, GROUPS)

        assert len(on_mcq(sketch)) == 2
        assert sketch.figure.legends == []

    def test_what_is_no_other_style_of_the_same_recipe_is_named(self) -> None:
        other = run_of("other", config_of({**RANDOM, "seed": 3}))
        lacking = told("reasoning-style", [*cases.styles(), other])

        assert list(lacking) == ["other"]
        assert "nothing but curation.extract" in lacking["other"]


class TestCurations:
    def test_a_funnel_has_what_each_filter_left_and_why(self) -> None:
        rows = table_of(drawn("funnel", cases.curated()[1:2], GROUPS))

        assert [(row["filter"], row["rows"]) for row in rows] == [
            ("all rows", 9000),
            ("quality", 8800),
            ("difficulty", 5090),
            ("selection", 150),
        ]
        assert rows[1]["removed"] == "missing question: 150; missing_reasoning: 50"

    @pytest.mark.parametrize("kind", ["funnel", "specialties", "lengths"])
    def test_a_groups_experiments_stand_together_in_the_catalogs_order(self, kind: str) -> None:
        groups = {"curated-0": "second", "curated-1": "first", "curated-2": "second"}
        display = Display.model_validate(
            {"experiments": {name: {"group": groups[name]} for name in ("curated-1", "curated-0", "curated-2")}}
        )
        runs = [replace(run, group=groups[run.experiment]) for run in cases.curated(3)]
        order = dict.fromkeys(row["experiment"] for row in table_of(drawn(kind, runs, display)))
        assert list(order) == ["curated-1", "curated-0", "curated-2"]

    def test_rare_specialties_are_put_together(self) -> None:
        rows = table_of(drawn("specialties", cases.curated(6, specialties=30), GROUPS))
        of_first = [row for row in rows if row["experiment"] == "curated-0"]

        assert [row["specialty"] for row in of_first][-2:] == ["Specialty 19", "others"]
        assert sum(row["share"] for row in of_first) == pytest.approx(1)

    def test_who_has_no_curation_or_no_such_numbers_is_named(self) -> None:
        bare = {"funnel": {"total": 5, "after_selection": 3}, "specialties": {}, "reasoning_tokens": None}
        runs = [
            *cases.curated(2),
            run_of("bare", config_of(RANDOM), curation={"metrics": bare}),
            run_of("waiting", config_of(RANDOM)),
            cases.base(),
        ]

        assert told("funnel", runs) == {
            "waiting": "waiting: has no curation result; run `meds1 run waiting`",
            "base": "base: has no curation",
        }
        assert "name no specialty" in told("specialties", runs)["bare"]
        assert "no lengths of reasoning" in told("lengths", runs)["bare"]

    def test_counts_that_are_null_are_left_out(self) -> None:
        metrics = {
            "funnel": {"total": 5, "after_quality": None, "after_selection": 3},
            "reasons": {"quality": None, "selection": {"rest": None}},
            "specialties": {"Cardiology": 3, "Surgery": None},
            "reasoning_tokens": {"min": None},
        }
        runs = [run_of("holes", config_of(RANDOM), curation={"metrics": metrics})]

        assert [row["rows"] for row in table_of(drawn("funnel", runs))] == [5, 3]
        assert [row["specialty"] for row in table_of(drawn("specialties", runs))] == ["Cardiology"]

    def test_two_of_one_name_have_their_own_look(self) -> None:
        twins = [replace(run, label="same") for run in cases.curated(2)]

        assert legend_of(drawn("specialties", twins)) == ["same", "same"]

    def test_a_stale_curation_is_starred(self) -> None:
        stale = run_of("stale", config_of(RANDOM), curation=cases.curated(1)[0].results["curation"], status="stale")
        sketch = drawn("lengths", [*cases.curated(1), stale], GROUPS)

        assert [label.get_text() for label in sketch.figure.axes[0].get_yticklabels()] == ["curated-0", "stale *"]
        assert "* the curation is stale" in sketch.figure.get_supxlabel().replace("\n", " ")


class TestTraining:
    def test_losses_are_of_the_log_and_rewards_have_a_panel_of_their_own(self, tmp_path: Path) -> None:
        sketch = drawn("training", [*cases.trained(tmp_path), cases.rewarded(tmp_path)], GROUPS)

        assert [panel.get_title() for panel in sketch.figure.axes] == [
            "training loss",
            "validation loss",
            "training reward",
        ]
        rewards = [row for row in table_of(sketch) if row["quantity"] == "reward"]
        assert [row["step"] for row in rewards] == list(range(1, 31))
        assert rewards[-1]["value"] == pytest.approx(1 - 0.9**30)

    def test_a_long_log_is_drawn_as_means_that_keep_its_mean(self, tmp_path: Path) -> None:
        (run,) = cases.trained(tmp_path, 1, steps=400)
        sketch = drawn("training", [run], GROUPS)
        rows = [row for row in table_of(sketch) if row["of"] == "training"]
        history = [entry["loss"] for entry in cases._history(400, 1.5) if "loss" in entry]

        assert (len(rows), rows[-1]["step"]) == (100, 400)
        assert sum(row["value"] for row in rows) / 100 == pytest.approx(sum(history) / 400)
        assert "at most 100 points per line" in sketch.figure.get_supxlabel()

    def test_without_the_log_validations_of_the_result_are_drawn_and_the_title_says_so(self, tmp_path: Path) -> None:
        runs = cases.trained(tmp_path, 2)
        (tmp_path / "trained-1.parquet").unlink()
        sketch = drawn("training", runs, GROUPS)

        assert sketch.figure.axes[0].get_title() == "training loss (without 1 whose log is not here)"
        assert {row["of"] for row in table_of(sketch) if row["experiment"] == "trained-1"} == {"validation"}
        assert not sketch.lacking

    def test_rewards_without_the_log_and_a_broken_log_are_named(self, tmp_path: Path) -> None:
        grpo = cases.rewarded(tmp_path)
        (tmp_path / "grpo.parquet").unlink()
        runs = cases.trained(tmp_path, 2)
        (tmp_path / "trained-1.parquet").write_text("torn")

        lacking = told("training", [*runs, grpo, cases.base()])

        assert "grpo.parquet is not on this machine" in lacking["grpo"]
        assert "trained-1.parquet is no log of a training" in lacking["trained-1"]
        assert lacking["base"] == "base: has no training"

    def test_of_many_the_extremes_and_the_baseline_are_named(self, tmp_path: Path) -> None:
        sketch = drawn("training", cases.trained(tmp_path, 12), GROUPS, baseline="trained-4")

        names = {text.get_text() for text in sketch.figure.axes[0].texts}
        assert names == {"trained-0", "trained-4", "trained-11"}


@pytest.mark.parametrize("kind", ALL)
def test_without_anything_to_draw_each_figure_is_an_error(kind: str) -> None:
    with pytest.raises(MissingError, match="nothing to draw"):
        drawn(kind, [run_with("empty", {})], GROUPS)


@pytest.mark.parametrize(
    "kind", ["funnel", "specialties", *(pytest.param(kind, marks=pytest.mark.full) for kind in ("lengths", "training"))]
)
def test_seventy_experiments_fit_a_page(kind: str, tmp_path: Path) -> None:
    runs = cases.trained(tmp_path, 70) if kind == "training" else cases.curated(70, specialties=40)
    figure = drawn(kind, runs, GROUPS).figure
    figure.draw_without_rendering()

    assert figure.get_figheight() < 20
    for panel in figure.axes:
        boxes = sorted((label.get_window_extent() for label in panel.get_yticklabels()), key=lambda box: box.y0)
        assert all(high.y0 > low.y1 - 2 for low, high in pairwise(boxes))


class TestCommand:
    @pytest.fixture
    def original(self, tmp_path: Path) -> Lab:
        """The original project's registry, whose results are files of counts and scores, with its catalog."""
        document = original_document(str(tmp_path / "cluster"))
        known = document["experiments"]
        known["medqa-1k-random"]["results"]["eval"] = known["base"]["results"]["eval"]
        write_files(document)
        write_json(tmp_path / "results.json", document)
        models = ("llama3.1:8b", "huatuo:8b", "qwen2.5:7b", "qwen:8b", "nemotron:8b", "gemini")
        catalog = {
            "models": {name: {"hf_path": "org/model", "max_length": 8192} for name in models},
            "train_datasets": {name: {"hf_path": "org/data"} for name in ("huatuo-sft", "nejmcr")},
            "eval_datasets": {name: {"hf_path": "org/eval"} for name in ("huatuo-eval", "gpqa")},
            "defaults": {"curation": {"rewriter": {"model_key": "gemini", "engine": "vllm"}}},
        }
        write_json(tmp_path / "config.json", catalog)
        return Lab(tmp_path, lab_environment(tmp_path))

    def test_figures_are_drawn_from_summary_and_stats_files(self, original: Lab) -> None:
        body = answer_of(original, "plot", "sample-efficiency", "--out", str(original.folder / "out"))
        assert len(body["warnings"]) < 20  # of 75 experiments
        view = original.registry.read()
        runs = runs_of(original.registry, view, experiments_of(view), Answer(), None)
        for kind in (*FAMILIES, "funnel", "specialties"):
            assert drawn(kind, runs, original.registry.catalog.display).rows, kind

        with (original.folder / "out" / "sample-efficiency.csv").open(encoding="utf-8") as file:
            line = {
                (row["experiment"], row["rows"], row["rows_from"]) for row in csv.DictReader(file) if row["rows_from"]
            }
        assert line == {("medqa-100-random", "100", "curation"), ("medqa-1k-random", "1000", "curation")}

    def test_who_was_named_and_is_not_of_the_figure_is_an_error(self, original: Lab) -> None:
        names = ("medqa-1k-random-skip-33", "nejmcr-1k-random-0")
        chosen = [part for name in names for part in ("--experiments", name)]
        body = answer_of(original, "plot", "perturbation", *chosen, code=3)

        assert "nejmcr-1k-random-0: neither perturbed" in json.dumps(body["error"])
