"""The difficulty filter: what is asked, how answers of every kind are judged, and what is left behind."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation.difficulty import (
    UNJUDGED,
    Answers,
    Judgement,
    answered,
    by_rule,
    is_right,
    judgement_of,
    outside,
    require_answers,
    write_answers,
)
from curation.ledger import Ledger, open_ledger
from data.rows import Row
from inference.engine import FinishReason, Generation
from registry.catalog import ModelEntry
from registry.errors import StageFailure, StageStopped
from registry.filter_schema import DifficultyConfig
from registry.stage import StageContext
from registry.stopping import StopFlag
from tests.faulty_server import Body, FaultyServer, Reply, completion, refusal, serving
from tests.stages import make_context, row
from tests.tiny import make_tiny_model

RIGHT, WRONG = "The answer is B", "The answer is C"
EASY, HARD = "too easy: the base model's pass rate is over", "too hard: the base model's pass rate is under"


def answers(*texts: str, reason: FinishReason = "stop") -> list[Generation]:
    return [Generation("x", index, text, reason, 10, 5) for index, text in enumerate(texts)]


ERROR = [Generation("x", 0, "", "error", 600, 0, "the prompt leaves no room")]
GIVEN = {
    "right": answers(RIGHT, RIGHT),
    "half": answers(RIGHT, WRONG),
    "wrong": answers(WRONG, WRONG),
    "silent": answers("", ""),
    "cut off": answers("Let me think", "Hm", reason="length"),
    "error": ERROR,
}
ROWS = {name: row(number) for number, name in enumerate(GIVEN)}
LEDGER = open_ledger(list(ROWS.values()), [100] * len(ROWS))


def judge(entries: Ledger, answers: Answers) -> Judgement:
    return judgement_of(entries, answers, by_rule(entries, answers))


def removed(**config: Any) -> dict[str, str]:
    settings = DifficultyConfig(samples=2, temperature=0.7, **config)
    judgement = judge(LEDGER, {ROWS[name].id: given for name, given in GIVEN.items()})
    named = {each.id: name for name, each in ROWS.items()}
    return {named[row_id]: reason for row_id, reason in outside(judgement, settings).items()}


def test_counts() -> None:
    judgement = judge(LEDGER, {ROWS[name].id: given for name, given in GIVEN.items()})
    assert judgement.pass_rates == {
        ROWS[name].id: rate
        for name, rate in {"right": 1.0, "half": 0.5, "wrong": 0.0, "silent": 0.0, "cut off": 0.0}.items()
    }
    assert judgement.metrics == {
        "judged": 5,
        "unjudged": 1,
        "right": 2,
        "mean_pass_rate": 0.3,
        "empty_answers": 2,
        "truncated_answers": 2,
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"right": f"{EASY} 0", "half": f"{EASY} 0", "error": UNJUDGED}),
        ({"unjudged": "keep"}, {"right": f"{EASY} 0", "half": f"{EASY} 0"}),
        (
            {"pass_rate": (0.25, 0.75)},
            {
                "right": f"{EASY} 0.75",
                "wrong": f"{HARD} 0.25",
                "silent": f"{HARD} 0.25",
                "cut off": f"{HARD} 0.25",
                "error": UNJUDGED,
            },
        ),
        ({"pass_rate": (0.0, 1.0)}, {"error": UNJUDGED}),
    ],
)
def test_what_is_kept(config: dict[str, Any], expected: dict[str, str]) -> None:
    assert removed(**config) == expected


def test_an_answer_is_judged_by_its_letter_or_without_options_by_its_text() -> None:
    assert is_right(row(1), "B")
    assert not is_right(row(1), "It may be A or B.")
    free = row(1, options=None, answer_idx=None, answer="Rheumatic fever")
    assert is_right(free, "The diagnosis is rheumatic fever.")
    assert not is_right(free, "The diagnosis is scarlet fever.")


def test_rows_that_share_a_question_are_judged_by_their_own_gold_answers() -> None:
    one, other = row(1, "B"), row(1, "C", occurrence=9)
    assert one.question_id == other.question_id
    judgement = judge(open_ledger([one, other], [1, 1]), {each.id: answers(RIGHT) for each in (one, other)})
    assert judgement.pass_rates == {one.id: 1.0, other.id: 0.0}


def test_a_row_with_several_right_options_wants_all_of_them() -> None:
    several = row(1, answer_idx="A,C", answer="Lisinopril, Ibuprofen")
    assert is_right(several, "The answers are A and C.")
    assert not is_right(several, "The answer is A.")
    assert not is_right(several, "The answers are A, B and C.")


def ledger_of(rows: Sequence[Row]) -> Ledger:
    return open_ledger(rows, [100] * len(rows))


def context_of(folder: Path, model: Path, **difficulty: Any) -> StageContext:
    """The context of an experiment in `folder`; what stands beside the folder is shared."""
    return make_context(folder, model, curation={"method": "all", "seed": 42, "difficulty": difficulty})


def served_context(folder: Path, server: FaultyServer, **difficulty: Any) -> StageContext:
    """The same for a model behind a server."""
    context = context_of(folder, folder, **{"engine": "openai", **difficulty})
    model = ModelEntry(api_model="gpt-x", base_url=server.url, api_key_env="LAB_KEY", max_length=512)
    config = context.config.model_copy(update={"difficulty_model_key": "gpt", "difficulty_model": model})
    return replace(context, config=config)


def ask(context: StageContext, rows: Sequence[Row]) -> Answers:
    assert context.config.curation is not None
    assert context.config.curation.difficulty is not None
    return answered(ledger_of(rows), context, context.config.curation.difficulty)[0]


def files(context: StageContext) -> list[Path]:
    """One for each time that an engine was opened and answered."""
    return sorted((context.shared / "answers").glob("*/*.jsonl"))


def test_siblings_and_a_forced_run_open_no_engine(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    quick: dict[str, Any] = {"engine": "transformers", "max_tokens": 8}  # which opens in no time
    first = context_of(tmp_path / "first", model, **quick)
    rows = [row(number) for number in range(4)]
    answers = ask(first, rows)
    (journal,) = files(first)
    assert journal.read_text().count("\n") == 4
    assert ask(first, rows) == answers
    sibling = context_of(tmp_path / "sibling", model, **quick, pass_rate=(0.0, 1.0))
    assert sibling.config.curation is not None
    reseeded = sibling.config.curation.model_copy(update={"seed": 7})  # decides nothing in a greedy answer
    sibling = replace(sibling, config=sibling.config.model_copy(update={"curation": reseeded}))
    assert ask(sibling, rows[::-1]) == answers
    assert files(first) == [journal]


def letters(body: Body, _before: int) -> Reply:
    """A script that answers some questions right, some wrong and the first with a failure."""
    text = str(body["messages"][-1]["content"])
    if "patient 0?" in text:
        return refusal(400, "no such patient")
    return completion("The answer is B" if "patient 1?" in text else "The answer is C")


def test_each_prompt_is_asked_once_and_a_failed_one_again(tmp_path: Path) -> None:
    repeated, swapped = row(1, "C", occurrence=9), row(1, options={"B": "Prednisone", "A": "Lisinopril"})
    rows = [row(0), row(1), repeated, swapped, row(2)]
    with serving(letters) as server:
        answers = ask(served_context(tmp_path / "one", server), rows)
        assert len(server.bodies) == len(set(server.questions)) == 4
        again = ask(served_context(tmp_path / "two", server), rows)
        assert len(server.bodies) == 5
    assert again == answers
    judgement = judge(ledger_of(rows), answers)
    assert judgement.pass_rates == {rows[1].id: 1.0, repeated.id: 0.0, swapped.id: 1.0, rows[4].id: 0.0}
    assert (judgement.metrics["judged"], judgement.metrics["unjudged"]) == (4, 1)


def test_with_a_temperature_the_seed_counts_and_more_samples_find_the_others(tmp_path: Path) -> None:
    with serving(letters) as server:
        rows = [row(1), row(2)]
        two = ask(served_context(tmp_path / "one", server, temperature=1.0, samples=2), rows)
        more = ask(served_context(tmp_path / "two", server, temperature=1.0, samples=3), rows)
        assert {row_id: list(given[:2]) for row_id, given in more.items()} == {i: list(g) for i, g in two.items()}
        assert len({body["seed"] for body in server.bodies}) == len(server.bodies) == 6
        ask(served_context(tmp_path / "three", server, temperature=0.9, samples=1), rows)
        assert len(server.bodies) == 8


def test_a_stop_keeps_what_is_answered(tmp_path: Path) -> None:
    stop = StopFlag()

    def script(body: Body, before: int) -> Reply:
        if len(server.bodies) == 20:
            stop.handle(signal.SIGTERM, None)
        return letters(body, before)

    rows = [row(number) for number in range(1, 200)]
    with serving(script) as server:
        context = served_context(tmp_path / "one", server)
        with pytest.raises(StageStopped, match=r"of 199 requests are answered and kept in .*/shared/answers/"):
            ask(replace(context, stop=stop), rows)
        kept = sum(file.read_text().count("\n") for file in files(context))
        assert 0 < kept < 199
        server.bodies.clear()
        ask(context, rows)
        assert len(server.bodies) == 199 - kept


def test_no_answer_at_all_and_nothing_but_empty_ones_are_failures(tmp_path: Path) -> None:
    with serving(lambda body, before: refusal(400, "overloaded")) as server:
        answers = ask(served_context(tmp_path / "one", server), [row(1)])
    with pytest.raises(StageFailure, match=r"got no answer from gpt: .*overloaded"):
        require_answers(answers, "gpt")
    with pytest.raises(StageFailure, match="every answer of gpt in the difficulty filter is empty"):
        require_answers({"x": GIVEN["silent"]}, "gpt")
    require_answers({"x": [*GIVEN["silent"], *ERROR, *GIVEN["wrong"]]}, "gpt")


def test_what_was_answered_can_be_read_beside_the_outputs(tmp_path: Path) -> None:
    answers = {ROWS[name].id: given for name, given in GIVEN.items()}
    path = write_answers(LEDGER, answers, by_rule(LEDGER, answers), tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 11
    assert lines[3] == {
        "id": ROWS["half"].id,
        "question_id": ROWS["half"].question_id,
        "index": 1,
        "right": False,
        "finish_reason": "stop",
        "text": WRONG,
        "error": None,
    }
    assert (lines[10]["right"], lines[10]["error"]) == (None, "the prompt leaves no room")
    assert [path.name for path in tmp_path.iterdir()] == ["difficulty_answers.jsonl"]
