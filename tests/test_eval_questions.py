"""How questions are put to the model: few-shot, repetitions, tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data.rows import Row
from eval.benchmarks import Benchmark
from eval.few_shot import solved_questions
from eval.questions import Question, questions_of
from inference.formats import FORMATS
from inference.prompts import user_message
from registry.catalog import DatasetEntry
from registry.effective import EffectiveConfig
from registry.errors import UsageError
from registry.schema import FewShotConfig, TaskName
from tests.stages import DRUGS, make_context, record, row, write_jsonl

OPTIONS = list(zip("ABCD", DRUGS, strict=True))
SHOTS = FewShotConfig(dataset="solved", n=2)


def config_with(tmp_path: Path, **fields: Any) -> EffectiveConfig:
    return make_context(tmp_path / "run", tmp_path, **fields).config


def put(rows: Sequence[Row], config: EffectiveConfig, task: TaskName = "choice") -> list[Question]:
    return questions_of({"exam": Benchmark("exam", "exam", task, tuple(rows))}, config, FORMATS["plain"])


def solved(tmp_path: Path, numbers: Sequence[int]) -> DatasetEntry:
    records = [record(number, "ABCD"[number % 4]) for number in numbers]
    return DatasetEntry(file_path=str(write_jsonl(tmp_path / "solved.jsonl", records)))


def test_solved_questions_stand_before_every_question_and_are_never_asked(tmp_path: Path) -> None:
    config = config_with(tmp_path, system_prompt="You are a doctor.", eval={"few_shot": {"dataset": "solved", "n": 2}})
    config = config.model_copy(update={"few_shot_dataset": solved(tmp_path, range(5))})
    asked = [row(number) for number in (0, 1, 2)]
    prompts = [question.request.messages for question in put(asked, config)]
    assert [[turn["role"] for turn in prompt] for prompt in prompts] == [
        ["system", "user", "assistant", "user", "assistant", "user"]
    ] * 3
    assert len({str(prompt[:-1]) for prompt in prompts}) == 1
    shown = {turn["content"] for turn in prompts[0][1:-1] if turn["role"] == "user"}
    assert shown == {user_message(record(number)["question"], OPTIONS, "plain") for number in (3, 4)}
    assert {turn["content"] for turn in prompts[0] if turn["role"] == "assistant"} == {
        "The answer is D. Caffeine",
        "The answer is A. Lisinopril",
    }


def test_the_same_solved_questions_are_drawn_again_and_others_with_another_seed(tmp_path: Path) -> None:
    entry = solved(tmp_path, range(30))
    draws = [solved_questions(SHOTS, entry, (), "plain", seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_too_few_solved_questions_are_refused(tmp_path: Path) -> None:
    entry = solved(tmp_path, range(3))
    asked = [row(0).question_id, row(1).question_id]
    with pytest.raises(UsageError, match=r"data set solved has 1 questions .* that no benchmark asks, n is 2"):
        solved_questions(SHOTS, entry, asked, "plain", 0)


def test_repetitions_are_those_of_the_benchmark(tmp_path: Path) -> None:
    config = config_with(tmp_path, eval={"repetitions": {"exam": 5}, "temperature": 0.7})
    assert [question.request.n for question in put([row(1)], config)] == [5]
    other = {"other": Benchmark("other", "other", "choice", (row(1),))}
    with pytest.raises(UsageError, match="names the benchmark 'exam', which is not among other"):
        questions_of(other, config, FORMATS["plain"])


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("choice", 'End your response with "The answer is X", where X is the letter of the correct option.'),
        ("labels", 'End your response with "The answers are X, Y", the letters of all correct options.'),
    ],
)
def test_the_instruction_names_the_form_of_the_answer(tmp_path: Path, task: TaskName, said: str) -> None:
    (question,) = put([row(1)], config_with(tmp_path, prompting="strict"), task)
    assert question.request.messages[-1]["content"].endswith(said)


def test_solved_questions_are_refused_where_answers_have_a_thinking(tmp_path: Path) -> None:
    config = config_with(tmp_path, eval={"few_shot": {"dataset": "solved"}})
    config = config.model_copy(update={"few_shot_dataset": solved(tmp_path, range(5))})
    benchmarks = {"exam": Benchmark("exam", "exam", "choice", (row(9),))}
    with pytest.raises(UsageError, match="few_shot shows answers without a thinking, and the format qwen has one"):
        questions_of(benchmarks, config, FORMATS["qwen"])
