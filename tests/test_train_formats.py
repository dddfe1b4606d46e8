"""From a row of data to the tokens that are learned: in every format, with the chat templates of many families."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.formatting import training_example
from data.rows import Row
from eval.models import answer_format
from inference.formats import FORMATS, ChatFormat
from inference.prompts import system_prompt
from registry.errors import StageFailure, UsageError
from registry.fields import FormatName
from tests.chat_templates import CHATML, GEMMA, LLAMA3, NEMOTRON, QWEN3, TEMPLATES, THINKING, TURN_ENDS
from tests.stages import row
from tests.tiny import make_tiny_model
from tests.training_case import Case, make_case
from train.examples import IGNORED, Limit, tokenize
from train.task import load_tokenizer, prepare

WIDE = Limit(10_000, "drop")
BRACKETS = (
    "[K+] 5.9 mmol/L, [Na+] 135-145, HCO3- [22, 28), (0,1], <120/80>, {x}, {{ creatinine }}, {% if x %}, {# note #}, "
    "{0!r}, %s, ${AGE}, \\[x\\], <b>bold</b>, <unk>, [MASK], a < b > c, [1], [[2]], 「注」"
)
REASONING = f"Potassium is high: {BRACKETS}\n\n1. [Na+] is normal.\n2. So it is B"
FORMAT_NAMES = get_args(FormatName)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def tokenizer_with(model: Path, template: str) -> Any:
    tokenizer = load_tokenizer(model)
    tokenizer.chat_template = template
    return tokenizer


def bracketed(number: int = 1) -> Row:
    options = {letter: f"{letter} {BRACKETS}" for letter in "ABCD"}
    return row(number, question=f"What is it in patient {number}? {BRACKETS}", reasoning=REASONING, options=options)


def learned(tokenizer: Any, tokenized: Any) -> tuple[str, str]:
    """The text before the loss begins and the text that it is on, of the only row."""
    tokens, labels = (tokenized.dataset[0][name] for name in ("input_ids", "labels"))
    start = sum(label == IGNORED for label in labels)
    assert labels[start:] == tokens[start:]
    return tokenizer.decode(tokens[:start]), tokenizer.decode(tokens[start:])


# Gemma's template takes no system prompt, which nemotron has: refused, see below.
@pytest.mark.parametrize(
    ("family", "name"),
    [(family, name) for family in TEMPLATES for name in FORMAT_NAMES if (family, name) != ("gemma", "nemotron")],
)
def test_the_loss_is_on_the_completion_and_the_context_is_what_inference_sends(
    model: Path, family: str, name: FormatName
) -> None:
    tokenizer, chat_format = tokenizer_with(model, TEMPLATES[family]), FORMATS[name]
    example = training_example(bracketed(), chat_format, system_prompt(chat_format, None))
    before, after = learned(tokenizer, tokenize([example], tokenizer, WIDE, chat_format.opening))
    assert before == tokenizer.apply_chat_template(example["prompt"], tokenize=False, add_generation_prompt=True)
    completion = example["completion"][0]["content"]
    if family == "thinking" and name in ("qwen", "nemotron"):
        completion = completion.removeprefix("<think>\n")  # the generation prompt has it
    space = " " if family == "mistral" else ""
    assert after == space + completion + TURN_ENDS[family]
    assert before.count(BRACKETS) == 5  # the question and its options
    thinking, answer = chat_format.split(after.removesuffix(TURN_ENDS[family]))
    taught = (thinking or "") + answer
    assert REASONING in taught
    assert answer.endswith(f"The answer is B. B {BRACKETS}")


@pytest.mark.parametrize("name", FORMAT_NAMES)
@settings(max_examples=40, deadline=None)
@given(text=st.text(st.sampled_from("[](){}<>%#|/\\$-+=,. ab1\n"), min_size=1, max_size=60).filter(str.strip))
def test_any_bracketed_text_comes_back_from_its_tokens(model: Path, name: FormatName, text: str) -> None:
    chat_format, tokenizer = FORMATS[name], _loaded(model)
    example = training_example(row(1, reasoning=text, question=f"Q {text}?"), chat_format, None)
    before, after = learned(tokenizer, tokenize([example], tokenizer, WIDE, chat_format.opening))
    assert f"Q {text}?" in before
    assert after == example["completion"][0]["content"] + TURN_ENDS["chatml"]
    assert text.strip() in after


def test_curation_training_and_eval_follow_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(tmp_path)
    monkeypatch.setitem(FORMATS, "huatuo", ChatFormat("huatuo", "<plan>\n", "\n</plan>\n"))
    chat_format = answer_format(case.config)
    assert chat_format is FORMATS["huatuo"]
    example = training_example(row(1), FORMATS["huatuo"], None)
    assert chat_format.split(example["completion"][0]["content"])[0] == row(1).reasoning.strip()
    assert learned_by(case, example).startswith("<plan>\n")
    tokenizer = load_tokenizer(Path(str(case.config.model.file_path)))
    tokenizer.chat_template = CHATML.replace("assistant\n{% endif", "assistant\n<plan>\n{% endif")
    tokenizer.save_pretrained(str(case.config.model.file_path))
    assert not learned_by(case, example).startswith("<plan>")


def learned_by(case: Case, example: dict[str, Any]) -> str:
    """What the training stage would learn from the example."""
    from datasets import Dataset, DatasetDict

    dataset = case.dataset.with_name(f"formatted{len(list(case.dataset.parent.iterdir()))}")
    DatasetDict({"train": Dataset.from_list([example])}).save_to_disk(str(dataset))
    task = prepare(Case(case.config, case.run_dir, dataset).context())
    return learned(task.tokenizer, task.train)[1]


def test_a_default_system_block_is_given_and_not_learned(model: Path) -> None:
    tokenizer = tokenizer_with(model, LLAMA3)
    before, after = learned(tokenizer, tokenize([training_example(row(1), FORMATS["plain"], None)], tokenizer, WIDE))
    assert "Cutting Knowledge Date" in before
    assert "header" not in after


@pytest.mark.parametrize("template", [QWEN3, NEMOTRON, THINKING])
def test_thinking_that_a_template_would_cut_or_empty_is_learned(model: Path, template: str) -> None:
    tokenizer, chat_format = tokenizer_with(model, template), FORMATS["huatuo"]
    example = training_example(row(1), chat_format, None)
    _, after = learned(tokenizer, tokenize([example], tokenizer, WIDE, chat_format.opening))
    assert after.startswith("## Thinking")
    assert "think>" not in after


def test_a_template_that_refuses_a_system_prompt_is_named_with_the_row(model: Path) -> None:
    tokenizer, chat_format = tokenizer_with(model, GEMMA), FORMATS["nemotron"]
    example = training_example(row(1), chat_format, system_prompt(chat_format, None))
    expected = r"row .* refuses the messages \(system, user\): System role not supported; choose a curation.format"
    with pytest.raises(UsageError, match=expected):
        tokenize([example], tokenizer, WIDE, chat_format.opening)


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}", "has no"),
        ("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}", "does not end the"),
    ],
)
def test_a_template_without_a_whole_assistant_turn_is_refused(model: Path, template: str, what: str) -> None:
    with pytest.raises(UsageError, match=f"chat template {what} assistant's turn") as raised:
        tokenize([training_example(row(1), FORMATS["plain"], None)], tokenizer_with(model, template), WIDE)
    assert "\n" not in str(raised.value)


def test_a_row_without_an_answer_stops_the_training_with_its_id(model: Path) -> None:
    example = {
        **training_example(row(1), FORMATS["plain"], None),
        "completion": [{"role": "assistant", "content": " "}],
    }
    with pytest.raises(StageFailure, match=f"row {row(1).id} has an empty completion"):
        tokenize([example], _loaded(model), WIDE)


def test_rows_keep_their_order_and_ids_over_many_batches(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.examples.BATCH", 3)
    examples = [training_example(row(number), FORMATS["qwen"], None) for number in range(8)]
    tokenizer = _loaded(model)
    tokenized = tokenize(examples, tokenizer, WIDE, FORMATS["qwen"].opening)
    assert tokenized.ids == tuple(example["id"] for example in examples)
    assert tokenized.lengths == tuple(len(tokens) for tokens in tokenized.dataset["input_ids"])
    for example, tokens in zip(examples, tokenized.dataset["input_ids"], strict=True):
        assert example["prompt"][-1]["content"] in tokenizer.decode(tokens)


def _loaded(model: Path) -> Any:
    return tokenizer_with(model, CHATML)
