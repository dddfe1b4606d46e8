"""Contradictions in registries of the original med-s1: each kind is found, and nothing is found where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from registry.document import load_registry
from registry.errors import UsageError
from registry.original.case import Contradiction
from registry.original.contradictions import absent_paths, contradictions
from tests.original_registry import ELSEWHERE, N_EXPERIMENTS, original_document, stats, summary, write_files, write_json

NAME, OTHER = "medqa-1k-random-skip-33", "medqa-1k-random-skip-66"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
Body = dict[str, Any]


def entry(document: Body, stage: str, name: str = NAME) -> Body:
    found: Body = document["experiments"][name]["results"][stage]
    return found


def found_in(document: Body, here: bool = False) -> list[Contradiction]:
    return contradictions(document, here, NOW)


def only(document: Body, here: bool = False) -> Contradiction:
    (found,) = found_in(document, here)
    return found


@pytest.fixture
def document() -> Body:
    return original_document()


@pytest.fixture
def here(tmp_path: Path) -> Body:
    """The same registry where its files are."""
    document = original_document(str(tmp_path))
    write_files(document)
    return document


class TestNothingWrong:
    def test_all_forms_of_the_original_agree_with_themselves(self, document: Body, here: Body) -> None:
        assert len(document["experiments"]) == N_EXPERIMENTS
        assert found_in(document) == []
        assert found_in(here, here=True) == []

    def test_a_local_time_with_a_false_z_is_no_contradiction(self, document: Body) -> None:
        """In UTC-7 the curation's local 10:53 is 17:53Z, later than the training's "11:50Z", which is local too."""
        entry(document, "curation")["timestamp"] = "2025-03-29T10:53:07.162615"
        entry(document, "training")["timestamp"] = "2025-03-29T09:50:22Z"
        entry(document, "eval")["timestamp"] = "2025-03-29T20:04:37.797610"

        assert found_in(document) == []

    def test_a_result_with_a_fingerprint_may_be_older_than_a_parent_that_ran_again(self, document: Body) -> None:
        entry(document, "training")["fingerprint"] = "0" * 64
        entry(document, "training")["timestamp"] = "2025-03-01T00:00:00Z"

        assert found_in(document) == []

    def test_experiments_that_say_same_as_may_share_their_curation(self, document: Body) -> None:
        document["experiments"][OTHER]["config"]["curation"] = f"same as {NAME}"
        for body in (entry(document, "curation"), entry(document, "curation", OTHER)):
            body.update(dataset_path="/data/set-17", stats_file="/data/set-17.json")

        assert found_in(document) == []

    def test_a_reused_result_lies_with_the_other_experiment(self, document: Body) -> None:
        document["experiments"][OTHER]["results"]["eval"] = {**entry(document, "eval"), "reused_from": NAME}

        assert found_in(document) == []

    def test_names_that_the_original_wrote_alike_are_not_told_apart(self, document: Body) -> None:
        """The original left the `_` of a name out of its paths."""
        name = "medqa-1k-random-add_irrelevant-33"
        entry(document, "eval", name).update(
            {
                field: path.replace(name, "medqa-1k-random-addirrelevant-33")
                for field, path in entry(document, "eval", name).items()
                if isinstance(path, str)
            }
        )

        assert found_in(document) == []

    def test_rounded_accuracies_and_those_of_repeated_runs_agree_with_their_counts(self, document: Body) -> None:
        numbers = summary(0)
        numbers["MedQA_test"]["accuracy"] = round(700 / 1258, 3)
        entry(document, "eval")["metrics"] = {"summary": numbers}

        assert found_in(document) == []


class TestTimes:
    def test_a_result_older_than_its_parent(self, document: Body) -> None:
        entry(document, "eval")["timestamp"] = "2025-03-01T00:00:00"

        found = only(document)

        assert found.path == f"experiments.{NAME}.results.eval.timestamp"
        assert found.value == "2025-03-01T00:00:00"
        assert found.other == f"experiments.{NAME}.results.training.timestamp"
        assert found.other_value == entry(document, "training")["timestamp"]
        assert f"meds1 run {NAME} --stage eval --force" in found.line

    def test_an_eval_is_compared_with_the_curation_where_the_training_has_no_time(self, document: Body) -> None:
        del entry(document, "training")["timestamp"]
        entry(document, "eval")["timestamp"] = "2025-03-01T00:00:00"

        assert only(document).other == f"experiments.{NAME}.results.curation.timestamp"

    @pytest.mark.parametrize("given", ["yesterday", "", 1742030000, "2025-13-01T00:00:00", "0001-01-01T00:00:00+14:00"])
    def test_what_is_no_time(self, document: Body, given: object) -> None:
        entry(document, "training")["timestamp"] = given

        found = only(document)

        assert (found.path, found.value) == (f"experiments.{NAME}.results.training.timestamp", given)
        assert "is no ISO 8601 time" in found.line

    def test_a_time_in_the_future(self, document: Body) -> None:
        entry(document, "eval")["timestamp"] = "2026-11-22T00:00:00"

        assert "lies in the future (now" in only(document).line

    def test_a_time_that_is_only_a_zone_ahead_may_be_now(self, document: Body) -> None:
        entry(document, "eval")["timestamp"] = "2026-11-21T13:00:00"

        assert found_in(document) == []


class TestFiles:
    def test_a_stats_file_of_another_experiment(self, document: Body) -> None:
        entry(document, "curation")["stats_file"] = entry(document, "curation", OTHER)["stats_file"]

        found = only(document)

        assert found.path == f"experiments.{NAME}.results.curation.stats_file"
        assert found.other == f"experiments.{OTHER}.results.curation.stats_file"
        assert found.value == found.other_value == f"{ELSEWHERE}/med-s1/results/{OTHER}_curation.json"

    def test_a_stats_file_of_an_experiment_that_is_gone(self, document: Body) -> None:
        entry(document, "curation")["stats_file"] = "/results/gone_curation.json"

        assert "belongs to the experiment gone" in only(document).line

    @pytest.mark.parametrize(
        ("stage", "field"), [("curation", "dataset_path"), ("training", "model_path"), ("eval", "summary_file")]
    )
    def test_a_path_into_another_experiments_folder(self, document: Body, stage: str, field: str) -> None:
        entry(document, stage)[field] = entry(document, stage, OTHER)[field]

        assert only(document).path == f"experiments.{NAME}.results.{stage}.{field}"

    def test_the_hyperparameters_in_a_checkpoints_name_hide_no_owner(self, document: Body) -> None:
        entry(document, "training")["model_path"] = f"/ckpts/{OTHER}_bs2_lr5e-06_epoch5_20250329_021551"

        assert f"belongs to the experiment {OTHER}" in only(document).line

    def test_two_experiments_with_one_file_whose_name_tells_nothing(self, document: Body) -> None:
        for name in (NAME, OTHER):
            entry(document, "training", name)["model_path"] = "/ckpts/final"

        found = only(document)

        assert found.path == f"experiments.{OTHER}.results.training.model_path"
        assert found.other == f"experiments.{NAME}.results.training.model_path"

    def test_a_folder_and_a_report_that_no_experiment_names(self, here: Body, tmp_path: Path) -> None:
        (tmp_path / "cache" / "ckpts" / "forgotten").mkdir()
        write_json(tmp_path / "med-s1" / "results" / "forgotten_eval.json", {})

        lost = {(item.experiment, item.path) for item in found_in(here, here=True)}

        report = tmp_path / "med-s1" / "results" / "forgotten_eval.json"
        assert lost == {(None, str(report)), (None, str(tmp_path / "cache" / "ckpts" / "forgotten"))}
        assert found_in(here) == []

    def test_paths_that_are_not_here_are_listed_by_experiment(self, document: Body, here: Body, tmp_path: Path) -> None:
        assert absent_paths(document)[NAME]["training.model_path"] == f"{ELSEWHERE}/cache/ckpts/{NAME}"
        absent = absent_paths(here)
        assert "training.model_path" not in absent[NAME]
        assert absent[NAME]["eval.outputs_path"] == f"{tmp_path}/cache/eval/{NAME}/best_modeleval_data.json"


def set_accuracy(numbers: Body) -> None:
    numbers["accuracy"] = 0.9
    numbers["num_correct"], numbers["total_examples"] = 9, 10


def set_counts(numbers: Body) -> None:
    numbers["num_correct"] += 100


class TestScores:
    @pytest.mark.parametrize(
        ("change", "says"),
        [(set_accuracy, "lies outside its own interval"), (set_counts, "is not num_correct / total_examples")],
    )
    def test_scores_that_cannot_be(self, document: Body, here: Body, change: Callable[[Body], None], says: str) -> None:
        for known, in_file in ((document, False), (here, True)):
            numbers = summary(1)
            change(numbers["MedQA_test"])
            if in_file:
                write_json(entry(known, "eval")["summary_file"], {"summary": numbers})
            else:
                entry(known, "eval")["metrics"] = {"summary": numbers}

            found = only(known, in_file)

            assert found.experiment == NAME
            assert found.path.endswith("MedQA_test.accuracy")
            assert says in found.line

    def test_two_result_sets_in_one_eval(self, here: Body) -> None:
        summary_file = entry(here, "eval")["summary_file"]
        entry(here, "eval")["metrics"] = {"summary": summary(9)}
        write_json(summary_file, {"summary": summary(10)})

        found = only(here, here=True)

        assert found.path == f"{summary_file}: summary.MedQA_test.accuracy"
        assert found.other == f"experiments.{NAME}.results.eval.metrics.summary.MedQA_test.accuracy"
        assert (found.value, found.other_value) == (710 / 1258, 709 / 1258)
        assert found_in(here) == []

    def test_two_result_sets_of_different_benchmarks(self, document: Body) -> None:
        entry(document, "eval")["metrics"] = {"summary": {"MedQA_test": summary(9)["MedQA_test"]}}
        entry(document, "eval")["summary"] = {"GPQA_Medical_test": summary(9)["GPQA_Medical_test"]}

        assert "are two result sets" in only(document).line

    def test_outputs_outside_the_output_folder(self, document: Body) -> None:
        entry(document, "eval")["output_dir"] = f"/later/eval/{NAME}"

        found = only(document)

        assert (found.value, found.other_value) == (
            f"{ELSEWHERE}/cache/eval/{NAME}/best_modeleval_data.json",
            f"/later/eval/{NAME}",
        )

    def test_an_eval_without_the_training_that_the_config_names(self, document: Body) -> None:
        document["experiments"][NAME]["results"]["training"] = None

        assert only(document).other == f"experiments.{NAME}.results.training"

    @pytest.mark.parametrize(("text", "says"), [("{", "is not JSON"), ("[]", "is not a JSON object")])
    def test_a_torn_summary_file(self, here: Body, text: str, says: str) -> None:
        Path(entry(here, "eval")["summary_file"]).write_text(text)

        assert says in only(here, here=True).line


class TestCounts:
    def curated(self, document: Body, **counts: Any) -> Contradiction:
        path = Path(entry(document, "curation")["stats_file"])
        path.write_text(json.dumps({**stats(1000), **counts}))
        return only(document, here=True)

    def test_selected_and_filtered_that_are_not_the_total(self, here: Body) -> None:
        reasons = {"low_ngram_score": 24371, "not_selected_in_sampling": 612, "base_model_correct": 382}
        found = self.curated(here, filtered_examples=25365, filter_reasons=reasons)

        assert found.path.endswith(f"{NAME}_curation.json.total_examples")
        assert found.value == 25371
        assert found.other_value == {"selected_examples": 1000, "filtered_examples": 25365}

    def test_reasons_that_are_not_those_filtered(self, here: Body) -> None:
        assert "is not the sum of the reasons" in self.curated(here, filter_reasons={"easy": 7}).line

    def test_more_specialties_than_rows(self, here: Body) -> None:
        assert self.curated(here, specialty_distribution={"Law": 1001}).other_value == 1001

    def test_more_rows_than_the_config_asks_for(self, here: Body) -> None:
        here["experiments"][NAME]["config"]["curation"]["n_samples"] = 500

        assert only(here, here=True).other == f"experiments.{NAME}.config.curation.n_samples"

    def test_a_whole_funnel_of_our_own_whose_keys_are_recorded_in_another_order(self, document: Body) -> None:
        entry(document, "curation")["metrics"] = {
            "funnel": {"after_decontamination": 70, "after_quality": 90, "after_selection": 50, "total": 100},
            "reasons": {"decontamination": {"leak": 20}, "quality": {"empty": 10}, "selection": {"not drawn": 20}},
        }

        assert not found_in(document)

    def test_a_funnel_of_our_own_that_loses_a_row(self, document: Body) -> None:
        entry(document, "curation")["metrics"] = {
            "funnel": {"total": 100, "after_quality": 90, "after_selection": 50},
            "reasons": {"quality": {"empty": 10}, "selection": {"not drawn": 39}},
        }

        found = only(document)

        assert found.path == f"experiments.{NAME}.results.curation.metrics.funnel.after_selection"
        assert (found.value, found.other_value) == (50, 39)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value stands, objects and lists included."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


@pytest.mark.parametrize("odd", [None, True, -1, 1e300, "", "same as base", [], {}, ["x"], {"accuracy": "x"}])
def test_no_value_that_a_registry_may_hold_breaks_the_search(tmp_path: Path, odd: object) -> None:
    body = original_document()["experiments"][NAME]
    body["results"]["curation"]["stats"] = stats(1000)
    body["results"]["eval"]["metrics"] = {"summary": summary(1)}
    text = json.dumps(body)
    file = tmp_path / "results.json"
    for path in places(body):
        if len(path) < 2:
            continue
        changed = json.loads(text)
        spot = changed
        for key in path[:-1]:
            spot = spot[key]
        spot[path[-1]] = odd
        write_json(file, {"experiments": {NAME: changed, "base": {}}})
        try:
            document, _ = load_registry(file)
        except UsageError:
            continue

        assert all(isinstance(found.line, str) for found in found_in(document, here=True))
        assert isinstance(absent_paths(document), dict)
