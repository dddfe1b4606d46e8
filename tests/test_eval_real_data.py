"""Real benchmark files through the whole evaluation: gold answers, limits and counts against the raw files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from eval.stage import run
from registry.catalog import Columns, DatasetEntry
from tests.stages import make_context
from tests.tiny import make_tiny_model

pytestmark = pytest.mark.real_data

LIMIT = 25
MEDQA, MEDMCQA = "medqa_usmle_test.jsonl", "medmcqa_dev.jsonl"
MEDMCQA_COLUMNS = Columns(options=("opa", "opb", "opc", "opd"), answer_idx="cop", source="choice_type")


def test_medqa_and_medmcqa(real_data: Path, tmp_path: Path) -> None:
    raw = {
        name: [json.loads(line) for line in (real_data / name).read_text(encoding="utf-8").splitlines()]
        for name in (MEDQA, MEDMCQA)
    }
    model = make_tiny_model(tmp_path / "model", max_length=4096)
    files = {
        "medqa": DatasetEntry(file_path=str(real_data / MEDQA)),
        "medmcqa": DatasetEntry(file_path=str(real_data / MEDMCQA), columns=MEDMCQA_COLUMNS, answer_index_base=1),
    }
    settings = {"max_tokens": 16, "limit": LIMIT}
    context = make_context(tmp_path / "run", model, evaluate=files, max_length=4096, eval=settings)
    output = run(context)

    gold = {"medqa": {each["question"].strip(): each["answer_idx"] for each in raw[MEDQA][:LIMIT]}}
    for kind in ("single", "multi"):
        first = [each for each in raw[MEDMCQA] if each["choice_type"] == kind][:LIMIT]
        gold[kind] = {each["question"].strip(): "ABCD"[each["cop"] - 1] for each in first}
    lines = [json.loads(line) for line in output.artifacts["predictions_path"].read_text().split("\n") if line]
    asked = {source: {} for source in gold}  # type: dict[str, dict[str, str]]
    for line in lines:
        question = line["prompt"][0]["content"].rpartition("\n\nA. ")[0]
        asked[line["source"]][question] = line["gold"]
    assert asked == gold

    right = Counter(line["source"] for line in lines if line["extracted"] == line["gold"])
    silent = Counter(line["source"] for line in lines if line["extracted"] is None)
    benchmarks = output.metrics["benchmarks"]
    assert {source: (b["num_correct"], b["unanswered"]) for source, b in benchmarks.items()} == {
        source: (right[source], silent[source]) for source in gold
    }
    assert {b["total_examples"] for b in benchmarks.values()} == {LIMIT}
