"""Selection by the novelty of the right answer: least like what the base model said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curation.ledger import Ledger, open_ledger
from curation.measures import measured
from curation.methods import METHODS
from curation.methods.novelty import LESS_NOVEL, NO_ANSWER
from curation.methods.pool import pool_of
from curation.stage import UNCHECKED, run
from inference.engine import FinishReason, Generation
from registry.catalog import DatasetEntry
from registry.curation_schema import curation_of
from tests.stages import make_context, record, row, write_jsonl
from tests.tiny import make_tiny_model

CONFIG = {"method": "novelty-answer", "n_samples": 2, "embedding_model": "hashing"}


def generation(text: str, index: int = 0, reason: FinishReason = "stop") -> Generation:
    return Generation("x", index, text, reason, 10, 5, "no room" if reason == "error" else None)


def free_text(number: int, answer: str) -> Ledger:
    return open_ledger([row(number, answer=answer, answer_idx=None, options=None)], [10])


def test_the_rows_of_the_highest_novelty_ties_by_id_and_never_one_without_an_answer() -> None:
    entries = open_ledger([row(number) for number in range(6)], [10] * 6)
    novelty = np.array([0.5, np.nan, 0.9, 0.5, 0.1, 0.5])
    pool = replace(pool_of(entries), novelty=novelty)
    ids = [entry.row.id for entry in pool.entries]
    for wanted, chosen in ((1, {2}), (2, {2, 0}), (3, {2, 0, 3}), (6, {0, 2, 3, 4, 5})):
        reasons = {ids[index]: NO_ANSWER if index == 1 else LESS_NOVEL for index in set(range(6)) - chosen}
        assert METHODS["novelty-answer"](pool, curation_of({**CONFIG, "n_samples": wanted})) == reasons


def test_novelty_compares_the_first_answer_with_the_right_ones_text(tmp_path: Path) -> None:
    """Each case by itself against scikit-learn's own cosine of hashed words."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    given = {
        "equal": ("chronic renal failure", ["Chronic renal failure.", "nothing of it"]),
        "partly": ("chronic renal failure", ["an acute failure", "chronic renal failure"]),
        "other": ("chronic renal failure", ["a rash"]),
        "blank": ("chronic renal failure", ["  \n", "chronic renal failure"]),
        "error": ("chronic renal failure", [""]),
    }
    entries = tuple(entry for at, (right, _) in enumerate(given.values()) for entry in free_text(at, right))
    answers = {
        entry.row.id: [
            generation(text, index, "error" if name == "error" else "stop") for index, text in enumerate(texts)
        ]
        for entry, (name, (_, texts)) in zip(entries, given.items(), strict=True)
    }
    names = {entry.row.id: name for entry, name in zip(entries, given, strict=True)}
    pool = measured(entries, make_context(tmp_path / "run", tmp_path, curation=CONFIG), answers)
    assert pool.novelty is not None
    found = {names[entry.row.id]: value for entry, value in zip(pool.entries, pool.novelty, strict=True)}
    hashed = HashingVectorizer(n_features=512, ngram_range=(1, 2), token_pattern=r"\w+")
    for name in ("equal", "partly", "other"):
        right, texts = given[name]
        cosine = cosine_similarity(hashed.transform([right]), hashed.transform(texts[:1]))[0, 0]
        assert found[name] == pytest.approx(1 - cosine, abs=1e-5)
    assert found["equal"] == pytest.approx(0, abs=1e-5)
    assert found["equal"] < found["partly"] < found["other"]
    assert np.isnan([found["blank"], found["error"]]).all()
    statistics = {"min": found["equal"], "median": found["partly"], "max": found["other"]}
    assert pool.metrics == {"novelty": statistics}


def test_of_a_choice_the_gold_options_text_is_compared(tmp_path: Path) -> None:
    entries = open_ledger([row(0, gold="C", answer="C")], [10])
    pool = measured(
        entries,
        make_context(tmp_path / "run", tmp_path, curation=CONFIG),
        {entries[0].row.id: [generation("Ibuprofen")]},
    )
    assert pool.novelty is not None
    assert pool.novelty.tolist() == pytest.approx([0], abs=1e-6)


def test_a_config_asks_the_base_model_and_chooses(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model", hidden=16, layers=1)
    records = [record(number) for number in range(8)]
    # Longer than the model's context: it cannot be answered, is kept by the filter, and never chosen.
    records.append(record(8, question="Which drug? " * 400))
    data = DatasetEntry(file_path=str(write_jsonl(tmp_path / "rows.jsonl", records)))
    difficulty = {"engine": "transformers", "max_tokens": 4, "pass_rate": [0.0, 1.0], "unjudged": "keep"}
    curation = {**CONFIG, "n_samples": 9, "difficulty": difficulty}
    output = run(make_context(tmp_path / "run", model, train=data, curation=curation))
    assert output.metrics["funnel"] == {"total": 9, "after_quality": 9, "after_difficulty": 9, "after_selection": 8}
    assert output.metrics["reasons"] == {"selection": {NO_ANSWER: 1}}
    assert output.metrics["selection"]["novelty"]["min"] is not None
    cut = "8 of 8 answers of the difficulty filter were cut off at max_tokens 4"
    assert output.metrics["warnings"] == [cut, "only 8 rows could be chosen; n_samples is 9", UNCHECKED]
