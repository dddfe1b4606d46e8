"""`plotting.frame`: every number of a registry is one row, with the fields of its experiment's config."""

from __future__ import annotations

import re
from pathlib import Path

import pandas
import pytest

import plotting
from registry.errors import MissingError, UsageError
from tests.lab import Lab
from tests.small_lab import add, edit_json, make_small_lab, save, scores, write_json


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """`base` (one benchmark), `few` (curated, two benchmarks, with budgets), `stale`, and `tuned` without a result."""
    lab = make_small_lab(tmp_path / "lab", monkeypatch)
    add(lab, "few", "tuned", datasets={"curate": "train", "eval": ["held-out", "second-set"]})
    add(lab, "stale", "base")
    two = scores(held_out=(60, 100), second_set=(30, 40))
    own = two["benchmarks"]["held-out"]
    own |= {"num_questions": 50, "unanswered": 5, "flags": ["5 % unanswered"]}
    own["budgets"] = {"64": {**own}, "128": {**own}}
    for name in ("base", "stale"):
        save(lab, name, "eval", "completed", metrics=scores(held_out=(50, 100)))
    for stage in ("curation", "training", "eval"):
        save(lab, "few", stage, "completed", metrics=two if stage == "eval" else {})
    lab.edit("stale", prompting="step")
    display = {"experiments": {"few": {"name": "Few rows", "group": "ours"}}}
    edit_json(lab.folder / "config.json", lambda body: body.update(display=display))
    return lab


def made(lab: Lab) -> pandas.DataFrame:
    return plotting.frame(lab.folder / "results.json", lab.folder / "config.json")


def test_a_row_for_each_experiment_benchmark_and_metric(lab: Lab) -> None:
    frame = made(lab)

    own = frame[frame["budget"].isna()]
    assert not own.duplicated(["experiment", "benchmark", "metric"]).any()
    accuracy = own[own["metric"] == "accuracy"].set_index(["experiment", "benchmark"])
    assert accuracy["value"].to_dict() == {
        ("base", "held-out"): 0.5,
        ("few", "held-out"): 0.6,
        ("few", "second-set"): 0.75,
        ("stale", "held-out"): 0.5,
    }
    row = accuracy.loc[("few", "held-out")]
    assert (row["label"], row["group"], row["n"], row["questions"], row["flags"]) == (
        *("Few rows", "ours", 100, 50),
        "5 % unanswered",
    )
    assert row["low"] < row["value"] < row["high"]
    assert accuracy["stale"].to_dict()[("stale", "held-out")]
    assert accuracy["stale"].sum() == 1


def test_budgets_of_thinking_are_rows_of_their_own(lab: Lab) -> None:
    frame = made(lab)

    assert frame["budget"].dropna().unique().tolist() == [64, 128]
    assert set(frame[frame["budget"] == 64]["metric"]) == {"accuracy", "unanswered"}


def test_the_configs_fields_are_columns_and_missing_where_a_stage_does_not_apply(lab: Lab) -> None:
    frame = made(lab).drop_duplicates("experiment").set_index("experiment")

    assert frame.loc["few", "curation.method"] == "random"
    assert frame["curation.n_samples"].to_dict()["few"] == 4
    assert str(frame["curation.n_samples"].dtype) == "Int64"
    assert frame["training_params.learning_rate"].isna().to_dict() == {"base": True, "few": False, "stale": True}
    assert frame["prompting"].to_dict()["stale"] == "step"
    assert not [column for column in frame if re.search(r"_path|slurm|api_key|columns", column)]
    assert "curation" not in frame  # its fields are there


def test_it_serves_a_pivot_and_a_mean_by_group(lab: Lab) -> None:
    frame = made(lab).query("metric == 'accuracy' and budget.isna() and not stale")

    table = frame.pivot(index="experiment", columns="benchmark", values="value")
    assert table.loc["few"].to_dict() == {"held-out": 0.6, "second-set": 0.75}
    assert frame.groupby("curation.method")["value"].mean().to_dict() == {"random": pytest.approx(0.675)}


def test_an_experiment_without_results_is_named_beside_the_rows(lab: Lab) -> None:
    frame = made(lab)

    assert "tuned" not in set(frame["experiment"])
    assert frame.attrs["left_out"] == {"tuned": "tuned: has no eval result; run `meds1 run tuned`"}


def test_an_empty_registry_has_the_columns_and_no_row(lab: Lab) -> None:
    (lab.folder / "new").mkdir()
    write_json(lab.folder / "new" / "results.json", {"experiments": {}})

    frame = plotting.frame(lab.folder / "new" / "results.json", lab.folder / "config.json")

    assert frame.empty
    assert frame.columns[:3].tolist() == ["experiment", "label", "group"]


def test_files_that_cannot_be_read_raise_what_the_command_line_says(lab: Lab) -> None:
    (lab.folder / "broken.json").write_text("{")

    with pytest.raises((MissingError, UsageError), match=r"nowhere\.json"):
        plotting.frame(lab.folder / "nowhere.json", lab.folder / "config.json")
    with pytest.raises(UsageError, match=r"broken\.json"):
        plotting.frame(str(lab.folder / "results.json"), str(lab.folder / "broken.json"))
