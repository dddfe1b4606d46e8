"""`meds1 stats`: stages by state, and what results say that they took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.small_lab import add, answer_of, edit_json, make_small_lab, save, scores

SUMS = {"calls": 100, "cached": 7, "prompt_tokens": 10, "completion_tokens": 10, "cost": 1.5}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return make_small_lab(tmp_path / "lab", monkeypatch)


def stats(lab: Lab, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = answer_of(lab, "stats", *arguments)["data"]
    return found


def test_stages_are_counted_by_state(lab: Lab) -> None:
    add(lab, "broken", "tuned")
    save(lab, "base", "eval", "completed", metrics=scores(held_out=(1, 2)))
    save(lab, "tuned", "curation", "completed", metrics={})
    save(lab, "broken", "curation", "failed", error="no space left")

    assert stats(lab)["stages"] == {
        "curation": {"n/a": 1, "completed": 1, "failed": 1},
        "training": {"n/a": 1, "missing": 2},
        "eval": {"missing": 2, "completed": 1},
    }
    text = lab.meds1("stats").stdout.splitlines()
    assert text[0] == "3 experiments"
    assert text[1].split() == ["stage", "n/a", "missing", "completed", "failed"]


def test_experiments_that_have_no_state_are_counted_as_such(lab: Lab) -> None:
    lab.edit("tuned", model_key="nobody")

    found = stats(lab)

    assert (found["experiments"], found["without_state"], found["stages"]["eval"]) == (2, 1, {"missing": 1})
    assert lab.meds1("stats").stdout.startswith("2 experiments, 1 of them in no state, since their config is wrong: ")


def test_hours_and_money_that_results_tell_are_summed_and_others_counted(lab: Lab) -> None:
    unknown = {**SUMS, "cost": None}
    save(lab, "tuned", "curation", "completed", metrics={}, spending={**SUMS, "models": {"gpt": SUMS}})
    save(lab, "tuned", "training", "completed", metrics={"gpu_hours": 12.5})
    spent = {"spending": {**unknown, "models": {"other": unknown}}, "provenance": {"device": "NVIDIA H200"}}
    save(lab, "tuned", "eval", "completed", metrics=scores(held_out=(1, 2)), **spent)

    found = stats(lab)

    curation, training, evaluation = (found["stage"][stage] for stage in ("curation", "training", "eval"))
    assert (training["gpu_hours"], training["without_hours"]) == (12.5, 0)
    assert (evaluation["gpu_hours"], evaluation["without_hours"]) == (0.0, 1)
    assert (curation["cost"], curation["calls"], curation["cached"]) == (1.5, 100, 7)
    assert (evaluation["cost"], evaluation["without_cost"]) == (0.0, 1)
    assert found["stage"]["all"]["gpu_hours"] == 12.5
    assert found["base_model"]["tiny"]["results"] == found["tag"]["ablation"]["results"] == 3
    assert {model: sums["calls"] for model, sums in found["models_called"].items()} == {"gpt": 100, "other": 100}
    assert "12.50 + " in lab.meds1("stats").stdout


def test_hours_of_attempts_count_where_a_result_has_no_training_s_own(lab: Lab) -> None:
    save(lab, "tuned", "curation", "completed", metrics={}, gpu_hours=1.5)
    save(lab, "tuned", "training", "completed", metrics={"gpu_hours": 12.5}, gpu_hours=13.0)
    save(lab, "tuned", "eval", "failed", error="no space left", gpu_hours=0.5)
    save(lab, "base", "eval", "completed", metrics=scores(held_out=(1, 2)), gpu_hours=None)

    whole = stats(lab)["stage"]["all"]

    assert (whole["gpu_hours"], whole["without_hours"]) == (14.5, 1)


def test_a_tag_that_stands_twice_counts_once(lab: Lab) -> None:
    save(lab, "tuned", "curation", "completed", metrics={}, gpu_hours=12.5)
    once = stats(lab)["tag"]
    edit_json(lab.folder / "results.json", lambda body: body["experiments"]["tuned"].update(tags=["ablation"] * 2))

    assert stats(lab)["tag"] == once


def test_a_result_that_was_reused_has_taken_nothing(lab: Lab) -> None:
    add(lab, "again", "tuned")
    save(lab, "tuned", "curation", "completed", metrics={"gpu_hours": 2.0}, spending={**SUMS, "models": {}})
    save(lab, "again", "curation", "completed", metrics={"gpu_hours": 2.0}, reused_from="tuned")

    assert stats(lab)["stage"] == stats(lab, "tuned")["stage"]


def test_a_machine_without_gpus_used_none(lab: Lab) -> None:
    on_cpu = {"metrics": {}, "provenance": {"device": "cpu (2 cores)"}}

    def record(document: dict[str, Any]) -> None:
        document["experiments"]["tuned"]["results"] = {"curation": {"fingerprint": "f", **on_cpu}}

    edit_json(lab.folder / "results.json", record)

    curation = stats(lab)["stage"]["curation"]
    assert (curation["gpu_hours"], curation["without_hours"]) == (0.0, 0)


def test_an_empty_registry(lab: Lab) -> None:
    edit_json(lab.folder / "results.json", lambda body: body.update(experiments={}))

    assert "the registry has no experiments yet" in lab.meds1("stats").stdout
