"""Specialties out of the project's list: who is asked, how a label is read, and what selection makes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation.labels import Labelled, label, label_query
from curation.ledger import Ledger, open_ledger
from curation.shards import prepare
from curation.stage import run
from data.rows import Row
from data.specialties import SPECIALTIES
from inference.dialogue import Complaint
from registry.catalog import DatasetEntry, ModelEntry
from registry.errors import StageFailure
from registry.stage import StageContext
from tests.faulty_server import Body, FaultyServer, Reply, completion, serving
from tests.stages import make_context, record, row, write_jsonl
from tests.tiny import NEEDS_VLLM, make_tiny_model

LABELS = {"model_key": "gpt", "engine": "openai", "retries": 1}


def context_of(folder: Path, url: str, *, model: Path | None = None, **curation: Any) -> StageContext:
    """An experiment whose labels come from behind a server."""
    train = DatasetEntry(file_path=str(folder.parent / "rows.jsonl"))
    settings = {"method": "all", "labels": LABELS, **curation}
    context = make_context(folder, model or folder, train=train, curation=settings)
    entry = ModelEntry(api_model="gpt-x", base_url=url, api_key_env="LAB_KEY", max_length=8192)
    return replace(context, config=context.config.model_copy(update={"called_models": {"labels": entry}}))


def ledger(rows: Sequence[Row]) -> Ledger:
    return open_ledger(rows, [100] * len(rows))


def labelled(folder: Path, server: FaultyServer, rows: Sequence[Row], **labels: Any) -> Labelled:
    context = context_of(folder, server.url, labels=LABELS | labels)
    assert context.config.curation is not None
    assert context.config.curation.labels is not None
    return label(ledger(rows), context, context.config.curation.labels)


def named(name: str) -> Reply:
    return completion(json.dumps({"specialty": name}))


def test_only_rows_without_a_label_are_asked_and_all_of_them_with_relabel(tmp_path: Path) -> None:
    rows = [row(1), row(2, specialty=None), row(3, specialty=None, occurrence=7)]
    with serving(lambda body, before: named("Neurology")) as server:
        found = labelled(tmp_path / "one", server, rows)
        assert len(server.bodies) == 2
        everything = labelled(tmp_path / "two", server, rows, relabel=True)
        assert len(server.bodies) == 3
    assert found.specialties == {rows[1].id: "Neurology", rows[2].id: "Neurology"}
    assert found.metrics == {"asked": 2, "accepted": 2, "repaired": 0, "unlabelled": 0, "kept": 1}
    assert everything.specialties == dict.fromkeys((each.id for each in rows), "Neurology")
    assert everything.metrics == {"asked": 3, "accepted": 3, "repaired": 0, "unlabelled": 0, "kept": 0}


def test_the_model_sees_the_list_the_question_and_how_its_reasoning_begins(tmp_path: Path) -> None:
    reasoning = "A beginning. " + "x" * 5000
    with serving(lambda body, before: named("Neurology")) as server:
        labelled(tmp_path, server, [row(1, specialty=None, reasoning=reasoning)])
    (body,) = server.bodies
    system, user = (message["content"] for message in body["messages"])
    assert system.endswith("\n".join(SPECIALTIES))
    assert "Which drug helps patient 1?" in user
    assert "A beginning." in user
    assert len(user) < 1000
    enum = body["response_format"]["json_schema"]["schema"]["properties"]["specialty"]["enum"]
    assert enum == list(SPECIALTIES)
    assert len(enum) <= 250


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Neurology", "Neurology"),
        ("obstetrics & gynecology.", "Obstetrics and Gynecology"),
        (" ALLERGY and  Immunology", "Allergy and Immunology"),
    ],
)
def test_a_near_spelling_becomes_that_of_the_list(said: str, meant: str) -> None:
    assert label_query(row(1), "openai").read(json.dumps({"specialty": said})) == meant


@pytest.mark.parametrize(
    ("said", "near"), [("Neurologie", '"Neurology", '), ("Cardiology", '"Pediatric Cardiology", ')]
)
def test_another_word_is_told_the_nearest_names(said: str, near: str) -> None:
    with pytest.raises(Complaint, match=f"^'{said}' is not in the list; the nearest names are {near}"):
        label_query(row(1), "openai").read(json.dumps({"specialty": said}))


def test_vertex_gets_no_enum_that_long() -> None:
    schema = label_query(row(1), "vertex").schema
    assert schema is not None
    assert schema["properties"]["specialty"] == {"title": "Specialty", "type": "string"}


def test_every_name_of_the_list_is_read_as_itself() -> None:
    query = label_query(row(1), "openai")
    assert [query.read(json.dumps({"specialty": name})) for name in SPECIALTIES] == list(SPECIALTIES)


def some(body: Body, _before: int) -> Reply:
    """A label at once for patient 1, at the second try for 2, never for 3."""
    text = str(body["messages"])
    if "patient 3?" in text or ("patient 2?" in text and "is not in the list" not in text):
        return named("Heart Things")
    return named("Neurology")


def test_what_is_not_in_the_list_is_asked_again_then_counted_as_unlabelled(tmp_path: Path) -> None:
    rows = [row(number, specialty=None) for number in (1, 2, 3)]
    with serving(some) as server:
        found = labelled(tmp_path, server, rows)
        assert len(server.bodies) == 5
    assert list(found.specialties.values()) == ["Neurology", "Neurology", None]
    assert found.metrics == {"asked": 3, "accepted": 1, "repaired": 1, "unlabelled": 1, "kept": 0}
    assert found.warnings[0].startswith("1 of 3 rows got no label from gpt; the first: 'Heart Things' is not in the")


def test_where_no_row_gets_a_label_the_stage_ends(tmp_path: Path) -> None:
    rows = [row(number, specialty=None) for number in (1, 2)]
    why = r"none of 2 rows got a label from gpt; the first: 'Heart Things' is"
    with serving(lambda *_: named("Heart Things")) as server, pytest.raises(StageFailure, match=why):
        labelled(tmp_path, server, rows)


def by_parity(body: Body, _before: int) -> Reply:
    number = int(str(body["messages"][-1]["content"]).partition("patient ")[2].partition("?")[0])
    return named("Neurology" if number % 2 else "Urology")


def test_selection_uses_the_labels_and_shards_leave_nothing_to_ask(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    rows = [record(number, specialty=None) for number in range(20)]
    rows[4]["reasoning"] = ""  # removed by quality, so that nobody asks about it
    write_jsonl(tmp_path / "rows.jsonl", rows)
    nothing: dict[str, Any] = {"decontamination": None, "duplicates": None, "difficulty": None}
    curation = {"method": "s1", "n_samples": 6, "specialty_weights": {"Neurology": 0.0}, **nothing}
    with serving(by_parity) as server:
        context = context_of(tmp_path / "run", server.url, model=model, **curation)
        for shard in (1, 0):
            prepare(context, shard, 2)
        assert len(server.bodies) == 19
    metrics = run(context).metrics  # the server is gone
    assert metrics["labels"] == {"asked": 19, "accepted": 19, "repaired": 0, "unlabelled": 0, "kept": 0}
    assert set(metrics["specialties"]) == {"Neurology", "Urology"}
    assert not [warning for warning in metrics["warnings"] if "specialty_weights" in warning]


@pytest.mark.full
@NEEDS_VLLM
def test_vllm_holds_labels_to_the_list(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model", max_length=8192)
    context = context_of(tmp_path / "run", "", labels={"model_key": "tiny", "engine": "vllm", "retries": 0})
    entry = ModelEntry(file_path=str(model), max_length=8192)
    config = context.config.model_copy(update={"called_models": {"labels": entry}})
    assert config.curation is not None
    assert config.curation.labels is not None
    rows = [row(number, specialty=None) for number in range(3)]
    found = label(ledger(rows), replace(context, config=config), config.curation.labels)
    assert found.metrics == {"asked": 3, "accepted": 3, "repaired": 0, "unlabelled": 0, "kept": 0}
    assert set(found.specialties.values()) <= set(SPECIALTIES)
