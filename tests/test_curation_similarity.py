"""Selection by similarity, against a plain computation of the turns; the queries that a config names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.ledger import open_ledger
from curation.methods import METHODS
from curation.methods.pool import pool_of
from curation.methods.similarity import OTHERS_NEARER, closest, take_turns
from curation.stage import UNCHECKED, run
from registry.catalog import DatasetEntry
from registry.curation_schema import curation_of
from registry.errors import UsageError
from registry.stage import StageContext, StageOutput
from tests.stages import make_context, record, row, write_jsonl
from tests.tiny import make_tiny_model


def vectors(seed: int, count: int, dimension: int = 8) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def turns_one_by_one(rows: np.ndarray, queries: np.ndarray, wanted: int) -> list[int]:
    """The definition: each query in turn takes the best of what is left, the first of equal ones."""
    taken: list[int] = []
    while len(taken) < wanted:
        query = queries[len(taken) % len(queries)]
        left = [index for index in range(len(rows)) if index not in taken]
        taken.append(max(left, key=lambda index: (round(float(np.dot(rows[index], query)), 5), -index)))
    return taken


@pytest.mark.parametrize(("rows", "queries", "wanted"), [(60, 7, 25), (60, 1, 60), (40, 90, 13), (150, 140, 150)])
def test_the_turns_are_those_of_the_definition(rows: int, queries: int, wanted: int) -> None:
    table, asked = vectors(1, rows), vectors(2, queries)
    table[1::5] = table[0]  # equal rows go in the order of their ids
    assert take_turns(table, asked, wanted) == turns_one_by_one(table, asked, wanted)


def test_queries_that_all_want_the_same_rows_get_the_next_best() -> None:
    table = vectors(1, 150)
    asked = np.repeat(vectors(2, 1), 50, axis=0)
    assert take_turns(table, asked, 145) == turns_one_by_one(table, asked[:1], 145)


def test_all_but_the_taken_rows_are_left_out() -> None:
    entries = open_ledger([row(number) for number in range(30)], [10] * 30)
    pool = replace(pool_of(entries), embeddings=vectors(1, 30), queries=vectors(2, 4))
    config = curation_of({"method": "embedding-similarity", "n_samples": 12, "embedding_model": "x", "queries": "y"})
    expected = turns_one_by_one(vectors(1, 30), vectors(2, 4), 12)
    left_out = {entry.row.id for index, entry in enumerate(pool.entries) if index not in expected}
    assert METHODS["embedding-similarity"](pool, config) == dict.fromkeys(left_out, OTHERS_NEARER)
    assert METHODS["embedding-similarity"](pool, config.model_copy(update={"n_samples": 99})) == {}


def test_the_closest_query_of_each_row() -> None:
    table, asked = vectors(1, 50), vectors(2, 600)
    np.testing.assert_allclose(closest(table, asked), (table @ asked.T).max(axis=1), atol=1e-6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), hidden=16, layers=1)


def context_of(
    folder: Path, model: Path, records: list[dict[str, Any]], queries: list[str], **config: Any
) -> StageContext:
    folder.mkdir()
    data = DatasetEntry(file_path=str(write_jsonl(folder / "rows.jsonl", records)))
    asked = write_jsonl(folder / "queries.jsonl", [{"question": question} for question in queries])
    curation = {"method": "embedding-similarity", "embedding_model": "hashing", "queries": "asked", **config}
    context = make_context(folder / "run", model, train=data, curation=curation)
    entry = DatasetEntry(file_path=str(asked))
    return replace(context, config=context.config.model_copy(update={"query_dataset": entry}))


KIDNEY, SKIN = "Which kidney disease causes swelling?", "What treats a rash of the skin?"
RECORDS = [
    record(
        number, question=f"{(KIDNEY, SKIN, 'Who has fractured a rib?')[number % 3]} Case {number}", reasoning="So it is"
    )
    for number in range(24)
]


def questions(output: StageOutput) -> list[str]:
    import pandas as pd

    found: list[str] = pd.read_parquet(output.artifacts["curated_path"])["question"].tolist()
    return found


def test_a_config_takes_its_rows_in_the_queries_turns_whatever_the_order_of_the_files(
    tmp_path: Path, model: Path
) -> None:
    first = run(context_of(tmp_path / "a", model, RECORDS, [KIDNEY, SKIN, KIDNEY, ""], n_samples=6))
    assert sorted(text.split("?")[0] for text in questions(first)) == [SKIN[:-1]] * 3 + [KIDNEY[:-1]] * 3
    assert first.metrics["selection"]["queries"] == 2
    assert first.metrics["selection"]["similarity"]["max"] > 0.8 > first.metrics["selection"]["similarity"]["min"]
    assert (first.metrics["warnings"], "eval_queries" in first.metrics["selection"]) == ([UNCHECKED], False)
    second = run(context_of(tmp_path / "b", model, RECORDS[::-1], ["", KIDNEY, SKIN], n_samples=6))
    tables = [output.artifacts["curated_path"].read_bytes() for output in (first, second)]
    assert tables[0] == tables[1]


def test_a_benchmark_as_queries_is_marked(tmp_path: Path, model: Path) -> None:
    output = run(context_of(tmp_path / "a", model, RECORDS, [SKIN], n_samples=2, eval_queries=True))
    assert output.metrics["selection"]["eval_queries"] is True
    assert "asked" in output.metrics["warnings"][0]
    assert "benchmark" in output.metrics["warnings"][0]


def test_a_query_set_without_questions_is_one_line(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UsageError, match="data set 'asked': no row has a question"):
        run(context_of(tmp_path / "a", model, RECORDS, ["", " "], n_samples=2))
