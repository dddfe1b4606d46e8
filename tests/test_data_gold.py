"""Gold answers and options in the spellings of real files; what keeps a row from judging an answer is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.columns import Reading
from data.load import load
from registry.catalog import DatasetEntry
from registry.errors import UsageError

DRUGS = {"A": "Lisinopril", "B": "Prednisone", "C": "Ibuprofen"}
BLOOD = {"A": "B", "B": "A", "C": "AB", "D": "O"}
NUMBERS = ["2", "3", "4"]
ANSWERS = {"A": "yes", "B": "no", "C": "maybe"}
TWICE = {"A": "Aspirin", "B": "aspirin", "C": "Heparin"}


def readings(folder: Path, text: str, **fields: Any) -> list[Reading]:
    (folder / "set.json").write_text(text, encoding="utf-8")
    return load("set", DatasetEntry(file_path=str(folder / "set.json"), **fields)).readings


def reading(folder: Path, *, fields: dict[str, Any] | None = None, **record: Any) -> Reading:
    (only,) = readings(folder, json.dumps([{"question": "Which one?", **record}]), **fields or {})
    return only


GOLD: list[tuple[Any, dict[str, Any], int, str]] = [
    (DRUGS, {"answer_idx": "B"}, 0, "B"),
    (DRUGS, {"answer_idx": " (b) "}, 0, "B"),
    (DRUGS, {"answer_idx": "B."}, 0, "B"),
    (DRUGS, {"answer_idx": 1}, 0, "B"),
    (DRUGS, {"answer_idx": 2}, 1, "B"),
    (DRUGS, {"answer_idx": "Prednisone"}, 0, "B"),
    (DRUGS, {"answer_idx": "B. Prednisone"}, 0, "B"),
    (DRUGS, {"answer_idx": "b) prednisone"}, 0, "B"),
    (DRUGS, {"answer_idx": ["B"]}, 0, "B"),
    (DRUGS, {"answer": "Prednisone"}, 0, "B"),
    (DRUGS, {"answer": " PREDNISONE. "}, 0, "B"),
    (DRUGS, {"answer": "B"}, 0, "B"),
    (DRUGS, {"answer_idx": None, "answer": "Ibuprofen"}, 0, "C"),
    (DRUGS, {"answer_idx": "B", "answer": "B"}, 0, "B"),
    (DRUGS, {"answer_idx": "B", "answer": "A steroid, for the inflammation."}, 0, "B"),
    (DRUGS, {"answer_idx": 1, "answer": "prednisone"}, 0, "B"),
    (BLOOD, {"answer_idx": "A"}, 0, "A"),
    (BLOOD, {"answer_idx": "A", "answer": "B"}, 0, "A"),
    (BLOOD, {"answer": "AB"}, 0, "C"),
    (NUMBERS, {"answer_idx": "2"}, 0, "C"),
    (NUMBERS, {"answer": "2"}, 0, "A"),
    (NUMBERS, {"answer": 2}, 0, "A"),
    (ANSWERS, {"answer": "maybe"}, 0, "C"),
    (ANSWERS, {"answer": "No."}, 0, "B"),
    (ANSWERS, {"answer": True}, 0, "A"),
    (ANSWERS, {"answer_idx": False}, 0, "B"),
    (ANSWERS, {"answer": "True"}, 0, "A"),
    (["False", "True"], {"answer": True}, 0, "B"),
    (TWICE, {"answer_idx": "A", "answer": "Aspirin"}, 0, "A"),
    (TWICE, {"answer": "aspirin"}, 0, "B"),
]


@pytest.mark.parametrize(("options", "record", "base", "letter"), GOLD)
def test_a_gold_answer_in_any_spelling(
    tmp_path: Path, options: Any, record: dict[str, Any], base: int, letter: str
) -> None:
    found = reading(tmp_path, fields={"answer_index_base": base}, options=options, **record)
    assert (found.row.answer_idx, found.fault) == (letter, None)


def test_a_letter_in_a_column_of_texts_is_a_text_where_an_option_has_it(tmp_path: Path) -> None:
    """As in the MedQA question whose options are the curves B to E of a figure."""
    records = [
        {"question": "Which curve?", "options": BLOOD, "answer": "A"},
        {"question": "Which drug?", "options": DRUGS, "answer": "Prednisone"},
        {"question": "And which now?", "options": DRUGS, "answer": "C"},
    ]
    found = readings(tmp_path, json.dumps(records))
    assert [(each.row.answer_idx, each.fault) for each in found] == [("B", None), ("B", None), ("C", None)]


@pytest.mark.parametrize("value", ["yes", "Yes", True, "true", 0, "A"])
def test_labels_are_the_options_of_every_question(tmp_path: Path, value: Any) -> None:
    found = reading(tmp_path, fields={"labels": ["yes", "no", "maybe"]}, answer_idx=value)
    assert {option.letter: option.text for option in found.row.options} == ANSWERS
    assert (found.row.answer_idx, found.row.answer, found.fault) == ("A", "yes", None)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"options": DRUGS}, "has no gold answer"),
    ({"options": DRUGS, "answer_idx": " ", "answer": None}, "has no gold answer"),
    ({"options": DRUGS, "answer_idx": []}, "has no gold answer"),
    ({"options": DRUGS, "answer_idx": "D"}, "has the gold answer 'D', which is none of its options A, B, C"),
    ({"options": DRUGS, "answer_idx": 3}, "has the gold answer '3', which is none of"),
    ({"options": DRUGS, "answer_idx": -1}, "has the gold answer '-1', which is none of"),
    ({"options": DRUGS, "answer_idx": "B. Ibuprofen"}, "has the gold answer 'B. Ibuprofen', which is none of"),
    ({"options": DRUGS, "answer": "Heparin"}, "has the gold answer 'Heparin', which is none of"),
    ({"options": DRUGS, "answer": 1}, "has the gold answer '1', which is none of"),
    ({"options": DRUGS, "answer": True}, "has the gold answer 'True', which is none of"),
    ({"options": TWICE | {"B": "Aspirin"}, "answer": "Aspirin"}, "'Aspirin', which fits the options A and B"),
    ({"options": TWICE, "answer": "ASPIRIN"}, "'ASPIRIN', which fits the options A and B"),
    ({"options": BLOOD, "answer": "A"}, "has the gold answer 'A', which fits the options A and B"),
    ({"options": DRUGS, "answer_idx": "B", "answer": "ibuprofen"}, "the gold letter B but the answer 'ibuprofen'"),
    ({"options": DRUGS, "answer_idx": "B", "answer": "C"}, "has the gold letter B but the answer 'C'"),
    ({"options": TWICE, "answer_idx": "C", "answer": "ASPIRIN"}, "has the gold letter C but the answer 'ASPIRIN'"),
    ({"options": DRUGS, "answer_idx": ["A", "C"]}, r"has 2 right answers (A, C): set its `task` to labels"),
    ({"options": {"A": "x"}, "answer_idx": "A"}, "has 1 option, not 2 to 14"),
    ({"options": {"A": "x", "B": " "}, "answer_idx": "A"}, "has 1 option, not 2 to 14"),
    ({"options": [f"drug {n}" for n in range(15)], "answer_idx": 1}, "has 15 options, not 2 to 14"),
    ({"answer": True}, "has the gold answer True, but no options: give `labels`"),
    ({}, "has no gold answer"),
    ({"question": " ", "options": DRUGS, "answer_idx": "A"}, "has no question"),
]


@pytest.mark.parametrize(("record", "fault"), FAULTS)
def test_what_keeps_a_row_from_judging_an_answer(tmp_path: Path, record: dict[str, Any], fault: str) -> None:
    """The row is read all the same: curation counts and removes it."""
    found = reading(tmp_path, **record)
    assert found.fault is not None
    assert fault in found.fault


def test_fourteen_options_are_judged(tmp_path: Path) -> None:
    found = reading(tmp_path, options=[f"drug {n}" for n in range(14)], answer_idx=13)
    assert (found.row.answer_idx, found.fault) == ("N", None)


SEVERAL: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (DRUGS, {"answer_idx": ["C", "A"]}, "A,C"),
    (DRUGS, {"answer_idx": ["Ibuprofen", "Lisinopril"]}, "A,C"),
    (DRUGS, {"answer_idx": [2, 0]}, "A,C"),
    (DRUGS, {"answer_idx": "C,A"}, "A,C"),
    (DRUGS, {"answer_idx": "A; C"}, "A,C"),
    (DRUGS, {"answer_idx": "A, B and C"}, "A,B,C"),
    (DRUGS, {"answer_idx": "AC"}, "A,C"),
    (DRUGS, {"answer_idx": "0,2"}, "A,C"),
    (DRUGS, {"answer_idx": '["A", "C"]'}, "A,C"),
    (DRUGS, {"answer_idx": "B"}, "B"),
    (DRUGS, {"answer_idx": "C, C"}, "C"),
    (DRUGS, {"answer": ["Ibuprofen", "Lisinopril"]}, "A,C"),
    (DRUGS, {"answer": "Lisinopril; Ibuprofen"}, "A,C"),
    (DRUGS, {"answer_idx": "AC", "answer": "Lisinopril, Ibuprofen"}, "A,C"),
    ({"B": "cough", "A": "fever"}, {"answer": "cough, fever"}, "A,B"),
    ({"A": "fever, chills", "B": "cough"}, {"answer": "fever, chills"}, "A"),
    ({"A": "fever, chills", "B": "cough"}, {"answer": "cough; fever, chills"}, "A,B"),
]


@pytest.mark.parametrize(("options", "record", "letters"), SEVERAL)
def test_several_right_answers(tmp_path: Path, options: dict[str, str], record: dict[str, Any], letters: str) -> None:
    found = reading(tmp_path, fields={"task": "labels"}, options=options, **record)
    assert (found.row.answer_idx, found.fault) == (letters, None)
    if isinstance(record.get("answer"), list):
        assert found.row.answer == "; ".join(options[letter] for letter in letters.split(","))


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"answer_idx": "A,D"}, "has the gold answer 'A,D', which is none of its options"),
        ({"answer_idx": []}, "has no gold answer"),
        ({"answer_idx": "AC", "answer": "Prednisone"}, "has the gold letter A, C but the answer 'Prednisone'"),
    ],
)
def test_several_right_answers_that_cannot_be_read(tmp_path: Path, record: dict[str, Any], fault: str) -> None:
    found = reading(tmp_path, fields={"task": "labels"}, options=DRUGS, **record)
    assert fault in (found.fault or "")


@pytest.mark.parametrize(
    "options",
    [
        [{"key": "A", "value": "Lisinopril"}, {"key": "B", "value": "Prednisone"}],
        [{"label": "a", "text": "Lisinopril"}, {"label": "b", "text": "Prednisone"}],
        {"text": ["Lisinopril", "Prednisone"], "label": ["A", "B"]},
    ],
)
def test_options_as_hub_data_sets_have_them(tmp_path: Path, options: Any) -> None:
    found = reading(tmp_path, options=options, answer_idx="B")
    assert [(option.letter, option.text) for option in found.row.options] == [("A", "Lisinopril"), ("B", "Prednisone")]
    assert (found.row.answer, found.fault) == ("Prednisone", None)


def test_a_question_with_options_can_be_asked_without_them(tmp_path: Path) -> None:
    found = reading(tmp_path, fields={"task": "text"}, options=DRUGS, answer_idx="B")
    assert (found.row.options, found.row.answer_idx, found.row.answer) == ((), None, "Prednisone")
    assert found.fault is None


@pytest.mark.parametrize("task", ["choice", "labels"])
def test_a_choice_needs_options(tmp_path: Path, task: str) -> None:
    assert reading(tmp_path, fields={"task": task}, answer="Prednisone").fault == "has no options"


TWO_LETTERS = '{"question": "q", "options": {"A": "x", "B": "y", "A": "z"}, "answer_idx": "A"}'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[{"question": "q"}, ' + TWO_LETTERS + "]", "entry 2: 'A' occurs twice"),
        ('{"MedQA": [' + TWO_LETTERS + "]}", r"MedQA\[0\]: 'A' occurs twice"),
        ('{"MedQA": [], "MedQA": []}', "the outer object: 'MedQA' occurs twice"),
        ('[{"question": "q", "question": "p"}]', "entry 1: 'question' occurs twice"),
        (json.dumps([{"question": "q", "options": '{"A": "x", "A": "y"}'}]), "'options': 'A' occurs twice"),
    ],
)
def test_a_name_that_json_would_silently_drop(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(UsageError, match=place):
        readings(tmp_path, text)


def test_a_repeated_letter_in_a_line_of_jsonl(tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").write_text('{"question": "q"}\n' + TWO_LETTERS)
    with pytest.raises(UsageError, match=r"set\.jsonl, line 2: 'A' occurs twice"):
        load("set", DatasetEntry(file_path=str(tmp_path / "set.jsonl")))


def test_labels_beside_options_of_the_rows_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds options, and so does `labels` in the catalog"):
        reading(tmp_path, fields={"labels": ["yes", "no"]}, options=DRUGS, answer_idx="A")
