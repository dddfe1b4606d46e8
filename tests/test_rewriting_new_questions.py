"""Questions that a rewriting makes: checked against the benchmarks, and known by the case that they are made of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import load_from_disk

from benchmarks.rewriting.writer import well_written
from curation.estimate import estimate
from curation.stage import run
from registry.catalog import DatasetEntry
from tests.faulty_server import Body, Reply, completion, serving
from tests.rewriting_stage import of_patient, records, rewriting_context, rows_of
from tests.stages import record, write_jsonl
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


BENCHMARK = (
    "A woman of 45 years who keeps pigeons has a dry cough for 3 months, fine crackles at both bases and a lymphocyte "
    "share of 60 % in the lavage. Which disease is this?"
)


def examining(body: Body, _before: int) -> Reply:
    """An exam question; of patient 1 one of the benchmark."""
    prompt = body["messages"][0]["content"]
    if not prompt.startswith("You write questions for a difficult examination"):
        return completion(well_written(prompt))
    mine = BENCHMARK.replace("pigeons", "fish").replace("lymphocyte", "neutrophil").replace("dry cough", "wet nose")
    question = BENCHMARK if of_patient(1, body) else mine.replace("3 months", "9 years").replace("crackles", "rubs")
    return completion(json.dumps({"question": question, "answer": "Hypersensitivity pneumonitis"}))


def test_new_questions_are_checked_against_the_benchmarks_before_more_is_paid(tmp_path: Path, model: Path) -> None:
    held_out = DatasetEntry(file_path=str(write_jsonl(tmp_path / "held.jsonl", [record(9, question=BENCHMARK)])))
    with serving(examining) as server:
        context = rewriting_context(
            *(tmp_path / "run", model, server.url, records(3)),
            extract=["nejmcr-qa", "step"],
            decontamination={"similarity": 0.9},
        )
        context = replace(context, config=context.config.model_copy(update={"benchmarks": {"held-out": held_out}}))
        output = run(context)
        asked = len(server.bodies)

    assert output.metrics["funnel"]["after_decontamination"] == 3
    assert output.metrics["funnel"]["after_rewriting"] == 2
    counts = [(each["name"], each["rows"], each["given_up"]) for each in output.metrics["rewriting"]]
    assert counts == [("nejmcr-qa", 3, 0), ("decontamination", 3, 1), ("step", 2, 0)]
    (lost,) = map(json.loads, output.artifacts["given_up_path"].read_text().splitlines())
    assert (lost["rewriting"], lost["reason"], lost["answer"]) == (
        "decontamination",
        "asks a question of held-out",
        BENCHMARK,
    )
    assert asked == 3 + 2
    assert BENCHMARK not in {each["question"] for each in rows_of(context)}
    assert [call.what for call in estimate(context.config, context.shared).calls] == ["nejmcr-qa", "step"]


def test_questions_of_one_case_share_no_irrelevant_steps_and_a_side_of_the_split(tmp_path: Path, model: Path) -> None:
    words = {"alpha": 1, "beta": 1, "gamma": 2}
    cases = [record(case, reasoning=f"{word} fever for days. So this is sepsis.") for word, case in words.items()]
    with serving(lambda body, _: completion(well_written(body["messages"][0]["content"]))) as server:
        context = rewriting_context(
            *(tmp_path / "run", model, server.url, cases),
            extract=["nejmcr-qa", "cot-step"],
            perturbation={"type": "add_irrelevant", "rate": 1.0},
            validation_fraction=0.3,
            seed=0,
        )
        run(context)

    rows = {word: each for each in rows_of(context) for word in words if each["reasoning_original"].startswith(word)}
    found = {word: {other for other in words if other in each["reasoning"]} for word, each in rows.items()}
    assert (found["alpha"], found["beta"]) == ({"alpha", "gamma"}, {"beta", "gamma"})
    assert len({each["question_id"] for each in rows.values()}) == 3
    saved = load_from_disk(str(context.run_dir / "med_s1k_formatted"))
    sides = {each["id"]: side for side in saved for each in saved[side]}
    assert sides[rows["alpha"]["id"]] == sides[rows["beta"]["id"]] != sides[rows["gamma"]["id"]]
