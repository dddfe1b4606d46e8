"""Tables of a registry of the original project, whose results are only paths to summary files."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

import plotting
from tests.lab import CHECKOUT, Lab, lab_environment
from tests.original_registry import N_EXPERIMENTS, original_document, write_files, write_json
from tests.small_lab import answer_of

N_EVALUATED = 53


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The registry where its files are, with the shipped catalog, which does not know all of its models and data."""
    folder = tmp_path_factory.mktemp("original")
    document = original_document(str(folder))
    write_files(document)
    write_json(folder / "results.json", document)
    shutil.copy(CHECKOUT / "config.json", folder / "config.json")
    return Lab(folder, lab_environment(folder))


def test_the_leaderboard_reads_the_summary_files(original: Lab) -> None:
    rows = answer_of(original, "leaderboard", "--benchmark", "MedQA_test")["data"]

    assert len(rows) == N_EVALUATED
    values = [row["benchmarks"]["MedQA_test"]["accuracy"] for row in rows]
    assert values == sorted(values, reverse=True)
    assert {row["status"] for row in rows} == {"completed"}
    assert all(row["remark"].startswith("fingerprint unknown (recorded by another program)") for row in rows)


def test_a_majority_vote_is_another_metric_than_accuracy(original: Lab) -> None:
    (row,) = answer_of(original, "leaderboard", "base", "--metric", "majority_vote")["data"]

    numbers = row["benchmarks"]["GPQA_Medical_test"]
    assert (numbers["accuracy"], numbers["measure"]["value"]) == (0.40108, pytest.approx(156 / 370))
    assert (numbers["measure"]["n"], numbers["measure"]["low"]) == (370, None)
    assert list(row["benchmarks"]) == ["GPQA_Medical_test"]


def test_the_frame_has_the_written_config(original: Lab) -> None:
    frame = plotting.frame(original.folder / "results.json", original.folder / "config.json")

    accuracy = frame.query("metric == 'accuracy' and benchmark == 'MedQA_test'").set_index("experiment")
    assert len(accuracy) == N_EVALUATED
    assert len(frame.attrs["left_out"]) == N_EXPERIMENTS - N_EVALUATED
    steps = accuracy.loc["medqa-1k-random-skip-33"]
    assert (steps["curation.perturbation.type"], steps["curation.perturbation.rate"]) == ("skip", 0.33)
    assert steps["training_params.num_epochs"] == 10  # of the experiment that it refers to


def test_exports_hold_their_numbers(original: Lab) -> None:
    rows = list(csv.DictReader(io.StringIO(original.meds1("export", "--all", "--format", "csv").stdout)))
    document = json.loads(original.meds1("export", "--all").stdout)
    markdown = original.meds1("export", "--all", "--format", "markdown").stdout

    assert len({row["experiment"] for row in rows}) == N_EVALUATED
    assert len(document["experiments"]) == N_EXPERIMENTS
    scored = [body for body in document["experiments"] if body["scores"]]
    assert len(scored) == N_EVALUATED
    assert scored[0]["scores"]["MedQA_test"]["num_correct"] == 700
    assert len([line for line in markdown.splitlines() if line.startswith("| ")]) == N_EVALUATED + 2
    assert "[^1]: fingerprint unknown" in markdown


def test_stats_say_that_nobody_knows_what_they_took(original: Lab) -> None:
    found = answer_of(original, "stats")["data"]

    assert found["experiments"] == N_EXPERIMENTS
    assert found["stages"]["eval"]["completed"] == N_EVALUATED
    everything = found["stage"]["all"]
    assert everything["without_hours"] == everything["without_cost"] == everything["results"]


def test_without_the_files_each_says_which_one_is_missing(original: Lab, tmp_path: Path) -> None:
    write_json(tmp_path / "results.json", original_document())
    shutil.copy(CHECKOUT / "config.json", tmp_path / "config.json")
    elsewhere = Lab(tmp_path, lab_environment(tmp_path))

    body = answer_of(elsewhere, "leaderboard")

    assert body["data"] == []
    assert any("base_eval.json is not on this machine; copy it there, or run" in line for line in body["warnings"])
