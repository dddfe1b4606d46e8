"""The whole curation on made-up rows, with a model that always answers B in the real vLLM engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import load_from_disk

from curation.difficulty import ANSWERS
from curation.stage import UNCHECKED, run
from data.tokens import count_tokens
from inference.prompts import user_message
from registry.catalog import DatasetEntry
from registry.errors import MissingError, StageFailure, UsageError
from registry.stage import StageContext, StageOutput
from tests.stages import DRUGS, make_context, make_model_that_answers, record, write_jsonl

OPTIONS = list(zip("ABCD", DRUGS, strict=True))
LONG = " It helps." * 30
OUTPUTS = ("med_s1k_filtered.parquet", "med_s1k_curated.parquet", "med_s1k_formatted")


def golds(count: int, letters: str) -> list[dict[str, Any]]:
    """Records with long reasoning whose gold letters go round `letters`."""
    return [
        record(
            n,
            letters[n % len(letters)],
            specialty=("Cardiology", "Oncology")[n % 2],
            reasoning=f"Think of {n}.{LONG} The answer is {letters[n % len(letters)]}",
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prompts = [user_message(record(number)["question"], OPTIONS, "plain") for number in (1, 12, 37)]
    return make_model_that_answers(tmp_path_factory.mktemp("model"), "The answer is B. Prednisone", prompts)


def context_of(folder: Path, model: Path, records: list[dict[str, Any]], **curation: Any) -> StageContext:
    folder.mkdir(parents=True, exist_ok=True)
    entry = DatasetEntry(file_path=str(write_jsonl(folder / "rows.jsonl", records)))
    return make_context(folder / "run", model, train=entry, curation=curation)


def filtered(output: StageOutput) -> pd.DataFrame:
    return pd.read_parquet(output.artifacts["filtered_path"])


def test_s1_from_rows_to_training_data(tmp_path: Path, model: Path) -> None:
    records = golds(40, "BC")  # B: the model is right, too easy; C: wrong, kept
    records[0]["reasoning"] = ""
    records[1]["reasoning"] = records[1]["reasoning"].replace("The answer is C", "The answer is A")
    records[3]["reasoning"] = "Short. The answer is C"
    records[5]["question"] = "Which drug helps patient 5? " + "Tell me. " * 200  # does not fit the model
    records.append(records[7])
    context = context_of(
        tmp_path,
        model,
        records,
        method="s1",
        n_samples=10,
        long_tokens=50,
        validation_fraction=0.2,
        duplicates={"similarity": None},
        difficulty={"max_tokens": 24},
    )
    output = run(context)

    assert output.metrics["funnel"] == {
        "total": 41,
        "after_quality": 39,
        "after_decontamination": 39,
        "after_duplicates": 38,
        "after_difficulty": 18,
        "after_selection": 10,
    }
    reasons = output.metrics["reasons"]
    assert {stage: sum(found.values()) for stage, found in reasons.items()} == {
        "quality": 2,
        "duplicates": 1,
        "difficulty": 20,
        "selection": 8,
    }
    assert reasons["quality"] == {"missing reasoning": 1, "reasoning concludes another answer than the gold one": 1}
    assert reasons["difficulty"] == {
        "too easy: the base model's pass rate is over 0": 19,
        "unjudged: the base model's answer could not be generated": 1,
    }
    difficulty = output.metrics["difficulty"]
    assert (difficulty["judged"], difficulty["unjudged"], difficulty["right"]) == (37, 1, 19)
    assert (output.metrics["n_train"], output.metrics["n_validation"]) == (8, 2)
    assert output.metrics["warnings"] == [UNCHECKED]
    assert output.link == context.run_dir
    json.dumps(output.metrics, allow_nan=False)

    table = filtered(output)
    assert sorted(table["question"]) == sorted(each["question"].strip() for each in records)
    assert table["id"].is_monotonic_increasing
    long_enough = table["reasoning_tokens"] >= 50
    assert long_enough[table["selected_for_training"]].all()
    assert (table["filter_status"].eq("kept") == table["selected_for_training"]).all()
    assert table["filter_stage"].isna().eq(table["selected_for_training"]).all()
    assert list(table["reasoning_tokens"]) == count_tokens(list(table["reasoning"]), model)
    rates = table.drop_duplicates("question").set_index("question")["pass_rate"]
    assert [rates[f"Which drug helps patient {number}?"] for number in (2, 9)] == [1.0, 0.0]
    curated = pd.read_parquet(output.artifacts["curated_path"])
    pd.testing.assert_frame_equal(curated, table[table["selected_for_training"]].reset_index(drop=True))

    saved = load_from_disk(str(output.artifacts["dataset_path"]))
    assert sorted([*saved["train"]["id"], *saved["validation"]["id"]]) == sorted(curated["id"])
    example = saved["train"][0]
    source = curated.set_index("id").loc[example["id"]]
    assert example["prompt"] == [{"role": "user", "content": user_message(source["question"], OPTIONS, "plain")}]
    expected = f"## Thinking\n\n{source['reasoning']}\n\n## Final Response\n\nThe answer is C. Ibuprofen"
    assert example["completion"] == [{"role": "assistant", "content": expected}]
    assert sorted(path.name for path in context.run_dir.iterdir()) == sorted(
        [*OUTPUTS, ANSWERS, "contamination.parquet", "duplicates.parquet", "spending"]
    )


def test_equal_rows_give_equal_bytes_in_any_order_and_another_seed_does_not(tmp_path: Path, model: Path) -> None:
    def contents(name: str, seed: int, step: int = 1) -> dict[str, bytes]:
        folder = tmp_path / name
        records = golds(20, "BC")[::step]
        exact = {"similarity": None}
        run(context_of(folder, model, records, method="random", n_samples=8, duplicates=exact, seed=seed))
        files = [path for path in (folder / "run").rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    first = contents("first", 1)
    assert {path.split("/")[1] for path in first} == {*OUTPUTS, "duplicates.parquet"}
    assert contents("reversed", 1, step=-1) == first
    other = contents("other", 2)
    assert other.keys() == first.keys()
    assert other["run/med_s1k_curated.parquet"] != first["run/med_s1k_curated.parquet"]


def test_the_difficulty_filter_resumes_after_a_kill(tmp_path: Path, model: Path) -> None:
    """Answers that a killed attempt left are taken as they are: here they say the opposite of what the model says."""
    settings: dict[str, Any] = {"method": "s1", "n_samples": 4, "long_tokens": 0, "duplicates": None}
    settings["difficulty"] = {"max_tokens": 24}
    alone = filtered(run(context_of(tmp_path, model, golds(8, "BC"), **settings)))
    folder = tmp_path / "shared" / "answers"
    (journal,) = folder.glob("*/*.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    left = [line.replace("The answer is B. Prednisone", "The answer is C. Ibuprofen") for line in lines[:5]]
    journal.write_text("".join(left) + lines[5][:30])
    resumed = filtered(run(context_of(tmp_path, model, golds(8, "BC"), **settings)))
    (added,) = set(folder.glob("*/*.jsonl")) - {journal}
    assert sorted(added.read_text().splitlines(keepends=True)) == sorted(lines[5:])
    assert (alone["pass_rate"] != resumed["pass_rate"]).sum() == 5


def test_filters_of_random_and_all_are_off_but_for_required_fields(tmp_path: Path, model: Path) -> None:
    records = golds(10, "BC")
    records[0]["answer_idx"], records[0]["answer"] = "", ""
    records[1]["reasoning"] = "The answer is A"
    output = run(context_of(tmp_path, model, records, method="all", validation_fraction=0))
    assert output.metrics["funnel"] == {"total": 10, "after_quality": 9, "after_selection": 9}
    assert output.metrics["reasons"] == {"quality": {"missing answer": 1}}
    assert (output.metrics["n_train"], output.metrics["n_validation"]) == (9, 0)
    saved = load_from_disk(str(output.artifacts["dataset_path"]))
    assert (len(saved["train"]), len(saved["validation"])) == (9, 0)
    assert saved["validation"].features == saved["train"].features


def test_too_few_rows_are_warned_of(tmp_path: Path, model: Path) -> None:
    output = run(context_of(tmp_path, model, golds(6, "BC"), method="random", n_samples=50))
    assert output.metrics["warnings"] == ["only 6 rows could be chosen; n_samples is 50", UNCHECKED]
    assert output.metrics["funnel"]["after_selection"] == 6


@pytest.mark.parametrize(
    ("letters", "settings", "message"),
    [
        ("B", {"difficulty": {"max_tokens": 24}}, r"the difficulty filter removed all of the 6 rows .*too easy"),
        ("C", {"quality": {"max_tokens": 5}}, r"the quality filter removed all .*reasoning over 5 tokens \(6\)"),
    ],
)
def test_an_empty_selection_is_a_failure_that_names_the_filter(
    letters: str, settings: dict[str, Any], message: str, tmp_path: Path, model: Path
) -> None:
    with pytest.raises(StageFailure, match=message):
        run(context_of(tmp_path, model, golds(6, letters), method="s1", n_samples=3, duplicates=None, **settings))
    assert not any((tmp_path / "run" / name).exists() for name in OUTPUTS)


def test_a_difficulty_filter_without_a_single_answer_is_a_failure(tmp_path: Path, model: Path) -> None:
    records = [each | {"question": each["question"] + " Tell me." * 300} for each in golds(3, "BC")]
    with pytest.raises(StageFailure, match=r"got no answer from .*leaves no room"):
        run(context_of(tmp_path, model, records, method="s1", n_samples=3, duplicates=None))


def test_a_curation_without_a_data_set_or_a_model_is_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UsageError, match=r"made-up-experiment: curation needs a data set; set datasets\.curate"):
        run(make_context(tmp_path / "run", model, curation={"method": "all"}))
    with pytest.raises(MissingError, match="nowhere"):
        run(context_of(tmp_path, tmp_path / "nowhere", golds(3, "BC"), method="all"))
