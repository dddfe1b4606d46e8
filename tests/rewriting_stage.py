"""Curations whose rewriter is behind a server on loopback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.rewriting.writer import written
from registry.catalog import DatasetEntry, ModelEntry
from registry.stage import StageContext
from tests.faulty_server import Body, Reply, completion
from tests.stages import make_context, record, write_jsonl

REWRITER: Mapping[str, Any] = {"model_key": "big", "engine": "openai", "retries": 2}


def rewriting_context(
    folder: Path, model: Path, url: str, records: Sequence[Mapping[str, Any]], **curation: Any
) -> StageContext:
    """A curation of `records` in `folder`, whose `shared` is the folder above's: siblings share answers."""
    folder.mkdir(parents=True, exist_ok=True)
    train = DatasetEntry(file_path=str(write_jsonl(folder / "rows.jsonl", records)))
    big = ModelEntry(api_model="big-2026", base_url=url, api_key_env="LAB_KEY", max_length=32_768)
    settings = {"method": "all", "rewriter": REWRITER, **curation}
    context = make_context(folder, model, train=train, curation=settings)
    assert context.config.curation is not None
    called = dict.fromkeys(context.config.curation.calls, big)
    return replace(context, config=context.config.model_copy(update={"called_models": called}))


def writing(body: Body, _before: int) -> Reply:
    """The script of a server that rewrites (`benchmarks.rewriting.writer`)."""
    return completion(*written(body["messages"]))


def records(count: int) -> list[dict[str, Any]]:
    """So many patients of a training file, each with reasoning of its own."""
    reasoning = "Patient {0} has had a fever for {0} days. The pulse is fast. So this is sepsis. The answer is B"
    return [record(number, reasoning=reasoning.format(number)) for number in range(count)]


def of_patient(number: int, body: Body) -> bool:
    """Whether a request, whatever its round, is about this patient."""
    return f"Patient {number} " in body["messages"][0]["content"]


def rows_of(context: StageContext) -> list[dict[str, Any]]:
    """The table of all rows that a curation has written."""
    found: list[dict[str, Any]] = pq.read_table(context.run_dir / "med_s1k_filtered.parquet").to_pylist()
    return found
