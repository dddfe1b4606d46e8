"""The curation of a real file, MedMCQA's development set: every count against a computation of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import chisquare
from transformers import AutoTokenizer

from curation.stage import run
from data.load import load_rows
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
def dataset(real_data: Path) -> DatasetEntry:
    return DatasetEntry(file_path=str(real_data / "medmcqa_dev.jsonl"), columns=COLUMNS, answer_index_base=1)


@pytest.fixture(scope="module")
def output(
    real_data: Path, dataset: DatasetEntry, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> StageOutput:
    curation = {"method": "s1", "n_samples": WANTED, "long_tokens": LONG, "quality": LIMITS, "difficulty": None}
    context = make_context(tmp_path_factory.mktemp("run"), model, train=dataset, curation=curation)
    benchmarks = {"medqa": DatasetEntry(file_path=str(real_data / "medqa_usmle_test.jsonl"))}
    return run(replace(context, config=context.config.model_copy(update={"benchmarks": benchmarks})))


@pytest.fixture(scope="module")
def table(dataset: DatasetEntry, output: StageOutput) -> pd.DataFrame:
    """Every row with its fate, in the order of the file."""
    found = pd.read_parquet(output.artifacts["filtered_path"])
    assert list(found["id"]) == sorted(found["id"])
    return found.set_index("id").loc[[row.id for row in load_rows("medmcqa", dataset)]]


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()


def expected_reasons(records: list[dict[str, Any]], model: Path) -> list[str | None]:
    """What the quality filter should say of each record, from the raw file."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    expected: list[str | None] = []
    for record in records:
        texts = [record[name].strip() for name in TEXTS]
        reasoning = (record["exp"] or "").strip()
        tokens = len(tokenizer(reasoning, add_special_tokens=False)["input_ids"])
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
        expected.append(reason)
    return expected


def similarities(texts: Sequence[Sequence[str]]) -> csr_matrix:
    """The Jaccard similarity of the texts' shingles of three words, of shape (texts, texts), as a sparse product."""
    numbers: dict[str, int] = {}
    rows, columns = [], []
    for place, parts in enumerate(texts):
        words = [re.sub(r"[\W_]+", " ", part.casefold()).split() for part in parts]
        held = {" ".join(each[at : at + 3]) for each in words if each for at in range(max(1, len(each) - 2))}
        rows += [place] * len(held)
        columns += [numbers.setdefault(shingle, len(numbers)) for shingle in held]
    held_by = csr_matrix(([1.0] * len(rows), (rows, columns)))
    shared = (held_by @ held_by.T).tocoo()
    sizes = held_by.sum(axis=1).A1
    ratios = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data)
    return csr_matrix((ratios, (shared.row, shared.col)), shape=shared.shape)


def repeats(records: list[dict[str, Any]], tokens: Sequence[int], ids: Sequence[str]) -> dict[str, str]:
    """Row id -> why the filter of duplicates should remove it, from the raw file."""
    alone = similarities([[record["question"]] for record in records])
    whole = similarities([[record["question"], *(record[name] for name in TEXTS)] for record in records])
    near = (alone >= 0.8).multiply(whole >= 0.8).tolil()
    asked = [(squeezed(r["question"]), *sorted(squeezed(r[name].strip()) for name in TEXTS)) for r in records]
    kept: list[int] = []
    removed: dict[str, str] = {}
    for place in sorted(range(len(records)), key=lambda place: (-tokens[place], ids[place])):
        if any(asked[place] == asked[other] for other in kept):
            removed[ids[place]] = "repeats another row's question"
        elif set(near.rows[place]) & set(kept):
            removed[ids[place]] = "nearly repeats another row's question"
        else:
            kept.append(place)
    return removed


def test_every_row_has_its_reason_and_every_count_is_right(
    records: list[dict[str, Any]], model: Path, output: StageOutput, table: pd.DataFrame
) -> None:
    expected = expected_reasons(records, model)
    assert list(table["question"]) == [record["question"].strip() for record in records]
    quality = table["filter_reason"].where(table["filter_stage"] == "quality", None)
    assert [reason if isinstance(reason, str) else None for reason in quality] == expected

    counts = pd.Series([reason for reason in expected if reason]).value_counts().to_dict()
    assert {"missing reasoning", "repeated options", "truncated at 64 tokens"} <= counts.keys()
    assert counts["missing reasoning"] == 1977
    assert output.metrics["reasons"]["quality"] == counts
    passed = [reason is None for reason in expected]
    clean = [record for record, good in zip(records, passed, strict=True) if good]
    removed = repeats(clean, list(table["reasoning_tokens"][passed]), list(table.index[passed]))
    duplicates = table["filter_reason"][table["filter_stage"] == "duplicates"]
    assert duplicates.to_dict() == removed
    assert len(removed) > 5

    left = table[passed].drop(index=list(removed))
    long = left[left["reasoning_tokens"] >= LONG]
    assert len(long) > WANTED
    assert output.metrics["reasons"]["selection"] == {
        "not drawn": len(long) - WANTED,
        f"reasoning shorter than {LONG} tokens, and enough rows are longer": len(left) - len(long),
    }
    assert output.metrics["funnel"] == {
        "total": 4183,
        "after_quality": sum(passed),
        "after_decontamination": sum(passed),
        "after_duplicates": len(left),
        "after_selection": WANTED,
    }


def test_no_question_of_medqa_is_in_medmcqa(output: StageOutput) -> None:
    found = output.metrics["decontamination"]["medqa"]
    assert (found["questions"], found["without_ngrams"], found["rows"]) == (1273, 0, 0)


def test_the_selection_is_long_and_more_even_over_the_subjects_than_the_file(
    output: StageOutput, table: pd.DataFrame
) -> None:
    chosen = table[table["selected_for_training"]]
    assert len(chosen) == WANTED
    assert chosen["reasoning_tokens"].min() >= LONG
    assert output.metrics["specialties"] == chosen["specialty"].value_counts().to_dict()
    reached = table["filter_stage"].isna() | (table["filter_stage"] == "selection")
    pool = table[reached & (table["reasoning_tokens"] >= LONG)]
    available = pool["specialty"].value_counts()
    shares = chosen["specialty"].value_counts().reindex(available.index, fill_value=0)
    unlimited = shares[shares < available]
    assert len(unlimited) > 15
    assert chisquare(unlimited).pvalue > 1e-4
    assert chisquare(available[unlimited.index]).pvalue < 1e-50  # the file itself is far from even
    assert chosen["reasoning_tokens"].median() > pool["reasoning_tokens"].median()
