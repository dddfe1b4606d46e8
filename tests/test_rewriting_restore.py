"""Restoring damaged steps: the model sees the damage alone, and what it writes is accepted, repaired or given up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from curation.rewriting.apply import apply
from curation.rewriting.outcome import AskRows, Outcome
from curation.rewriting.perturbations import PERTURBATIONS
from curation.rewriting.restore import NO_REASONING, restore, with_restoration
from curation.rewriting.steps import join_steps
from data.rows import Row
from registry.rewriting_counts import told_beside
from tests.rewriting_case import KEY_VARIABLE, Scripted, no_model, scripted
from tests.stages import make_context, row

CLEAN = tuple(f"Thought {number}\nFinding number {number} is weighed here." for number in range(4))
(DAMAGED,) = PERTURBATIONS["skip"](0.5, 0)(
    [row(1, reasoning=join_steps(CLEAN), answer="Prednisone the secret")], no_model
)
assert DAMAGED.row is not None
GIVEN = DAMAGED.row
MENDED = join_steps([*CLEAN[:3], "Conclude\nAll of it fits."])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with pytest.MonkeyPatch.context() as patch, scripted(tmp_path_factory.mktemp("answers")) as server:
        patch.setenv(KEY_VARIABLE, "k-0123456789")
        yield server


def test_the_model_sees_the_damage_and_neither_the_clean_text_nor_the_answer(model: Scripted) -> None:
    (outcome,) = model.rewrite(restore, [GIVEN], lambda *_: MENDED)
    assert outcome.status == "accepted"
    assert outcome.row == replace(GIVEN, reasoning=MENDED)
    (body,) = model.server.bodies
    (message,) = body["messages"]
    assert GIVEN.reasoning in message["content"]
    assert GIVEN.question in message["content"]
    assert "secret" not in message["content"]
    lost = [step for step in CLEAN if step not in GIVEN.reasoning]
    assert lost
    assert not any(step in message["content"] for step in lost)


@pytest.mark.parametrize(
    ("bad", "gist"),
    [
        (GIVEN.reasoning, "what it was"),
        (GIVEN.reasoning.replace("## ", "### "), "what it was"),
        (join_steps(["All at once\nOne step."]), "too few steps"),
        ("It all fits together well.", "no steps"),
        (MENDED.replace("Step 4", "Step 5"), "not numbered"),
        ("I'm sorry, but I cannot help with that.", "refusal"),
    ],
)
def test_what_is_not_restored_is_asked_again_and_then_given_up(model: Scripted, bad: str, gist: str) -> None:
    (repaired,) = model.rewrite(restore, [GIVEN], lambda _, turn: MENDED if turn else bad)
    assert (repaired.status, repaired.row) == ("repaired", replace(GIVEN, reasoning=MENDED))
    assert gist in model.complaints[0]
    (never,) = model.rewrite(restore, [GIVEN], lambda *_: bad)
    assert (never.status, never.row) == ("given up", None)
    assert gist in str(never.reason)


def test_a_wrong_answer_stays_the_answer_whatever_the_steps_come_to(model: Scripted) -> None:
    wrong = replace(row(1, reasoning=join_steps([*CLEAN, "Conclude\nThe answer is C) Ibuprofen."])), answer_idx="C")
    mended = join_steps([*CLEAN, "Conclude\nThe answer is B) Prednisone."])
    (outcome,) = model.rewrite(restore, [wrong], lambda *_: mended)
    assert outcome.row == replace(wrong, reasoning=mended)


@pytest.mark.parametrize(("end", "counted"), [("C) Ibuprofen", 1), ("B) Prednisone", 0), ("still open", 0)])
def test_a_restored_text_that_contradicts_the_answer_is_accepted_and_counted(
    model: Scripted, tmp_path: Path, end: str, counted: int
) -> None:
    whole, damaged = row(1, reasoning=join_steps(CLEAN[:1])), row(2, reasoning=join_steps(CLEAN))
    mended = join_steps([*CLEAN, f"Conclude\nThe answer is {end}."])
    damage, mend = with_restoration(PERTURBATIONS["skip"](0.5, 0))

    def rewrite(rows: Sequence[Row], _ask: AskRows) -> list[Outcome]:
        return model.rewrite(mend, rows, lambda *_: mended)

    steps = [("skip", damage), ("restore", rewrite)]
    found = apply([whole, damaged], steps, no_model, make_context(tmp_path / "run", tmp_path))
    assert found.rows[damaged.id].reasoning == mended
    skip, restored = found.counts
    assert (restored["accepted"], restored["given_up"], restored["contradicts_answer"]) == (1, 0, counted)
    assert "contradicts_answer" not in skip
    assert told_beside(restored) == [f"{counted} contradict their answer"]


def test_without_reasoning_a_row_is_given_up_unasked(model: Scripted) -> None:
    rows = [row(1, reasoning=""), GIVEN]
    outcomes = model.rewrite(restore, rows, lambda *_: MENDED)
    assert [outcome.reason for outcome in outcomes] == [NO_REASONING, None]
    assert model.calls == 1
    assert restore([], no_model) == []


def test_a_row_that_was_not_damaged_is_left_as_it_is_unasked(model: Scripted) -> None:
    rows = [row(1, reasoning=join_steps(CLEAN[:1])), row(2, reasoning=join_steps(CLEAN))]
    damage, mend = with_restoration(PERTURBATIONS["skip"](0.5, 0))
    left = [outcome.row for outcome in damage(rows, no_model) if outcome.row is not None]
    whole, mended = model.rewrite(mend, left, lambda *_: MENDED)
    assert (whole.status, whole.row) == ("unchanged", rows[0])
    assert (mended.status, mended.row) == ("accepted", replace(rows[1], reasoning=MENDED))
    assert model.calls == 1
