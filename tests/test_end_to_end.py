"""The main job, as a user runs it: the whole demo twice, and real benchmark files through all three stages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from demo.rows import LEAKED
from tests.lab import CHECKOUT, Lab, lab_environment
from tests.tiny import make_tiny_model

pytestmark = pytest.mark.timeout(900)

N_MEDMCQA, N_MEDQA = 400, 40


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    _run_demo(out)
    return out


def _run_demo(out: Path) -> str:
    command = [sys.executable, "-m", "demo", "run", "--out", str(out)]
    done = subprocess.run(command, cwd=CHECKOUT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _board(out: Path) -> dict[str, dict[str, Any]]:
    lab = Lab(out, lab_environment(out))
    rows = json.loads(lab.meds1("leaderboard", "--json").stdout)["data"]
    return {row["experiment"]: row["benchmarks"]["demo-heldout"] for row in rows}


def test_curation_pays_in_the_demo(demo: Path) -> None:
    board = _board(demo)

    assert board["demo-s1"]["accuracy"] - board["demo-base"]["accuracy"] >= 0.30
    assert board["demo-random"]["ci"][0] > board["demo-base"]["ci"][1]
    assert board["demo-s1"]["ci"][0] > board["demo-random"]["ci"][1]
    for suffix in ("png", "pdf", "csv"):
        assert (demo / "figures" / f"comparison.{suffix}").stat().st_size > 0


def test_no_question_of_the_demos_evaluation_was_trained_on(demo: Path) -> None:
    asked = {
        json.loads(line)["question_id"]
        for line in (demo / "cache" / "eval" / "demo-s1" / "eval_predictions.jsonl").read_text().splitlines()
    }
    for name in ("demo-all", "demo-random", "demo-s1"):
        rows = pd.read_parquet(demo / "output" / name / "med_s1k_filtered.parquet")
        assert not asked & set(rows["question_id"][rows["selected_for_training"]])
        leaked = rows["question_id"].isin(asked)
        assert leaked.sum() == LEAKED
        assert set(rows["filter_stage"][leaked]) == {"decontamination"}
        assert leaked.equals(rows["filter_stage"] == "decontamination")


def test_the_difficulty_filter_removes_only_what_is_still_asked_elsewhere(demo: Path) -> None:
    table = pd.read_parquet(demo / "output" / "demo-s1" / "med_s1k_filtered.parquet")
    drugs = table["reasoning"].str.extract(r"(\w+) is a \w+\.")[0]

    easy = set(drugs[table["filter_stage"] == "difficulty"])
    kept = set(drugs[table["selected_for_training"]])

    assert easy
    assert easy <= kept


def test_a_second_demo_does_nothing_and_says_why(demo: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in demo.rglob("*") if path.is_file() and "figures" not in path.parts
    }

    said = _run_demo(demo)

    assert said.count("left as it is") == 2
    assert said.count("nothing to do: completed and fresh") == 10
    assert "==>" not in said
    after = {
        path: path.stat().st_mtime_ns for path in demo.rglob("*") if path.is_file() and "figures" not in path.parts
    }
    assert after == before


@pytest.mark.full
@pytest.mark.real_data
def test_real_files_go_through_all_three_stages(real_data: Path, tmp_path: Path) -> None:
    lab = _real_lab(real_data, tmp_path / "lab")

    lab.meds1("run", "real")

    results = lab.results("real")
    raw = [json.loads(line) for line in (lab.folder / "medmcqa.jsonl").read_text().splitlines()]
    without_reasoning = sum(not (row["exp"] or "").strip() for row in raw)
    funnel = results["curation"]["metrics"]["funnel"]
    assert funnel["total"] == N_MEDMCQA
    assert results["curation"]["metrics"]["reasons"]["quality"]["missing reasoning"] == without_reasoning
    table = pd.read_parquet(lab.folder / "output" / "real" / "med_s1k_filtered.parquet")
    removed = table["filter_stage"].value_counts()
    assert funnel["after_quality"] == N_MEDMCQA - removed["quality"]
    assert funnel["after_selection"] == int(table["selected_for_training"].sum()) == 60
    asked = _asked_again(lab, table)
    assert funnel["after_difficulty"] == funnel["after_duplicates"] - asked
    split = results["curation"]["metrics"]
    assert split["n_train"] + split["n_validation"] == 60
    training = results["training"]["metrics"]
    assert training["rows"] + training["rows_dropped"] == split["n_train"]
    scored = results["eval"]["metrics"]["benchmarks"]["medqa"]
    predictions = [json.loads(line) for line in Path(results["eval"]["predictions_path"]).read_text().splitlines()]
    gold = [json.loads(line)["answer_idx"] for line in (lab.folder / "medqa.jsonl").read_text().splitlines()]
    assert sorted(row["gold"] for row in predictions) == sorted(gold)
    assert scored["total_examples"] == N_MEDQA
    assert scored["num_correct"] == sum(row["extracted"] == row["gold"] for row in predictions)


def _asked_again(lab: Lab, table: pd.DataFrame) -> int:
    """How many rows the base model answered rightly or could not be asked, from its answers as they were written."""
    rates = table.loc[table["filter_stage"] == "difficulty", "pass_rate"]
    assert ((rates == 1.0) | rates.isna()).all()
    kept = table[table["selected_for_training"] | (table["filter_stage"] == "selection")]
    assert (kept["pass_rate"] == 0.0).all()
    return len(rates)


def _real_lab(real_data: Path, folder: Path) -> Lab:
    folder.mkdir()
    for source, name, count in (
        ("medmcqa_dev.jsonl", "medmcqa", N_MEDMCQA),
        ("medqa_usmle_test.jsonl", "medqa", N_MEDQA),
    ):
        lines = (real_data / source).read_text(encoding="utf-8").splitlines()[:count]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    make_tiny_model(folder / "model", max_length=4096)
    columns = {
        "options": ["opa", "opb", "opc", "opd"],
        "answer_idx": "cop",
        "reasoning": "exp",
        "specialty": "subject_name",
    }
    catalog = {
        "models": {"tiny": {"file_path": "model", "max_length": 2048}},
        "train_datasets": {"medmcqa": {"file_path": "medmcqa.jsonl", "columns": columns, "answer_index_base": 1}},
        "eval_datasets": {"medqa": {"file_path": "medqa.jsonl"}},
    }
    experiment = {
        "model_key": "tiny",
        "datasets": {"curate": "medmcqa", "eval": "medqa"},
        "curation": {"method": "s1", "n_samples": 60, "long_tokens": 50, "difficulty": {"max_tokens": 16}},
        "training_params": {"learning_rate": 1e-3, "batch_size": 4, "total_batch_size": 4, "num_epochs": 1},
        "eval": {"max_tokens": 16},
    }
    (folder / "config.json").write_text(json.dumps(catalog))
    (folder / "results.json").write_text(json.dumps({"experiments": {"real": {"config": experiment}}}))
    return Lab(folder, lab_environment(folder))
