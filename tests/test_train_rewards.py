"""A GRPO training before its first step: what is rewarded, what is read in which order, what is counted and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from inference.formats import FORMATS
from registry.errors import UsageError
from registry.training_schema import RewardName
from tests.grpo_case import make_grpo_case, question, save_questions
from train import method
from train.grpo_task import prepare, question_order
from train.rewards import rewards_of, trl_function

NAMES: list[RewardName] = ["accuracy", "format", "letter", "token_f1"]
HUATUO = FORMATS["huatuo"]
OPEN: dict[str, Any] = {"options": [], "answer_idx": None}


def reward(name: RewardName, said: str, **changes: Any) -> float:
    """What TRL gets for one completion of a question whose gold option is "B. two"."""
    row = {"begun": "", **question(1), **changes}
    columns = {column: [value] for column, value in row.items() if column not in ("prompt", "completion")}
    completions = [[{"role": "assistant", "content": said}]]
    function = trl_function(name, rewards_of(NAMES, HUATUO)[name])
    assert function.__name__ == name  # TRL logs it under this name
    [found] = function(completions=completions, prompts=[[]], completion_ids=[[1]], trainer_state=None, **columns)
    return found


def test_the_rewards_of_a_question_with_options() -> None:
    right = HUATUO.completion("not A", "The answer is B. two")
    assert [reward(name, right) for name in ("accuracy", "format", "letter")] == [1.0, 1.0, 1.0]
    assert 0 < reward("token_f1", right) < 1
    assert reward("token_f1", HUATUO.completion("not A", "two")) == 1.0
    wrong = HUATUO.completion("The answer is B", "The answer is A")
    assert [reward(name, wrong) for name in NAMES] == [0.0, 1.0, 0.0, 0.0]
    assert [reward(name, "") for name in NAMES] == [0.0] * 4


def test_a_wrong_letter_with_the_right_text_is_no_right_answer() -> None:
    assert reward("accuracy", "<answer>A. two</answer>") == 0.0


def test_an_expression_equal_to_the_gold_option_is_right_without_its_letter() -> None:
    options = [{"letter": "A", "text": "1/4"}, {"letter": "B", "text": "1/2"}]
    assert reward("accuracy", "<answer>0.5</answer>", options=options, answer="1/2") == 1.0
    assert reward("letter", "<answer>0.5</answer>", options=options, answer="1/2") == 0.0


def test_the_rewards_of_a_question_without_options() -> None:
    said = HUATUO.completion("so", "<answer>\\frac{1}{2}</answer>")
    assert reward("accuracy", said, **OPEN, answer="0.5") == 1.0
    assert reward("accuracy", said, **OPEN, answer="0.25") == 0.0


def test_a_thinking_that_the_prompt_has_opened_counts_as_opened() -> None:
    rest = "so\n\n## Final Response\n\nThe answer is B"
    assert reward("format", rest) == 0.0
    assert reward("format", rest, begun=HUATUO.opening) == 1.0
    assert reward("accuracy", "The answer is B", begun="<think>\n") == 0.0  # a thinking that never ends


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
def test_an_epoch_reads_every_question_and_its_last_step_is_filled(rows: int, per_step: int, epoch: int) -> None:
    steps = question_order(rows, per_step, 42, epoch)
    assert len(steps) == -(-rows // per_step)
    assert {len(step) for step in steps} == {per_step}
    read = [number for step in steps for number in step]
    assert sorted(read[:rows]) == list(range(rows))
    assert read[rows:] == (read * per_step)[: len(read) - rows]


def test_the_order_is_seeded_and_each_epochs_own() -> None:
    orders = [question_order(30, 4, seed, epoch) for seed, epoch in ((42, 0), (42, 1), (43, 0))]
    assert orders[0] == question_order(30, 4, 42, 0)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_the_same_completions_on_any_number_of_processes(tmp_path: Path) -> None:
    case = make_grpo_case(tmp_path)
    plans = [prepare(case.context(world_size=size)).plan for size in (1, 2, 4, 32)]
    assert {plan.per_device * plan.accumulation * plan.world_size for plan in plans} == {32}
    assert [(plan.per_device, plan.accumulation) for plan in plans] == [(16, 2), (16, 1), (8, 1), (1, 1)]
    assert prepare(case.context()).steps == 18  # 3 epochs of 22 questions, 4 in a step


def test_rows_that_cannot_be_judged_or_asked_are_counted(tmp_path: Path) -> None:
    case = make_grpo_case(tmp_path, {"rewards": {"letter": 1.0, "token_f1": 0.0}})
    long = [{"role": "user", "content": "Which drug? " * 200}]
    rows = [question(number) for number in range(5)]
    rows += [
        question(5, answer_idx=None),
        question(6, answer_idx="A,C"),
        question(7, answer=" "),
        question(8, prompt=long),
    ]
    save_questions(case, rows)
    questions = prepare(case.context()).questions
    assert questions.rows == questions.dataset.num_rows == 5
    assert questions.dropped == {
        "without what the reward letter compares with": 2,
        "without what the reward token_f1 compares with": 1,
        "over max_length": 1,
    }
    tokenizer = AutoTokenizer.from_pretrained(str(case.config.model.file_path))
    asked = [
        tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        for row in rows[:5]
    ]
    assert questions.longest == max(map(len, asked))


def test_a_prompt_that_begins_the_thinking_is_noticed(tmp_path: Path) -> None:
    case = make_grpo_case(tmp_path)
    folder = Path(str(case.config.model.file_path))
    template = folder / "chat_template.jinja"
    text = template.read_text().replace("assistant\n", "assistant\n## Thinking\n\n")
    template.write_text(text)
    assert set(prepare(case.context()).questions.dataset["begun"]) == {HUATUO.opening}


@pytest.mark.parametrize(
    ("grpo", "params", "message"),
    [
        ({"max_tokens": 256}, {}, "grpo.max_tokens 256 leaves no room for a prompt in max_length 256"),
        ({}, {"max_length": 40}, r"no training row is left .22 over max_length."),
    ],
)
def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, grpo: dict[str, Any], params: dict[str, Any], message: str
) -> None:
    case = make_grpo_case(tmp_path, grpo, **params)
    with pytest.raises(UsageError, match=f"^tiny: .*{message}"):
        method.prepare(case.context())


def test_processes_that_cannot_share_the_completions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="32 rows cannot be shared by 3 processes"):
        method.prepare(make_grpo_case(tmp_path).context(world_size=3))


def test_a_data_set_of_an_older_curation_is_refused(tmp_path: Path) -> None:
    case = make_grpo_case(tmp_path)
    save_questions(case, [{name: question(1)[name] for name in ("id", "prompt", "completion")}])
    with pytest.raises(UsageError, match=r"lacks the columns answer, answer_idx, options, .* run curation again"):
        method.prepare(case.context())


def test_a_format_without_marks_has_no_format_to_reward() -> None:
    assert set(rewards_of(["accuracy"], FORMATS["plain"])) == {"accuracy"}
    with pytest.raises(UsageError, match=r'"plain" has no marks .* choose another curation.format'):
        rewards_of(["accuracy", "format"], FORMATS["plain"])
