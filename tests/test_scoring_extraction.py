"""Which option an answer chose: a table of hand-written answers, then properties that hold for any text."""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import extraction, statements
from scoring.extraction import Extraction, extract_choice
from scoring.final_part import final_part
from scoring.free_text import text_matches
from scoring.labels import extract_labels
from scoring.methods import Method
from tests.extraction_cases import CASES, DRUGS, LABEL_CASES, Options


@pytest.mark.parametrize(("text", "options", "letter", "reason"), CASES)
def test_choice_is_what_a_careful_reader_takes(text: str, options: Options, letter: str | None, reason: str) -> None:
    found = extract_choice(text, options)
    assert found.letter == letter, (found, reason)
    assert (found.method == "none") == (letter is None)
    assert extract_choice(final_part(text), options).letter == letter, "an output that is already split reads the same"


def test_cases_are_many_and_each_is_one_of_a_kind() -> None:
    asked = [(text, tuple(options)) for text, options, _, _ in CASES]
    assert len(set(asked)) == len(asked) >= 150
    assert all(reason for *_, reason in (*CASES, *LABEL_CASES))


@pytest.mark.parametrize(("text", "labels", "keys", "reason"), LABEL_CASES)
def test_labels_are_what_a_careful_reader_takes(text: str, labels: Options, keys: str | None, reason: str) -> None:
    found = extract_labels(text, labels)
    assert found.labels == (None if keys is None else frozenset(keys)), (found, reason)
    assert (found.method == "none") == (keys is None)


def test_labels_without_letters_are_found_by_their_text() -> None:
    fields = [("heart", "Cardiology"), ("lung", "Pulmonology"), ("skin", "Dermatology")]
    assert extract_labels("Answer: cardiology, dermatology", fields).labels == frozenset({"heart", "skin"})
    assert extract_choice("The answer is dermatology.", fields) == Extraction("skin", "answer_is")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", ""),
        ("The answer is B.", "The answer is B."),
        ("<think>\nx\n</think>\n\nB", "B"),
        ("x</think>B", "B"),
        ("<THINK>x</Think>B", "B"),
        ("<thinking>x</thinking>B", "B"),
        ("<think>x</think>A<think>y</think>B", "B"),
        ("<think>x", ""),
        ("<think>x</think>A<think>y", ""),
        ("<think>\n## Final Answer\nB", ""),
        ("## Thinking\n\nx\n\n## Final Response\n\nB", "B"),
        ("## Thinking\n\nx", ""),
        ("### **Final Answer:** B", "B"),
        ("## Final answers of others\nB", "## Final answers of others\nB"),
        ("x <answer> B </answer> y", "B"),
        ("<answer>A</answer> or <answer>B</answer>", "B"),
        ("x <answer>B", "B"),
        ("<answer>## Final Answer\nB</answer>", "B"),
        ("Final answer: B", "Final answer: B"),
        ("p < 0.05 and # 3", "p < 0.05 and # 3"),
    ],
)
def test_final_part(text: str, part: str) -> None:
    assert final_part(text) == part


MARKS = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "\n## Final Answer\n",
        "\n## Final Response\n",
        "\n## Thinking\n",
        "x",
        " ",
    ]
)


@given(text=st.lists(MARKS, max_size=12).map("".join))
@settings(max_examples=500, deadline=None)
def test_final_part_of_a_final_part_is_itself(text: str) -> None:
    assert final_part(final_part(text)) == final_part(text)


@pytest.mark.parametrize(
    "unit",
    [
        "A ",
        "(",
        "((A) ",
        "answer is ",
        "The answer is A or ",
        "the best ",
        "\\boxed{",
        "{{",
        "A, and ",
        "is correct ",
        "<answer>",
        "<think>",
        "</think>",
        "Answer:\n",
        "option ",
        "choose ",
        '{"answer": ',
        "no, wait, ",
        "- ",
        "\n",
        "\t ",
        "**",
        "if ",
        "A (",
        "B, x",
        ". B. x ",
        "aspirin ",
        "aspirin and ",
        "not ",
        "so ",
        "答案是",
        "5.",
        "\\text{",
        "#",
        ">",
        "'",
        "(A) is ",
    ],
)
@pytest.mark.parametrize("end", ["", " A is x!"])
def test_a_long_monotonous_text_is_read_to_its_end(unit: str, end: str) -> None:
    """A pattern that backtracks without bound would run into the suite's time limit."""
    text = unit * (200_000 // len(unit)) + end
    extract_choice(text, DRUGS)
    extract_labels(text, DRUGS)
    final_part(text)


LETTERS = st.sampled_from(string.ascii_uppercase[:14])
WORDS = st.sampled_from(
    [
        "the answer is",
        "Answer:",
        "not",
        "but",
        "A",
        "I",
        "B.",
        "(c)",
        "\\boxed{",
        "}",
        "option",
        "\n",
        "**",
        "is correct",
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(st.one_of(WORDS, LETTERS), max_size=30).map(" ".join))
OPTIONS = st.lists(st.tuples(LETTERS, st.text(max_size=30)), max_size=14, unique_by=lambda option: option[0])


@given(text=TEXTS, options=OPTIONS)
@settings(max_examples=500, deadline=None)
def test_letter_is_always_one_of_the_options(text: str, options: list[tuple[str, str]]) -> None:
    found = extract_choice(text, options)
    assert found.letter is None or found.letter in dict(options)
    assert (found.letter is None) == (found.method == "none")


@given(options=st.lists(st.text(max_size=30), min_size=2, max_size=14), data=st.data(), prose=st.text(max_size=100))
@settings(max_examples=300, deadline=None)
def test_last_plain_statement_wins_after_any_prose(options: list[str], data: st.DataObject, prose: str) -> None:
    lettered = list(zip(string.ascii_uppercase, options, strict=False))
    letter = data.draw(st.sampled_from([letter for letter, _ in lettered]))
    assert extract_choice(f"{prose}\n\nThe answer is ({letter}).", lettered).letter == letter


@pytest.mark.real_data
def test_every_option_of_real_questions_is_read_back(real_data: Path) -> None:
    """The completion's own form, and three more, for each of 21,824 real options."""
    misread = []
    for options in _real_options(real_data):
        for letter, text in options:
            for answer in (f"The answer is {letter}. {text}", f"**Answer: {letter}**", f"({letter}) {text}", letter):
                if extract_choice(answer, options).letter != letter:
                    misread.append((answer, options))
    assert misread == []


def _real_options(folder: Path) -> list[list[tuple[str, str]]]:
    medqa = [json.loads(line) for line in (folder / "medqa_usmle_test.jsonl").open(encoding="utf-8")]
    medmcqa = [json.loads(line) for line in (folder / "medmcqa_dev.jsonl").open(encoding="utf-8")]
    columns = ("opa", "opb", "opc", "opd")
    return [
        *(list(row["options"].items()) for row in medqa),
        *(list(zip("ABCD", (row[column] for column in columns), strict=True)) for row in medmcqa),
    ]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("Appendicitis", "appendicitis"),
        ("Appendicitis", "The diagnosis is acute **appendicitis**."),
        ("The aortic valve", "Aortic valve."),
        ("yes", "Answer: Yes."),
        ("no", "There is some doubt.\n\nNo"),
        ("42", r"So \boxed{42}"),
        ("Na+", "The answer is Na+"),
        ("No treatment", "The best course is no treatment at all."),
        ("β-blocker", "Give a β blocker."),
        ("2.5 mg", "The answer is 2.5 mg. Give it slowly."),
    ],
)
def test_free_text_states_the_answer(answer: str, text: str) -> None:
    assert text_matches(answer, text)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("", ""),
        ("", "anything"),
        ("...", "..."),
        ("Appendicitis", ""),
        ("Appendicitis", "This is not appendicitis."),
        ("no", "There is no doubt that it is so."),
        ("Na+", "Na-"),
        ("< 5 cm", "> 5 cm"),
        ("5 mg", "15 mg"),
        ("5 mg", "2.5 mg"),
        ("दिल", "दाल"),
        ("Heart failure", "The heart is a failure-free pump."),
    ],
)
def test_free_text_does_not_state_the_answer(answer: str, text: str) -> None:
    assert not text_matches(answer, text)


def test_every_kind_of_statement_is_read_by_its_own_method() -> None:
    """A trigger that never fires would go unnoticed where another method finds the same letter."""
    texts: dict[Method, str] = {
        "answer_is": "So the answer is B, not A.",
        "answer_label": "Answer: B, not A.",
        "answer_heading": "**Final answer**\n\nB. It is not A.",
        "other_language": "La respuesta es B, y no A.",
        "choose": "I choose B over A.",
        "therefore": "It is not A. Therefore, B.",
        "boxed": "It is not A: \\boxed{B}",
        "json": '{"wrong": "A", "answer": "B"}',
        "verdict": "Option B is correct, A is not.",
        "marker": "<answer>B, not A</answer>",
    }
    assert texts.keys() == statements.METHODS
    for method, text in texts.items():
        assert extract_choice(text, DRUGS) == Extraction("B", method)


def test_every_other_method_is_named_for_the_form_it_reads() -> None:
    texts: dict[Method, str] = {
        "lone_letter": "It is not A.\n\nB",
        "leading_letter": "B because A bleeds",
        "option_text": "Ibuprofen",
        "leading_text": "Ibuprofen, because it is cheap.",
        "labelled_line": "B. Ibuprofen",
        "only_letter": "The findings fit (B) well.",
        "only_text": "The patient should be given ibuprofen.",
    }
    for method, text in texts.items():
        assert extract_choice(text, DRUGS) == Extraction("B", method)
    assert extract_labels("A, B", DRUGS).method == "list"
    assert {*texts, *statements.METHODS, "list", "none"} == set(get_args(Method))


@pytest.mark.parametrize("between", ["", " ", "\n\n"])
def test_the_ending_of_a_long_text_is_read_as_the_whole_of_it(between: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prose = "The patient is a man with chest pain that began two hours ago, and both of his lungs are clear. " * 14
    outputs = [(f"{prose}{between}{text}", options) for text, options, _, _ in CASES]
    quick = [extract_choice(text, options) for text, options in outputs]
    monkeypatch.setattr(extraction, "_ENDING", sys.maxsize)  # now no text is long
    assert [extract_choice(text, options) for text, options in outputs] == quick
