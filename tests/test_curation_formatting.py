"""Training examples in every format, and the validation split."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.formatting import final_answer, split_validation, training_example
from inference.formats import FORMATS
from inference.prompts import system_prompt
from registry.fields import FormatName
from scoring.extraction import extract_choice
from tests.stages import DRUGS, row

PROMPT = "Which drug helps patient 1?\n\nA. Lisinopril\nB. Prednisone\nC. Ibuprofen\nD. Caffeine"
REASONING = "Patient 1 needs an inhibitor. The answer is B"


@pytest.mark.parametrize(
    ("name", "completion"),
    [
        ("huatuo", f"## Thinking\n\n{REASONING}\n\n## Final Response\n\nThe answer is B. Prednisone"),
        ("qwen", f"<think>\n{REASONING}\n</think>\n\nThe answer is B. Prednisone"),
        ("nemotron", f"<think>\n{REASONING}\n</think>\n\nThe answer is B. Prednisone"),
        ("plain", f"{REASONING}\n\nThe answer is B. Prednisone"),
    ],
)
def test_an_example_in_each_format(name: FormatName, completion: str) -> None:
    system = system_prompt(FORMATS[name], None)
    example = training_example(row(1), FORMATS[name], system)
    asked = [{"role": "user", "content": PROMPT}]
    if name == "nemotron":
        asked.insert(0, {"role": "system", "content": "detailed thinking on"})
    assert example == {
        "id": row(1).id,
        "prompt": asked,
        "completion": [{"role": "assistant", "content": completion}],
        "answer": "Prednisone",
        "answer_idx": "B",
        "options": [{"letter": letter, "text": text} for letter, text in zip("ABCD", DRUGS, strict=True)],
    }


@pytest.mark.parametrize("name", get_args(FormatName))
def test_without_reasoning_the_answer_stands_alone_and_is_read_as_one(name: FormatName) -> None:
    example = training_example(row(1, reasoning=" "), FORMATS[name], None)
    completion = example["completion"][0]["content"]
    assert completion == "The answer is B. Prednisone"
    assert FORMATS[name].split(completion) == (None, completion)


def test_the_models_own_system_prompt_is_used_where_the_format_has_none() -> None:
    example = training_example(row(1), FORMATS["huatuo"], system_prompt(FORMATS["huatuo"], "You are a doctor."))
    assert example["prompt"][0] == {"role": "system", "content": "You are a doctor."}
    assert system_prompt(FORMATS["nemotron"], "You are a doctor.") == "detailed thinking on"


def test_a_question_without_options_is_answered_in_its_own_words() -> None:
    assert final_answer(row(1, options=None, answer_idx=None, answer="Rest and fluids")) == "Rest and fluids"


@pytest.mark.parametrize("name", get_args(FormatName))
@pytest.mark.parametrize("gold", "ABCD")
def test_what_training_teaches_is_what_eval_reads(name: FormatName, gold: str) -> None:
    taught = row(1, gold)
    completion = training_example(taught, FORMATS[name], None)["completion"][0]["content"]
    _, answer = FORMATS[name].split(completion)
    assert extract_choice(answer, [(option.letter, option.text) for option in taught.options]).letter == gold


@given(
    st.lists(st.integers(0, 12), max_size=40),
    st.floats(0, 0.99, allow_nan=False),
    st.integers(0, 3),
)
def test_the_split_loses_no_row_and_parts_no_question(numbers: list[int], fraction: float, seed: int) -> None:
    rows = [row(number, occurrence=position) for position, number in enumerate(numbers)]
    train, validation = split_validation(rows, fraction, seed)
    assert sorted(each.id for each in train + validation) == sorted(each.id for each in rows)
    assert {each.question_id for each in train}.isdisjoint(each.question_id for each in validation)
    assert bool(validation) == (fraction > 0 and len(set(numbers)) >= 2)
    assert bool(train) == bool(rows)
    assert split_validation(list(reversed(rows)), fraction, seed)[0] == list(reversed(train))


def test_the_split_is_seeded_and_of_the_size_that_was_asked_for() -> None:
    rows = [row(number) for number in range(200)]
    train, validation = split_validation(rows, 0.05, 42)
    assert (len(train), len(validation)) == (190, 10)
    assert split_validation(rows, 0.05, 43)[1] != validation
