"""The invented study: a registry that all that reads registries can be tried on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from demo.__main__ import main
from demo.study_answers import odd_outputs
from demo.study_experiments import BUDGETS, experiments
from registry.curation_schema import FILTER_STAGES
from registry.schema import STAGES
from registry.store import Registry, experiments_of, results_of
from tests.lab import Lab, lab_environment
from tests.small_lab import answer_of

ODD = {"stale": "stale", "failed": "missing", "running": "running"}


def predictions_of(entry: dict[str, Any]) -> list[dict[str, Any]]:
    with Path(entry["predictions_path"]).open(encoding="utf-8") as lines:  # an output may hold other ends of lines
        return [json.loads(line) for line in lines]


def evals(study: Registry) -> Iterator[tuple[str, dict[str, Any]]]:
    view = study.read()
    for name in experiments_of(view):
        entry = results_of(view, name).get("eval") or {}
        if Path(entry.get("predictions_path", "nowhere")).exists():
            yield name, entry


def test_every_experiment_is_in_the_state_that_it_is_to_be_in(study: Registry) -> None:
    view = study.read()
    assert not view.warnings
    found = {name: study.statuses(view, name) for name in experiments_of(view)}
    assert {name: state["eval"].status for name, state in found.items()} == {
        one.name: ODD.get(one.name, "completed") for one in experiments(more_seeds=1)
    }
    assert found["stale"]["curation"].reason == "curation.seed 100 -> 101"
    assert found["failed"]["training"].status == "failed"
    assert found["original"]["eval"].fingerprint is None
    fresh = [state["eval"] for name, state in found.items() if name not in (*ODD, "original")]
    assert all(state.reason == "" and state.fingerprint for state in fresh)


def test_the_summaries_say_what_the_predictions_say(study: Registry) -> None:
    seen = 0
    for name, entry in evals(study):
        predictions = predictions_of(entry)
        for source, numbers in entry["metrics"]["benchmarks"].items():
            budgets = {p["budget"] for p in predictions if p["source"] == source}
            last = max(budgets) if budgets != {None} else None
            own = [p for p in predictions if p["source"] == source and p["budget"] == last]
            assert numbers["total_examples"] == len(own), (name, source)
            assert numbers["num_correct"] == sum(p["correct"] for p in own), (name, source)
            assert numbers["unanswered"] == sum(p["extracted"] is None for p in own), (name, source)
            assert numbers["reasoning_tokens"] == sum(p["reasoning_tokens"] for p in own), (name, source)
            seen += 1
    assert seen > 3 * 35


def test_more_thinking_answers_more(study: Registry) -> None:
    budgets = results_of(study.read(), "s1-10k-thinking")["eval"]["metrics"]["benchmarks"]["medical-mcq"]["budgets"]
    tokens = [budgets[str(budget)]["reasoning_tokens"] for budget in BUDGETS]
    assert tokens == sorted(tokens)
    assert budgets["4096"]["accuracy"] > budgets["256"]["accuracy"]


def test_the_odd_experiments_are_odd(study: Registry) -> None:
    view = study.read()
    assert not Path(results_of(view, "deleted")["eval"]["predictions_path"]).exists()
    assert results_of(view, "limited")["eval"]["metrics"]["limit"] == 20
    assert list(results_of(view, "one-benchmark")["eval"]["metrics"]["benchmarks"]) == ["medical-mcq"]
    flags = results_of(view, "unanswered")["eval"]["metrics"]["benchmarks"]["medical-mcq-2"]["flags"]
    assert any("unanswered" in flag for flag in flags)
    assert results_of(view, "random-1k-step")["curation"]["spending"]["cost"] > 0
    outputs = [p["output"] for p in predictions_of(results_of(view, "random-1k")["eval"])]
    for text, _ in odd_outputs():
        assert any(text.split("GOLD")[0] in output for output in outputs), text[:60]
    assert "" in outputs
    assert any(len(output) > 20_000 for output in outputs)


def test_results_can_be_found_where_their_paths_say(study: Registry) -> None:
    view = study.read()
    for name in experiments_of(view):
        for stage in STAGES:
            entry = results_of(view, name).get(stage) or {}
            paths = [
                value for key, value in entry.items() if key.endswith("_path") and name not in ("deleted", "original")
            ]
            assert all(Path(path).exists() for path in paths), (name, stage, paths)


def test_the_funnels_say_what_the_tables_say(study: Registry) -> None:
    view = study.read()
    for name in ("s1-1k", "random-1k-skip-33-restore"):
        entry = results_of(view, name)["curation"]
        rows, funnel = pq.read_table(entry["filtered_path"]), entry["metrics"]["funnel"]
        left, stages = rows.num_rows, rows["filter_stage"].to_pylist()
        assert left == funnel["total"]
        for stage in (stage for stage in FILTER_STAGES if f"after_{stage}" in funnel):
            left -= stages.count(stage)
            assert funnel[f"after_{stage}"] == left, (name, stage)
        assert left == pq.read_table(entry["curated_path"]).num_rows
        assert left == entry["metrics"]["n_train"] + entry["metrics"]["n_validation"]
        assert left == sum(entry["metrics"]["specialties"].values())


def test_the_commands_read_it(study: Registry) -> None:
    folder = study.paths.file.parent
    board = answer_of(Lab(folder, lab_environment(folder)), "leaderboard")
    rows = {row["experiment"]: row for row in board["data"]}
    assert rows["s1-10k"]["macro_average"] > rows["base"]["macro_average"]
    assert rows["original"]["benchmarks"]["medical-mcq"]["total"] == 40
    assert len(board["warnings"]) == 2  # those without an eval result


def test_more_experiments_are_more_seeds(study: Registry) -> None:
    assert "random-1k-seed-3" in experiments_of(study.read())


def test_a_folder_in_use_and_too_few_questions_are_refused(
    study: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", str(study.paths.file.parent)]) == 2
    assert "is not empty; name a new folder" in capsys.readouterr().err
    assert main(["study", str(tmp_path / "small"), "--questions", "3"]) == 2
    assert "at least 40 questions" in capsys.readouterr().err
