"""Comparing experiments whose predictions lie in files: what is tested, what is ranked, what differs, what is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plotting.comparability import why_not_ranked
from plotting.compare import Ask, Comparison, compare
from plotting.compare_table import as_json, lines
from plotting.compare_verbs import _RESAMPLES, named_runs
from plotting.config_differences import config_differences
from plotting.runs import Run, run_of
from plotting.significance import method_of, single_test
from registry.catalog import Display
from registry.console import Answer, Grid
from registry.errors import Meds1Error, MissingError, UsageError
from registry.options import Files
from registry.paths import RegistryPaths
from registry.store import Registry
from scoring.bootstrap import RESAMPLES
from tests.lab import Lab
from tests.original_registry import original_document, write_files
from tests.predicted import Table, finish
from tests.small_lab import add, answer_of, edit_json, make_small_lab, scores, write_json

N = 200
TWO = {"eval": ["held-out", "second-set"]}
HOT = {"temperature": 0.7, "repetitions": {"held-out": 3}}


def table(right: range, repetitions: int = 1) -> Table:
    """200 items, of which those in the range are right, each time they are asked."""
    return [[number in right] * repetitions for number in range(N)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Base models that differ in one thing each; `better` mends 20 answers of `first`, and breaks none."""
    with pytest.MonkeyPatch.context() as patch:
        lab = make_small_lab(tmp_path_factory.mktemp("compare"), patch)
        configs: dict[str, dict[str, Any]] = {
            "first": {"datasets": TWO},
            "better": {"datasets": TWO},
            "equal": {},
            "step": {"prompting": "step"},
            "limited": {"eval": {"limit": 20}},
            "long": {"eval": {"max_tokens": 4096}},
            "transformers": {"eval": {"engine": "transformers"}},
            "edited": {},
            "copied": {},
            "hot": {"eval": HOT},
            "hotter": {"eval": HOT},
            "elsewhere": {"datasets": {"eval": "second-set"}},
            "other-prompts": {},
            "miscounted": {"datasets": TWO},
        }
        for name, config in configs.items():
            add(lab, name, "base", **{"datasets": {"eval": "held-out"}, **config})
        small: Table = [[True], [False], [True], [False]]
        finish(lab, "first", {"held-out": table(range(100)), "second-set": small})
        finish(lab, "better", {"held-out": table(range(120)), "second-set": small})
        for name in ("equal", "step", "long", "transformers", "edited", "copied"):
            finish(lab, name, {"held-out": table(range(100))})
        wrong = scores(held_out=(90, N), second_set=(2, 4))
        finish(lab, "miscounted", {"held-out": table(range(100)), "second-set": small}, metrics=wrong)
        finish(lab, "limited", {"held-out": table(range(100))[:20]})
        finish(lab, "hot", {"held-out": table(range(100), 3)})
        finish(lab, "hotter", {"held-out": table(range(106), 3)})
        finish(lab, "elsewhere", {"second-set": small})
        finish(lab, "other-prompts", {"held-out": table(range(100))})
        _change_prompts(lab, "other-prompts")
        lab.edit("edited", prompting="strict")
        _add_originals(lab)
        yield lab


def _change_prompts(lab: Lab, name: str) -> None:
    path = Path(lab.results(name)["eval"]["predictions_path"])
    path.write_text(path.read_text().replace('"content": "Question', '"content": "Think. Question'))


def _add_originals(lab: Lab) -> None:
    """Two results as the original project leaves them: numbers, and no word of what was asked."""

    def change(document: dict[str, Any]) -> None:
        for name, right in (("original-a", 90), ("original-b", 110)):
            summary = {"summary": scores(held_out=(right, N))["benchmarks"]}
            config = {"model_key": "tiny", "datasets": {"eval": "held-out"}}
            results = {"eval": {"metrics": summary, "outputs_path": "/nowhere/outputs.json"}}
            document["experiments"][name] = {"config": config, "results": results}

    edit_json(lab.folder / "results.json", change)


def runs(lab: Lab, *names: str) -> list[Run]:
    view = lab.registry.read()
    return [run_of(lab.registry, view, name) for name in names]


def compared(lab: Lab, *names: str, **ask: Any) -> Comparison:
    return compare(runs(lab, *names), Ask(**ask))


def best(found: Comparison) -> dict[tuple[str, str], str | None]:
    return {(row.benchmark, row.metric.name): row.best for row in found.rows}


def on_data(run: Run, datasets: dict[str, Any]) -> Run:
    """The run as it would be if its questions had come from these data sets."""
    entry = run.results["eval"]
    return replace(run, results={"eval": {**entry, "inputs": {**entry["inputs"], "datasets": datasets}}})


def asked_with(run: Run, **settings: Any) -> Run:
    """The run as it would be if these had been its settings."""
    entry = run.results["eval"]
    inputs = {**entry["inputs"], "eval": {**entry["inputs"]["eval"], **settings}}
    return replace(run, results={"eval": {**entry, "inputs": inputs}})


def rewarded(run: Run, reward: float) -> Run:
    """The run as it would be if its answers to `held-out` were free text, with this mean reward, and repeated."""
    score = run.scored.scores["held-out"]
    text = {"accuracy_reward": {"mean": reward, "ci": [0.0, 1.0], "n": N}}
    passed = {str(k): {"mean": score.accuracy, "ci": [0.0, 1.0]} for k in (1, 2)}
    numbers = {**score.numbers, "text": text, "pass_at_k": passed}
    row = replace(run.scored, scores={**run.scored.scores, "held-out": replace(score, numbers=numbers)})
    return replace(run, row=row)


def graded(run: Run, mean: float, judge: str) -> Run:
    """The run as it would be if a judge had graded its answers to `held-out`."""
    entry = run.results["eval"]
    settings = {"rubrics": ["quality"], "max_tokens": 100, "temperature": 0.0}
    inputs = {**entry["inputs"], "judge_model": {"api_model": judge}}
    inputs["eval"] = {**inputs["eval"], "judge": settings}
    score = run.scored.scores["held-out"]
    numbers = {**score.numbers, "judge": {"quality": {"mean": mean, "n": N}}}
    row = replace(run.scored, scores={**run.scored.scores, "held-out": replace(score, numbers=numbers)})
    return replace(run, results={**run.results, "eval": {**entry, "inputs": inputs}}, row=row)


class TestTests:
    def test_twenty_flips_one_way_are_found_in_the_files_of_two_runs(self, lab: Lab) -> None:
        body = as_json(compared(lab, "first", "better"), Display())
        tests = {test["benchmark"]: test for test in body["tests"]}
        test = tests["held-out"]

        assert test["p_value"] == pytest.approx(2 * 0.5**20)
        assert test["p_holm"] == pytest.approx(4 * 0.5**20)
        assert (test["family"], test["n"], test["method"]) == (2, N, "mcnemar")
        assert test["flips"] == {"both_right": 100, "both_wrong": 80, "right_to_wrong": 0, "wrong_to_right": 20}
        assert [flip["question_id"] for flip in test["flipped"]] == [f"held-out-question-{n}" for n in range(100, 120)]
        assert {(flip["before"], flip["after"], flip["gold"]) for flip in test["flipped"]} == {("B", "A", "A")}
        assert tests["second-set"]["p_holm"] == 1.0
        assert tests["second-set"]["flipped"] == []

    def test_for_people_it_shows_differences_scores_tests_flips_and_sentences(self, lab: Lab) -> None:
        text = lab.meds1("compare", "better", "first", "equal", "--benchmark", "held-out").stdout

        assert 'datasets.eval   ["held-out", "second-set"]   ["held-out", "second-set"]   ["held-out"]' in text
        assert "held-out    accuracy                   * 60.0 [53.1, 66.5]   50.0 [43.1, 56.9]" in text
        assert "first on held-out: 20 from right to wrong: held-out-question-100 (A > B), held-out-" in text
        assert "held-out-question-109 (A > B) and 10 more\n" in text
        assert "first answers 10.0 points less of held-out right than better (95 % interval -14" in text
        assert "p < 0.001 after Holm over 2 tests): more than chance explains." in text

    def test_repeated_answers_are_tested_over_questions(self, lab: Lab) -> None:
        ((found,), (row, *_)) = (compared(lab, "hot", "hotter").tested, compared(lab, "hot", "hotter").rows)

        assert (found.test.n, found.test.n_questions, found.test.method) == (3 * N, N, "permutation")
        assert found.test.p_value == pytest.approx(2 * 0.5**6)
        assert (found.test.better, found.test.flips.wrong_to_right) == (6, 18)
        assert row.measures["hotter"].value == pytest.approx(found.test.accuracy_b)

    def test_the_seed_decides_the_interval_and_the_default_is_scorings(self, lab: Lab) -> None:
        once, again, other = (
            compared(lab, "first", "better", seed=seed, resamples=101).tested[0].test for seed in (1, 1, 2)
        )

        assert once.ci == again.ci != other.ci
        assert _RESAMPLES == RESAMPLES

    def test_a_copy_of_the_runs_is_found_below_the_cache_folder(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(Path(lab.environment["CACHE_DIR"]) / "runs", tmp_path / "runs")
        recorded = Path(lab.results("copied")["eval"]["predictions_path"])
        hidden = recorded.rename(recorded.with_suffix(".hidden"))
        missing = compared(lab, "first", "copied")
        monkeypatch.setenv("CACHE_DIR", str(tmp_path))
        monkeypatch.delenv("MED_S1K_OUTPUT")
        found = compared(lab, "first", "copied")
        hidden.rename(recorded)

        assert [test.experiment for test in found.tested] == ["copied"]
        assert [f"{recorded} is not on this machine; copy it there" in one.reason for one in missing.untested] == [True]
        assert [row.metric.name for row in missing.rows][:1] == ["accuracy"]

    def test_a_file_that_is_not_the_one_its_result_counts_is_not_tested(self, lab: Lab) -> None:
        found = compared(lab, "first", "miscounted")

        assert [one.test.benchmark for one in found.tested] == ["second-set"]
        assert "has 100 of 200 answers to held-out right, and its result 90 of 200; copy the file" in (
            found.untested[0].reason
        )


class TestRanking:
    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("step", 'asked or scored in another way: prompting "plain" -> "step"'),
            ("limited", "asked or scored in another way: limit null -> 20"),
            ("long", "asked or scored in another way: max_tokens 2048 -> 4096"),
            ("hot", "asked or scored in another way: repetitions 1 -> 3; temperature 0.0 -> 0.7"),
            ("elsewhere", "elsewhere has no result of it"),
            ("equal", None),
            ("transformers", None),
        ],
    )
    def test_only_runs_that_were_asked_in_the_same_way_are_ranked(
        self, lab: Lab, name: str, reason: str | None
    ) -> None:
        first, other = runs(lab, "first", name)

        assert why_not_ranked(first, other, "held-out") == reason

    def test_top_p_counts_only_where_answers_are_drawn(self, lab: Lab) -> None:
        first, equal, hot, hotter = runs(lab, "first", "equal", "hot", "hotter")
        reason = "asked or scored in another way: "

        assert why_not_ranked(first, asked_with(equal, top_p=0.9), "held-out") is None
        assert why_not_ranked(hot, asked_with(hotter, top_p=0.9), "held-out") == f"{reason}top_p 1.0 -> 0.9"
        warm = asked_with(equal, temperature=0.7, top_p=1.0)
        assert why_not_ranked(asked_with(first, top_p=0.9), warm, "held-out") == f"{reason}temperature 0.0 -> 0.7"

    def test_a_seed_that_draws_other_examples_asks_in_another_way(self, lab: Lab) -> None:
        shots = {"few_shot": {"dataset": "train", "n": 2}}
        first, equal = (asked_with(run, **shots) for run in runs(lab, "first", "equal"))
        reseeded = asked_with(equal, seed=1)

        assert why_not_ranked(first, equal, "held-out") is None
        reason = why_not_ranked(first, reseeded, "held-out")
        assert reason == "asked or scored in another way: few_shot_seed 0 -> 1"
        one, other = (asked_with(run, few_shot=None) for run in (first, reseeded))
        assert why_not_ranked(one, other, "held-out") is None

    def test_accuracy_is_not_shown_once_more_under_other_names(self, lab: Lab) -> None:
        first, better = runs(lab, "first", "better")

        def shown(reward: float) -> list[str]:
            found = compare([rewarded(first, 0.5), rewarded(better, reward)], Ask(("held-out",)))
            assert {"text.accuracy_reward", "pass@1"} <= {row["metric"] for row in as_json(found, Display())["metrics"]}
            return [line[1] for part in lines(found, Display()) if isinstance(part, Grid) for line in part.rows]

        assert [name[:6] for name in shown(0.6) if "reward" in name or "pass" in name] == ["pass@2"]
        assert "accuracy reward" in shown(0.61)

    def test_what_was_run_counts_and_not_what_the_config_has_become(self, lab: Lab) -> None:
        found = compared(lab, "first", "edited")

        assert len(found.tested) == 1
        assert 'edited: stale: prompting "plain" -> "strict"' in found.remarks

    def test_a_file_of_several_benchmarks_may_have_another_key(self, lab: Lab) -> None:
        first, equal = runs(lab, "first", "equal")
        one, other = ({"content": letter * 64} for letter in "ab")

        assert why_not_ranked(on_data(first, {"exams": one}), on_data(equal, {"all": one}), "held-out") is None
        reason = why_not_ranked(on_data(first, {"exams": one}), on_data(equal, {"all": other}), "held-out")
        assert reason == 'asked or scored in another way: data set "exams" -> "all"'

    def test_results_that_are_only_scored_anew_say_how_to_bring_them_together(self, lab: Lab) -> None:
        first, equal = runs(lab, "first", "equal")
        entry = equal.results["eval"]
        older = replace(equal, results={"eval": {**entry, "inputs": {**entry["inputs"], "version": 0}}})

        assert (why_not_ranked(first, older, "held-out") or "").endswith("with `meds1 run NAME --rescore`")

    def test_that_two_have_one_result_is_a_remark(self, lab: Lab) -> None:
        first, better, equal = runs(lab, "first", "better", "equal")
        shared = replace(equal, results=first.results, row=replace(first.scored, experiment="equal"))
        remark = "first and equal have one eval result between them: nothing in it can differ"

        assert remark in compare([first, better, shared], Ask()).remarks
        assert not any("between them" in line for line in compared(lab, "first", "better", "equal").remarks)

    def test_another_engine_is_a_remark(self, lab: Lab) -> None:
        remark = 'from first to transformers: engine "vllm" -> "transformers"'
        assert compared(lab, "first", "transformers").remarks[-1] == remark

    def test_no_best_is_marked_among_runs_that_are_not_ranked(self, lab: Lab) -> None:
        ranked, mixed = compared(lab, "first", "better"), compared(lab, "first", "better", "step")

        assert best(ranked)["held-out", "accuracy"] == "better"
        assert best(ranked)["second-set", "accuracy"] is None  # a tie
        assert best(ranked)["held-out", "mean_completion_tokens"] is None  # neither way is better
        assert best(mixed)["held-out", "accuracy"] is None
        assert [one.ranked for one in mixed.untested if one.benchmark == "held-out"] == [False]
        text = "\n".join(map(str, lines(compared(lab, "first", "step"), Display())))
        assert 'first and step are not ranked on held-out: asked or scored in another way: prompting "plain"' in text

    def test_runs_that_are_both_like_one_that_says_nothing_need_not_be_like_each_other(self, lab: Lab) -> None:
        found = compared(lab, "original-a", "better", "long")

        assert best(found)["held-out", "accuracy"] is None
        assert found.remarks[0] == (
            "better and long are not ranked on held-out: asked or scored in another way: max_tokens 2048 -> 4096."
        )
        assert best(compared(lab, "original-a", "better"))["held-out", "accuracy"] == "better"

    def test_grades_of_different_judges_have_no_best(self, lab: Lab) -> None:
        first, better = runs(lab, "first", "better")
        one = compare([graded(first, 3.0, "judge-1"), graded(better, 4.0, "judge-1")], Ask())
        two = compare([graded(first, 3.0, "judge-1"), graded(better, 4.0, "judge-2")], Ask())

        assert [best(found)["held-out", "judge.quality"] for found in (one, two)] == ["better", None]
        assert best(two)["held-out", "accuracy"] == "better"
        assert 'from first to better: judge.model.api_model "judge-1" -> "judge-2"' in two.remarks

    def test_other_prompts_in_the_files_are_not_ranked_either(self, lab: Lab) -> None:
        found = compared(lab, "first", "other-prompts", "better", benchmarks=("held-out",))
        (untested,) = found.untested

        assert (untested.experiment, untested.ranked) == ("other-prompts", False)
        assert "differ in the prompt_digest of 200 items" in untested.reason
        assert best(found)["held-out", "accuracy"] is None

    def test_original_results_stand_side_by_side_and_are_not_tested(self, lab: Lab) -> None:
        found = compared(lab, "original-a", "original-b")

        assert best(found)["held-out", "accuracy"] == "original-b"
        assert [one.ranked for one in found.untested] == [True]
        assert "names no file of predictions (another program recorded it)" in found.untested[0].reason
        assert "the result of original-a does not say with which prompts and settings it was made" in found.remarks
        assert found.tested == []


class TestConfigs:
    def test_only_what_differs_is_told_by_the_names_of_the_registry(self, lab: Lab) -> None:
        add(lab, "tuned-long", "tuned", training_params={"learning_rate": 1e-3, "num_epochs": 3})
        found = {one.path: one.values for one in config_differences(runs(lab, "tuned", "tuned-long", "base"))}

        assert list(found) == ["curation", "training_params", "training_params.num_epochs"]
        assert found["training_params.num_epochs"] == {"tuned": 1.0, "tuned-long": 3.0, "base": None}
        assert found["curation"]["base"] is None
        assert config_differences(runs(lab, "base", "base")) == []

    def test_configs_that_this_catalog_cannot_resolve_are_compared_as_they_are_written(self, tmp_path: Path) -> None:
        document = original_document(str(tmp_path))
        write_files(document)
        write_json(tmp_path / "results.json", document)
        write_json(tmp_path / "config.json", {})
        registry = Registry(RegistryPaths(tmp_path / "results.json"), tmp_path / "config.json")
        view = registry.read()
        found = compare([run_of(registry, view, name) for name in ("base", "huatuo", "base-step-prompt")], Ask())

        assert [one.path for one in found.differences] == ["model_key", "datasets.curate", "prompting"]
        assert [one.reason for one in found.untested if not one.ranked] == [
            'asked or scored in another way: prompting "plain" -> "step"'
        ] * 2
        assert all(row.best is None for row in found.rows)


class TestErrors:
    @pytest.mark.parametrize(
        ("names", "kind", "message"),
        [
            ("first", UsageError, "first: nothing to compare it with; name two experiments or more"),
            ("first first", UsageError, "'first' is named twice"),
            ("first frist", UsageError, "no experiment 'frist' in the registry; did you mean 'first'"),
            ("first tuned", MissingError, "tuned: has no eval result; run `meds1 run tuned`"),
            ("tuned first equal", MissingError, "tuned: has no eval result; run `meds1 run tuned`"),
            ("nothing* first", UsageError, "no experiment 'nothing\\*'"),
        ],
    )
    def test_names_that_cannot_be_compared(self, lab: Lab, names: str, kind: type[Exception], message: str) -> None:
        files = Files(lab.folder / "results.json", lab.folder / "config.json")
        with pytest.raises(kind, match=message):
            named_runs(Answer(), files, names.split())

    def test_a_glob_names_runs_in_its_place(self, lab: Lab) -> None:
        files = Files(lab.folder / "results.json", lab.folder / "config.json")
        found, _ = named_runs(Answer(), files, ["hotter", "*t*r", "first"])

        assert [run.experiment for run in found] == ["hotter", "better", "first"]

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ("first better", "they share 2 benchmarks; name one of them: --benchmark held-out or second-set"),
            ("first step", "first and step are not ranked on held-out: asked or scored"),
            ("equal elsewhere", "no benchmark in common: equal has held-out; elsewhere has second-set"),
            ("original-a original-b", "original-a: its eval result names no file of predictions"),
            ("first better equal", "3 experiments are named; a test is of two"),
        ],
    )
    def test_what_keeps_a_single_test_from_being_made(self, lab: Lab, names: str, message: str) -> None:
        with pytest.raises(Meds1Error, match=message):
            single_test(runs(lab, *names.split()), Ask(), lab.registry.catalog.display)

    def test_a_method_that_there_is_not(self) -> None:
        with pytest.raises(UsageError, match="--method 't': the methods are mcnemar, permutation, bootstrap"):
            method_of("t")

    @pytest.mark.parametrize(
        ("benchmark", "message"),
        [("held_out", "did you mean 'held-out'"), ("second-set", "only first has a result of it")],
    )
    def test_a_benchmark_that_is_not_shared(self, lab: Lab, benchmark: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            compared(lab, "first", "equal", benchmarks=(benchmark,))

    def test_one_experiment_without_a_result_keeps_the_others_from_nothing(self, lab: Lab) -> None:
        body = answer_of(lab, "compare", "first", "equal", "tuned", code=3)

        assert [test["experiment"] for test in body["data"]["tests"]] == ["equal"]


class TestSignificance:
    def test_everything_is_said_of_one_test(self, lab: Lab) -> None:
        body = answer_of(lab, "significance", "hot", "hotter", "--method", "mcnemar")["data"]

        assert (body["n"], body["n_questions"], body["better"], body["worse"]) == (3 * N, N, 6, 0)
        assert body["p_value"] == pytest.approx(2 * 0.5**6)
        assert body["difference"] == pytest.approx(0.03)
        assert body["detectable"] is None  # 6 questions were found, with less luck they would not have been
        assert body["source"].startswith("McNemar's exact test, over questions")
        assert body["sentence"].startswith("hotter answers 3.0 points more of held-out right than hot")

    def test_for_people_it_is_a_number_each_line(self, lab: Lab) -> None:
        text = lab.meds1("significance", "first", "equal", "--seed", "3").stdout

        assert "  p            1.00: McNemar's exact test" in text
        assert "  detectable   none" in text
        assert text.endswith("200 questions of which 0 differ cannot show one; they need not be equal.\n")


def test_json_is_the_whole_comparison(lab: Lab) -> None:
    body = as_json(compared(lab, "first", "better", "step"), lab.registry.catalog.display)

    assert [one["experiment"] for one in body["experiments"]] == ["first", "better", "step"]
    assert body["reference"] == "first"
    assert {(one["experiment"], one["benchmark"], one["ranked"]) for one in body["untested"]} == {
        ("step", "held-out", False),
        ("step", "second-set", True),
    }
    assert next(iter(body["metrics"]))["values"]["first"]["n"] == N
