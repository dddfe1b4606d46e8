"""Files of every kind as rows: text intact, golds in all their spellings, ids, and one clear line for bad input."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from data.load import load_rows
from data.rows import Option, Row
from registry.catalog import DatasetEntry
from registry.errors import MissingError, UsageError

# Values that the table libraries' readers are known to change.
QUESTION: dict[str, Any] = {
    "question": "  Which one?\u2028 ",
    "options": {"A": "NA", "B": "007", "C": "null", "D": "2020-01-01", "E": "1e5"},
    "answer_idx": "B",
    "answer": "007",
    "reasoning": "nan",
    "specialty": "NA",
}
TRUE_ROW = {
    "question": "Which one?",
    "options": tuple(Option(letter, text) for letter, text in QUESTION["options"].items()),
    "answer": "007",
    "answer_idx": "B",
    "reasoning": "nan",
    "reasoning_original": "nan",
    "specialty": "NA",
    "source": "key",
}
OPTION_COLUMNS = ("opa", "opb", "opc", "opd", "ope")


def entry(path: Path, **fields: Any) -> DatasetEntry:
    return DatasetEntry(file_path=str(path), **fields)


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def rows_from(tmp_path: Path, *records: dict[str, Any], **fields: Any) -> list[Row]:
    return load_rows("key", entry(write_json(tmp_path / "rows.json", list(records)), **fields))


def content(row: Row) -> dict[str, Any]:
    found = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return {name: value for name, value in found.items() if name not in ("id", "question_id")}


def write_every_kind(folder: Path) -> dict[str, DatasetEntry]:
    write_json(folder / "list.json", [QUESTION])
    line = json.dumps(QUESTION, ensure_ascii=False)
    (folder / "lines.jsonl").write_text(f"\ufeff\n{line}\n\n", encoding="utf-8")
    flat = {name: value for name, value in QUESTION.items() if name != "options"}
    flat |= dict(zip(OPTION_COLUMNS, QUESTION["options"].values(), strict=True))
    with (folder / "flat.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([list(flat), list(flat.values())])
    with (folder / "nested.csv").open("w", newline="", encoding="utf-8") as stream:
        nested = QUESTION | {"options": json.dumps(QUESTION["options"])}
        csv.writer(stream).writerows([list(nested), list(nested.values())])
    pq.write_table(pa.Table.from_pylist([QUESTION]), folder / "table.parquet")
    Dataset.from_list([QUESTION]).save_to_disk(str(folder / "saved"))
    other = QUESTION | {"question": "another split"}
    splits = {"train": Dataset.from_list([other]), "test": Dataset.from_list([QUESTION])}
    DatasetDict(splits).save_to_disk(str(folder / "splits"))
    columns = {"options": OPTION_COLUMNS}
    return {
        "json": entry(folder / "list.json"),
        "jsonl": entry(folder / "lines.jsonl"),
        "csv": entry(folder / "flat.csv", columns=columns),
        "csv with JSON": entry(folder / "nested.csv"),
        "parquet": entry(folder / "table.parquet"),
        "saved data set": entry(folder / "saved"),
        "saved splits": entry(folder / "splits", hf_split="test"),
    }


def test_every_kind_of_file_gives_the_same_untouched_row(tmp_path: Path) -> None:
    kinds = write_every_kind(tmp_path)
    rows = {kind: load_rows("key", dataset) for kind, dataset in kinds.items()}
    for kind, found in rows.items():
        assert [content(row) for row in found] == [TRUE_ROW], kind
    assert len({row.id for found in rows.values() for row in found}) == 1


def test_the_original_projects_benchmark_file(tmp_path: Path) -> None:
    value = {"MedQA": [QUESTION, QUESTION], "GPQA_Medical_test": [QUESTION | {"question": "Why?", "source": "x"}]}
    rows = load_rows("key", entry(write_json(tmp_path / "eval_data.json", value)))
    assert [row.source for row in rows] == ["MedQA", "MedQA", "GPQA_Medical_test"]


def test_missing_values_stay_and_nothing_is_dropped(tmp_path: Path) -> None:
    full, empty = rows_from(tmp_path, QUESTION, {"question": None, "options": None, "answer": float("nan")})
    assert content(full) == TRUE_ROW
    assert (empty.question, empty.options, empty.answer, empty.answer_idx) == ("", (), "", None)
    assert (empty.reasoning, empty.specialty, empty.source) == ("", None, "key")


@pytest.mark.parametrize(
    ("options", "gold", "base", "letter"),
    [
        ({"A": "x", "B": "y"}, " b ", 0, "B"),
        ({"a": "x", "b": "y"}, "B", 0, "B"),
        (["x", "y", "z"], 2, 0, "C"),
        (["x", "y", "z"], 1, 1, "A"),
        (["x", "y", "z"], "3", 1, "C"),
        (["x", "y", "z"], 2.0, 1, "B"),
        (["x", None, "z"], 2, 0, "C"),
        ({"C": "x", "D": "y"}, 1, 0, "D"),
        (["x", None, "z"], 1, 0, None),
        (["x", "y"], 2, 0, None),
        (["x", "y"], 0, 1, None),
        (["x", "y"], -1, 0, None),
        ({"A": "x", "B": "y"}, "C", 0, None),
        ({"A": "x", "B": "y"}, "AB", 0, None),
        ({"A": "x", "B": "y"}, None, 0, None),
        ({"A": "x", "B": "y"}, "", 0, None),
        ({"A": "x", "B": "y"}, True, 0, None),
        (list("nopqrstuvwxyza"), 13, 0, "N"),
    ],
)
def test_gold_letter(tmp_path: Path, options: Any, gold: Any, base: int, letter: str | None) -> None:
    (row,) = rows_from(tmp_path, {"question": "q", "options": options, "answer_idx": gold}, answer_index_base=base)
    assert row.answer_idx == letter
    assert row.answer == next((option.text for option in row.options if option.letter == letter), "")


def test_an_absent_option_keeps_its_letter(tmp_path: Path) -> None:
    (row,) = rows_from(tmp_path, {"question": "q", "options": ["x", None, " ", "z"]})
    assert row.options == (Option("A", "x"), Option("D", "z"))


def test_a_column_mapped_to_one_field_serves_no_other(tmp_path: Path) -> None:
    record = {"question": "q", "choices": ["x", "y"], "answer": 1}
    (row,) = rows_from(tmp_path, record, columns={"options": "choices", "answer_idx": "answer"})
    assert (row.answer_idx, row.answer) == ("B", "y")


def test_entry_that_went_through_json_loads_the_same(tmp_path: Path) -> None:
    dataset = entry(write_json(tmp_path / "rows.json", [{"question": "q", "answer": "a"}]))
    assert load_rows("key", DatasetEntry.model_validate_json(dataset.model_dump_json())) == load_rows("key", dataset)


def test_ids(tmp_path: Path) -> None:
    shuffled = QUESTION | {"options": dict(zip("ABCDE", reversed(QUESTION["options"].values()), strict=True))}
    respelt = QUESTION | {"question": "which  ONE?\u2028"}
    other = QUESTION | {"options": QUESTION["options"] | {"E": "1e6"}}
    rows = rows_from(tmp_path, QUESTION, QUESTION, shuffled, respelt, other, QUESTION | {"reasoning": "more"})
    assert len({row.id for row in rows}) == len(rows)
    assert [row.question_id == rows[0].question_id for row in rows] == [True, True, True, True, False, True]
    assert rows_from(tmp_path, other, QUESTION)[1].id == rows[0].id
    assert {len(name) for row in rows for name in (row.id, row.question_id)} == {16}


def test_ids_do_not_depend_on_the_process(tmp_path: Path) -> None:
    path = write_json(tmp_path / "rows.json", [QUESTION, QUESTION])
    script = (
        "import sys; from data.load import load_rows; from registry.catalog import DatasetEntry;"
        "print([row.id for row in load_rows('key', DatasetEntry(file_path=sys.argv[1]))])"
    )
    command = [sys.executable, "-c", script, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert found.stdout.strip() == str([row.id for row in load_rows("key", entry(path))])


BAD_FILES: list[tuple[str, bytes, dict[str, Any], str]] = [
    ("a.json", b"[{]", {}, r"a\.json is not JSON, line 1"),
    ("a.json", b"", {}, r"a\.json holds no rows"),
    ("a.json", b"[]", {}, r"a\.json holds no rows"),
    ("a.json", b"3", {}, "must hold a list of objects"),
    ("a.json", b"[3]", {}, "entry 1: expected an object, found int"),
    ("a.json", b'{"S": [3]}', {}, r"S\[0\]: expected an object"),
    ("a.json", b"[[[\xff", {}, "is not UTF-8 at byte 3"),
    ("a.jsonl", b'{"question": "q"}\n{"question"\n', {}, r"a\.jsonl is not JSON, line 2"),
    ("a.jsonl", b"\n\n", {}, "holds no rows"),
    ("a.csv", b"question,answer\nq\n", {}, "line 2: 1 values for 2 columns"),
    ("a.csv", b"question,question\nq,q\n", {}, "two columns of one name"),
    ("a.csv", b'question\n"q\n', {}, r"a\.csv is not CSV, line 2"),
    ("a.csv", b"question\n", {}, "holds no rows"),
    ("a.parquet", b"no parquet", {}, r"a\.parquet is not parquet"),
    ("a.xlsx", b"", {}, r"known endings are \.json, \.jsonl, \.csv, \.parquet"),
    ("a.json", b'[{"q": 1, "p": 2}]', {}, r"no column 'question' \(columns.question\); its columns are q, p"),
    ("a.json", b'[{"question": "q"}]', {"columns": {"reasoning": "exp"}}, r"no column 'exp' \(columns.reasoning\)"),
    ("a.json", b'[{"question": {"x": 1}}]', {}, "record 1, column 'question': holds a dict, not text"),
    ("a.json", b'[{"question": "\\ud800"}]', {}, "record 1, column 'question': is not valid Unicode"),
    ("a.json", b'[{"question": "q", "options": "A or B"}]', {}, "must be a JSON object or list"),
    ("a.json", b'[{"question": "q", "options": 3}]', {}, "not int"),
    ("a.json", b'[{"question": "q", "options": {"first": "x"}}]', {}, "named 'first'; options are named A to Z"),
    ("a.json", b'[{"question": "q", "options": {"a": "x", "A": "y"}}]', {}, "letter occurs twice: a, A"),
    ("a.json", json.dumps([{"question": "q", "options": ["x"] * 27}]).encode(), {}, "27 options; there are 26 letters"),
]


@pytest.mark.parametrize(("name", "written", "fields", "message"), BAD_FILES)
def test_bad_file_is_one_clear_line(
    tmp_path: Path, name: str, written: bytes, fields: dict[str, Any], message: str
) -> None:
    (tmp_path / name).write_bytes(written)
    with pytest.raises(UsageError, match=message) as caught:
        load_rows("my-set", entry(tmp_path / name, **fields))
    assert "'my-set'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"gone\.json"):
        load_rows("key", entry(tmp_path / "gone.json"))


def test_folder_that_is_no_data_set_and_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="save_to_disk"):
        load_rows("key", entry(tmp_path))
    DatasetDict({"test": Dataset.from_list([QUESTION])}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(UsageError, match="no split 'train'; it has test: set hf_split"):
        load_rows("key", entry(tmp_path / "saved"))


@pytest.mark.real_data
def test_medmcqa(real_data: Path) -> None:
    """Against the file itself, read with json alone."""
    path = real_data / "medmcqa_dev.jsonl"
    columns = {
        "question": "question",
        "options": OPTION_COLUMNS[:4],
        "answer_idx": "cop",
        "reasoning": "exp",
        "specialty": "subject_name",
    }
    rows = load_rows("medmcqa", entry(path, columns=columns, answer_index_base=1))
    truth = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert len(rows) == len(truth) == 4183
    assert sum(not row.reasoning for row in rows) == sum(not (raw["exp"] or "").strip() for raw in truth) == 1977
    assert sum(len({option.text for option in row.options}) < 4 for row in rows) == 21
    assert Counter(row.specialty for row in rows) == Counter(raw["subject_name"] for raw in truth)
    for row, raw in zip(rows, truth, strict=True):
        texts = [raw[column].strip() for column in OPTION_COLUMNS[:4]]
        assert [option.text for option in row.options] == texts
        assert (row.question, row.answer_idx) == (raw["question"].strip(), "ABCD"[raw["cop"] - 1])
        assert row.answer == texts[raw["cop"] - 1]
    assert len({row.id for row in rows}) == len(rows)


@pytest.mark.real_data
def test_medqa(real_data: Path) -> None:
    path = real_data / "medqa_usmle_test.jsonl"
    rows = load_rows("medqa", entry(path))
    truth = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert len(rows) == len(truth) == 1273
    for row, raw in zip(rows, truth, strict=True):
        assert {option.letter: option.text for option in row.options} == {
            letter: text.strip() for letter, text in raw["options"].items()
        }
        assert (row.question, row.answer_idx, row.answer) == (
            raw["question"].strip(),
            raw["answer_idx"],
            raw["answer"].strip(),
        )
    assert Counter(row.answer_idx for row in rows) == Counter(raw["answer_idx"] for raw in truth)
