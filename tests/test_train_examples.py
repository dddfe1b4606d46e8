"""Tokenized rows: the loss is on the completion only, and what does not fit is counted."""

from pathlib import Path
from typing import Any

import pytest

from registry.errors import StageFailure
from tests.tiny import make_tiny_model
from tests.training_case import conversation
from train.examples import IGNORED, Limit, tokenize
from train.task import load_tokenizer

WIDE = Limit(10_000, "drop")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> Any:
    return load_tokenizer(model)


ROWS = [conversation(number) for number in range(10)]


def test_exactly_the_completion_is_learned(tokenizer: Any) -> None:
    tokenized = tokenize(ROWS, tokenizer, WIDE)
    for row, example in zip(ROWS, tokenized.dataset, strict=True):
        learned = [label for label in example["labels"] if label != IGNORED]
        assert tokenizer.decode(learned) == row["completion"][0]["content"] + "<|im_end|>\n"
        assert example["input_ids"][-len(learned) :] == learned
    assert tokenized.completion_tokens == sum(len(ids) for ids in _learned(tokenized.dataset))
    assert tokenized.tokens == sum(len(ids) for ids in tokenized.dataset["input_ids"])


def test_the_rule_is_trls_own(model: Path, tokenizer: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, max_length=None, report_to="none")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=arguments,
        train_dataset=Dataset.from_list(ROWS),
        processing_class=tokenizer,
    )
    ours = tokenize(ROWS, tokenizer, WIDE).dataset
    assert trainer.train_dataset["input_ids"][:] == ours["input_ids"][:]
    assert trainer.train_dataset["labels"][:] == ours["labels"][:]


def test_rows_over_max_length_are_dropped_and_counted(tokenizer: Any) -> None:
    lengths = [len(ids) for ids in tokenize(ROWS, tokenizer, WIDE).dataset["input_ids"]]
    limit = sorted(lengths)[len(lengths) // 2]
    tokenized = tokenize(ROWS, tokenizer, Limit(limit, "drop"))
    assert tokenized.rows_dropped == sum(length > limit for length in lengths) > 0
    assert [len(ids) for ids in tokenized.dataset["input_ids"]] == [length for length in lengths if length <= limit]
    assert tokenized.rows_cut == 0


def test_rows_over_max_length_are_cut_at_their_end_and_counted(tokenizer: Any) -> None:
    whole = tokenize(ROWS, tokenizer, WIDE).dataset
    limit = max(len(ids) for ids in whole["input_ids"]) - 3
    tokenized = tokenize(ROWS, tokenizer, Limit(limit, "cut"))
    assert tokenized.rows_cut == sum(len(ids) > limit for ids in whole["input_ids"]) > 0
    assert (tokenized.rows, tokenized.rows_dropped) == (len(ROWS), 0)
    assert tokenized.dataset["input_ids"][:] == [ids[:limit] for ids in whole["input_ids"]]
    assert tokenized.dataset["labels"][:] == [labels[:limit] for labels in whole["labels"]]


def test_a_row_that_cutting_leaves_without_completion_stops_the_training(tokenizer: Any) -> None:
    with pytest.raises(StageFailure, match="row row0 has no completion token within max_length 10"):
        tokenize(ROWS, tokenizer, Limit(10, "cut"))


def test_a_row_without_a_completion_stops_the_training(tokenizer: Any) -> None:
    with pytest.raises(StageFailure, match="row row2 has an empty completion"):
        tokenize([*ROWS[:2], {**ROWS[2], "completion": []}], tokenizer, WIDE)


def _learned(dataset: Any) -> list[list[int]]:
    return [[label for label in labels if label != IGNORED] for labels in dataset["labels"]]
