"""The curation of a real file, MedMCQA's development set: every count against a computation of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import chisquare
from transformers import AutoTokenizer

from curation.stage import run
from registry.catalog import Columns, DatasetEntry
from registry.stage import StageOutput
from scoring.extraction import extract_choice
from tests.stages import make_context
from tests.tiny import make_tiny_model

pytestmark = pytest.mark.real_data

COLUMNS = Columns(
    options=("opa", "opb", "opc", "opd"),
    answer_idx="cop",
    reasoning="exp",
    specialty="subject_name",
    source="choice_type",
)
TEXTS = ("opa", "opb", "opc", "opd")
IN_PASSING = ("lone_letter", "leading_letter", "option_text", "labelled_line", "only_letter", "only_text")
LONG, WANTED = 200, 300
LIMITS = {"truncation_tokens": [64, 100], "max_tokens": 1500}


@pytest.fixture(scope="module")
def records(real_data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (real_data / "medmcqa_dev.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def output(real_data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> StageOutput:
    entry = DatasetEntry(file_path=str(real_data / "medmcqa_dev.jsonl"), columns=COLUMNS, answer_index_base=1)
    curation = {"method": "s1", "n_samples": WANTED, "long_tokens": LONG, "quality": LIMITS, "difficulty": None}
    return run(make_context(tmp_path_factory.mktemp("run"), model, train=entry, curation=curation))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()


def expected_reasons(records: list[dict[str, Any]], model: Path) -> list[str | None]:
    """What the quality filter should say of each record, from the raw file."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    seen: set[tuple[str, ...]] = set()
    expected: list[str | None] = []
    for record in records:
        texts = [record[name].strip() for name in TEXTS]
        reasoning = (record["exp"] or "").strip()
        tokens = len(tokenizer(reasoning, add_special_tokens=False)["input_ids"])
        question = (squeezed(record["question"]), *sorted(map(squeezed, texts)))
        concluded = extract_choice(reasoning[-400:], list(zip("ABCD", texts, strict=True)))
        explicit = concluded.method not in (*IN_PASSING, "none")
        reason = None
        if not reasoning:
            reason = "missing reasoning"
        elif tokens in (64, 100):
            reason = f"truncated at {tokens} tokens"
        elif tokens > 1500:
            reason = "reasoning over 1500 tokens"
        elif len(set(map(squeezed, texts))) < 4:
            reason = "repeated options"
        elif explicit and concluded.letter != "ABCD"[record["cop"] - 1]:
            reason = "reasoning concludes another answer than the gold one"
        elif question in seen:
            reason = "repeats an earlier question"
        if reason is None:
            seen.add(question)
        expected.append(reason)
    return expected


def test_every_row_has_its_reason_and_every_count_is_right(
    records: list[dict[str, Any]], model: Path, output: StageOutput
) -> None:
    expected = expected_reasons(records, model)
    table = pd.read_parquet(output.artifacts["filtered_path"])
    assert list(table["question"]) == [record["question"].strip() for record in records]
    quality = table["filter_reason"].where(table["filter_stage"] == "quality", None)
    assert [reason if isinstance(reason, str) else None for reason in quality] == expected

    counts = pd.Series([reason for reason in expected if reason]).value_counts().to_dict()
    assert {"missing reasoning", "repeated options", "truncated at 64 tokens"} <= counts.keys()
    assert counts["missing reasoning"] == 1977
    assert output.metrics["reasons"]["quality"] == counts
    passed = table[[reason is None for reason in expected]]
    long = passed[passed["reasoning_tokens"] >= LONG]
    assert len(long) > WANTED
    assert output.metrics["reasons"]["selection"] == {
        "not drawn": len(long) - WANTED,
        f"reasoning shorter than {LONG} tokens": len(passed) - len(long),
    }
    assert output.metrics["funnel"] == {"total": 4183, "after_quality": len(passed), "after_selection": WANTED}


def test_the_selection_is_long_and_more_even_over_the_subjects_than_the_file(output: StageOutput) -> None:
    table = pd.read_parquet(output.artifacts["filtered_path"])
    chosen = table[table["selected_for_training"]]
    assert len(chosen) == WANTED
    assert chosen["reasoning_tokens"].min() >= LONG
    assert output.metrics["specialties"] == chosen["specialty"].value_counts().to_dict()
    pool = table[(table["filter_stage"] != "quality") & (table["reasoning_tokens"] >= LONG)]
    available = pool["specialty"].value_counts()
    shares = chosen["specialty"].value_counts().reindex(available.index, fill_value=0)
    unlimited = shares[shares < available]
    assert len(unlimited) > 15
    assert chisquare(unlimited).pvalue > 1e-4
    assert chisquare(available[unlimited.index]).pvalue < 1e-50  # the file itself is far from even
    assert chosen["reasoning_tokens"].median() > pool["reasoning_tokens"].median()
