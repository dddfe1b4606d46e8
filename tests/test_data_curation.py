"""Data as it comes, through the whole curation stage: predictions of models, files of other projects, bad rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.stage import run
from data.load import load_rows
from data.rows import Row
from eval.answers import Answer
from eval.benchmarks import Benchmark
from eval.predictions import judge, write_predictions
from eval.questions import Question
from inference.engine import Generation, Request
from inference.formats import FORMATS
from registry.catalog import DatasetEntry
from registry.errors import Meds1Error, UsageError
from registry.stage import StageOutput
from tests.stages import make_context, record, row, write_jsonl
from tests.tiny import make_tiny_model

QWEN = FORMATS["qwen"]
JUDGED = {"reasoning": "thinking", "answer_idx": "gold", "answer": "extracted"}
CONCLUDING = {"reasoning": "output", "answer_idx": "gold"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


def curated(folder: Path, model: Path, train: DatasetEntry, **curation: Any) -> StageOutput:
    settings = {"method": "all", "quality": {}, "validation_fraction": 0, **curation}
    return run(make_context(folder / "run", model, train=train, curation=settings))


def rows_of(output: StageOutput) -> pd.DataFrame:
    return pd.read_parquet(output.artifacts["filtered_path"])


def predict(path: Path, outputs: Sequence[str], start: int = 0) -> DatasetEntry:
    """Write what a model answered to questions whose gold is B, as an eval does; the entry has the judged columns."""
    made = []
    for number, output in enumerate(outputs, start):
        asked = row(number, source="exam", specialty="Oncology")
        question = Question(Benchmark("exam", "exam", "choice", (asked,)), asked, Request(asked.id, ()))
        made.append(judge(Answer(question, None, Generation(asked.id, 0, output, "stop", 5, 7)), QWEN))
    write_predictions(made, path)
    return DatasetEntry.model_validate({"file_path": str(path), "columns": JUDGED})


RIGHT = "<think>\nIt lowers inflammation.\n</think>\n\nThe answer is B"
WRONG = "<think>\nIt wakes one up.\n</think>\n\nThe answer is D"
SILENT = "<think>\nI do not know.\n</think>\n\nI cannot say."
UNFINISHED = "<think>\nIt may be B, or"


def test_of_a_models_answers_only_the_right_ones_teach(tmp_path: Path, model: Path) -> None:
    entry = predict(tmp_path / "eval_predictions.jsonl", [RIGHT, WRONG, SILENT, UNFINISHED, RIGHT])
    output = curated(tmp_path, model, entry)
    assert output.metrics["reasons"] == {
        "quality": {"missing answer": 2, "answer text contradicts the gold letter": 1},
    }
    table = rows_of(output)
    chosen = table[table["selected_for_training"]]
    assert sorted(chosen["question"]) == ["Which drug helps patient 0?", "Which drug helps patient 4?"]
    assert set(chosen["reasoning"]) == {"It lowers inflammation."}
    assert set(chosen["source"]) == {"exam"}
    assert set(chosen["specialty"]) == {"Oncology"}
    assert {each["letter"]: each["text"] for each in chosen["options"].iloc[0]} == record(0)["options"]


def test_an_output_that_concludes_another_answer_does_not_teach(tmp_path: Path, model: Path) -> None:
    entry = predict(tmp_path / "predictions.jsonl", [RIGHT, WRONG])
    output = curated(
        tmp_path, model, DatasetEntry.model_validate({"file_path": entry.file_path, "columns": CONCLUDING})
    )
    assert output.metrics["reasons"] == {"quality": {"reasoning concludes another answer than the gold one": 1}}


def test_predictions_of_several_models_as_one_data_set(tmp_path: Path, model: Path) -> None:
    parts = {
        "first": predict(tmp_path / "first.jsonl", [RIGHT, WRONG]),
        "second": predict(tmp_path / "second.jsonl", [RIGHT, RIGHT], start=1),
    }
    output = curated(tmp_path, model, DatasetEntry(merge=parts))
    assert output.metrics["funnel"] == {"total": 4, "after_quality": 3, "after_selection": 3}
    table = rows_of(output)
    assert len(set(table["id"])) == 4
    assert len(set(table["question_id"])) == 3


def test_the_original_projects_predictions(tmp_path: Path, model: Path) -> None:
    items = [
        {"question": "Which?", "options": {"A": "x", "B": "y"}, "answer_idx": gold, "answer": text, "output": output}
        for gold, text, output in (("A", "x", "Think. The answer is A"), ("B", "y", "Think. The answer is A"))
    ]
    (tmp_path / "MedQA.json").write_text(json.dumps({"MedQA": items}))
    entry = DatasetEntry.model_validate({"file_path": str(tmp_path / "MedQA.json"), "columns": {"reasoning": "output"}})
    output = curated(tmp_path, model, entry)
    assert output.metrics["reasons"] == {"quality": {"reasoning concludes another answer than the gold one": 1}}


def test_what_a_curation_wrote_is_a_data_set_again(tmp_path: Path, model: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [record(n, "ABCD"[n % 4], source="book") for n in range(4)])
    output = curated(tmp_path, model, DatasetEntry(file_path=str(tmp_path / "rows.jsonl")))

    def loaded(path: Path) -> list[Row]:
        return sorted(load_rows("key", DatasetEntry(file_path=str(path))), key=lambda each: each.id)

    assert loaded(output.artifacts["curated_path"]) == loaded(tmp_path / "rows.jsonl")


def test_bad_rows_are_counted_by_name_and_the_others_go_on(tmp_path: Path, model: Path) -> None:
    long = "It helps. " * 100_000 + "The answer is B"
    records = [
        record(0, id="same"),
        record(1, id="same"),
        record(2),
        record(2),
        record(3, question=None, answer=None),
        record(4, reasoning=None),
        record(5, options=None, answer_idx=None, answer=None),
        record(6, reasoning="It\x00helps. The answer is B"),
        record(7, reasoning=long),
        {"question": "Only this?"},
    ]
    entry = DatasetEntry(file_path=str(write_jsonl(tmp_path / "rows.jsonl", records)))
    output = curated(tmp_path, model, entry, quality={"max_tokens": 1000})
    assert output.metrics["reasons"] == {
        "quality": {
            "NUL character in reasoning": 1,
            "missing answer": 1,
            "missing answer and reasoning": 1,
            "missing question": 1,
            "missing reasoning": 1,
            "reasoning over 1000 tokens": 1,
        }
    }
    table = rows_of(output)
    assert len(table) == len(set(table["id"])) == 10
    assert table["selected_for_training"].sum() == 4
    assert long in set(table["reasoning"])


BAD: list[tuple[bytes, str]] = [
    (b"", "holds no rows"),
    (json.dumps(record(1)).encode() + b'\n{"question": "\xff"}\n', "is not UTF-8 at byte"),
    (b'{"question": "q", "reasoning": {"text": "t"}}', "record 1, column 'reasoning': holds a dict, not text"),
    (b'{"question": "q"}\n{"question": ["q"]}', "record 2, column 'question': holds a list, not text"),
    (b'{"question": "q", "reasoning": "\\udc00"}', "record 1, column 'reasoning': is not valid Unicode text"),
    (b'{"question": "q", "options": {"A": {"x": 1}}}', "record 1, column 'options': holds a dict, not text"),
    (b'{"question": "q"}\n[1]', "line 2: expected an object, found list"),
]


@pytest.mark.parametrize(("content", "said"), BAD)
def test_what_cannot_be_read_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, model: Path, content: bytes, said: str
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        curated(tmp_path, model, DatasetEntry(file_path=str(tmp_path / "rows.jsonl")))
    assert "data set 'made-up'" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_data_set_without_a_single_good_row_leaves_nothing(tmp_path: Path, model: Path) -> None:
    entry = DatasetEntry(file_path=str(write_jsonl(tmp_path / "rows.jsonl", [record(1, reasoning=None)])))
    with pytest.raises(Meds1Error, match=r"removed all of the 1 rows of made-up .*missing reasoning \(1\)"):
        curated(tmp_path, model, entry)
    assert list((tmp_path / "run").iterdir()) == []
