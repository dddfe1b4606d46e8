"""The chosen rows are rewritten: counted, nothing lost, killed and taken up again, and shared by experiments."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import load_from_disk

from benchmarks.rewriting.writer import well_written
from curation.estimate import estimate
from curation.rewriting.apply import apply, complaint_class
from curation.rewriting.outcome import AskRows, Outcome, Rewriting, given_up
from curation.shards import prepare
from curation.stage import run
from data.rows import Row
from data.tokens import count_tokens
from registry.errors import MissingError, StageFailure, StageStopped
from registry.spending import FOLDER
from registry.stage import StageContext
from registry.stopping import STOP_SIGNALS, StopFlag
from registry.verbs import _funnel
from tests.faults import FORK
from tests.faulty_server import Body, Reply, completion, serving
from tests.rewriting_stage import of_patient, records, rewriting_context, rows_of
from tests.stages import make_context, row
from tests.tiny import make_tiny_model

STEPS = {"extract": "step"}
MORE = " And more."
SKIPPED = {**STEPS, "perturbation": {"type": "skip", "rate": 0.5}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def outputs(context: StageContext) -> dict[str, bytes]:
    """What a run left beside its input and what it has spent."""
    files = [path.relative_to(context.run_dir) for path in context.run_dir.rglob("*") if path.is_file()]
    kept = [path for path in files if path.name != "rows.jsonl" and path.parts[0] != FOLDER]
    return {str(path): (context.run_dir / path).read_bytes() for path in kept}


def loses(*lost: Row, reason: str = "The answer was empty. Write one.") -> Rewriting:
    """A rewriting that gives up some rows and appends a word to the others."""

    def rewrite(rows: Sequence[Row], _ask: AskRows) -> list[Outcome]:
        ids = {each.id for each in lost}
        return [
            given_up(reason) if each.id in ids else Outcome(replace(each, reasoning=each.reasoning + MORE), "accepted")
            for each in rows
        ]

    return rewrite


def no_questions(_queries: object) -> Any:
    raise AssertionError("nothing is to be asked")


def test_each_rewriting_gets_the_rows_that_the_one_before_it_left(tmp_path: Path, model: Path) -> None:
    rows = [row(number) for number in range(30)]
    steps = [("step", loses(*rows[:5])), ("qa", loses()), ("cot", loses(rows[9], reason="No 3 steps here"))]
    found = apply(rows, steps, no_questions, make_context(tmp_path / "run", model))

    assert found.rows.keys() == {each.id for each in (*rows[5:9], *rows[10:])}
    assert all(found.rows[each.id].reasoning == each.reasoning + 3 * MORE for each in (*rows[5:9], *rows[10:]))
    assert found.removals == {
        **{each.id: "step: given up: The answer was empty" for each in rows[:5]},
        rows[9].id: "cot: given up: No N steps here",
    }
    assert [(count["name"], count["rows"], count["accepted"], count["given_up"]) for count in found.counts] == [
        ("step", 30, 25, 5),
        ("qa", 25, 25, 0),
        ("cot", 25, 24, 1),
    ]
    assert found.counts[0]["reasons"] == {"The answer was empty": 5}
    assert found.warnings == ["step gave up 5 of 30 rows; most often (5): The answer was empty"]


def test_complaints_are_counted_by_what_they_say_of_any_row() -> None:
    assert complaint_class("The steps are 1, 3. Number them.") == complaint_class("The steps are 2, 4, 5. Again.")
    assert complaint_class('It has "Figure 2" in it. So?') == "It has … in it"
    assert complaint_class("no answer: it doesn't fit\nat all") == "no answer: it doesn't fit"
    assert len(complaint_class("word " * 100)) <= 120


def test_rare_complaints_are_one_class(tmp_path: Path, model: Path) -> None:
    rows = [row(number) for number in range(60)]
    words = [f"complaint {'x' * number}" for number in range(30)]

    def rewrite(given: Sequence[Row], _ask: AskRows) -> list[Outcome]:
        return [
            Outcome(each, "accepted") if n >= 30 else given_up(words[max(0, n - 9)]) for n, each in enumerate(given)
        ]

    (count,) = apply(rows, [("step", rewrite)], no_questions, make_context(tmp_path / "run", model)).counts
    assert sum(count["reasons"].values()) == count["given_up"] == 30
    assert (len(count["reasons"]), count["reasons"]["complaint"], count["reasons"]["another complaint"]) == (12, 10, 10)


def test_a_stop_between_two_rewritings_leaves(tmp_path: Path, model: Path) -> None:
    stop = StopFlag()

    def rewrite(rows: Sequence[Row], ask: AskRows) -> list[Outcome]:
        stop.handle(STOP_SIGNALS[0], None)
        return loses()(rows, ask)

    context = replace(make_context(tmp_path / "run", model), stop=stop)
    with pytest.raises(StageStopped, match="qa had not begun"):
        apply([row(1)], [("step", rewrite), ("qa", loses())], no_questions, context)


def mending(body: Body, _before: int) -> Reply:
    """Nothing for patient 3, nothing of use for patient 4 at first, and all that was asked for the others."""
    if of_patient(3, body):
        return completion("")
    if of_patient(4, body) and len(body["messages"]) == 1:
        return completion("It is sepsis.")
    return completion(well_written(body["messages"][0]["content"]))


def test_rows_are_rewritten_counted_and_keep_what_they_were(tmp_path: Path, model: Path) -> None:
    with serving(mending) as server:
        chosen = {"method": "random", "n_samples": 6}
        context = rewriting_context(tmp_path / "run", model, server.url, records(6), **chosen, **SKIPPED)
        output = run(context)

    metrics = output.metrics
    assert metrics["funnel"] == {"total": 6, "after_quality": 6, "after_selection": 6, "after_rewriting": 5}
    step, skip = metrics["rewriting"]
    assert step == {
        **{"name": "step", "rows": 6, "accepted": 4, "repaired": 1, "unchanged": 0, "given_up": 1},
        "reasons": {"The answer was empty": 1},
    }
    assert (skip["name"], skip["rows"], skip["accepted"]) == ("skip", 5, 5)
    assert skip["realised"]["changed"] == skip["realised"]["there"] / 2 == 10
    assert metrics["reasons"]["rewriting"] == {"step: given up: The answer was empty": 1}
    assert "step gave up 1 of 6 rows; most often (1): The answer was empty" in metrics["warnings"]
    assert not [warning for warning in metrics["warnings"] if "could be chosen" in warning]
    table = rows_of(context)
    (lost,) = map(json.loads, output.artifacts["given_up_path"].read_text().splitlines())
    assert lost == {
        "id": next(each["id"] for each in table if each["filter_stage"]),
        "rewriting": "step",
        "reason": "The answer was empty.",
        "answer": "",
    }
    for each in table:
        number = int(each["question"].split()[-1].rstrip("?"))
        assert each["reasoning_original"].startswith(f"Patient {number} has had a fever")
        assert [each[name] for name in ("question_original", "answer_original")] == [each["question"], each["answer"]]
        if number == 3:
            assert (each["filter_stage"], each["reasoning"]) == ("rewriting", each["reasoning_original"])
        else:
            assert (each["filter_stage"], each["perturbed"]) == (None, True)
            assert each["reasoning"].startswith("## Step 1: ")
    assert [each["reasoning_tokens"] for each in table] == count_tokens([each["reasoning"] for each in table], model)
    assert "| `step` | 6 | 4 | 1 | 0 | 1 | The answer was empty (1) |" in (
        context.run_dir / "med_s1k_formatted" / "README.md"
    ).read_text(encoding="utf-8")
    (shown,) = [line for line in funnel_lines(metrics) if line[0] == "  step"]
    assert shown == ["  step", "5", "1", "4 accepted, 1 repaired; The answer was empty (1)"]


def test_a_killed_rewriting_is_taken_up_and_a_sibling_asks_only_what_is_new(tmp_path: Path, model: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def script(body: Body, before: int) -> Reply:
        if len(server.bodies) == 12 and not reached.is_set():
            reached.set()
            go_on.wait()
        return mending(body, before)

    def context_of(name: str, **curation: Any) -> StageContext:
        one_by_one = {"model_key": "big", "engine": "openai", "concurrency": 1}
        return rewriting_context(tmp_path / name, model, server.url, records(20), **curation, rewriter=one_by_one)

    with serving(mending) as server:
        undisturbed = context_of("alone/run", **SKIPPED)
        whole = run(undisturbed).metrics
        questions = server.questions
    with serving(script) as server:
        context = context_of("killed/run", **SKIPPED)
        killed = FORK.Process(target=run, args=(context,))
        killed.start()
        assert reached.wait(120)
        killed.kill()
        killed.join()
        go_on.set()
        assert outputs(context) == {}
        assert run(context).metrics == whole
        assert outputs(context) == outputs(undisturbed)
        # The one that was not answered when the process died is asked again, and no other one.
        assert sorted(server.questions) == sorted([*questions, server.questions[11]])
        asked = len(server.questions)
        collapsed = {**STEPS, "perturbation": {"type": "collapse_consecutive", "rate": 1.0}}
        sibling = context_of("killed/sibling", **collapsed)
        counts = run(sibling).metrics["rewriting"]
        new = server.bodies[asked:]
        assert counts[0] == whole["rewriting"][0]
        assert len({body["messages"][0]["content"] for body in new}) == counts[1]["rows"] == 19
        run(context_of("killed/again", **collapsed))
        assert len(server.bodies) == asked + len(new)


@pytest.mark.parametrize(("style", "statuses", "asked"), [("cot", "accepted", [2]), ("none", "unchanged", [])])
def test_rows_without_reasoning_serve_styles_that_need_none(
    tmp_path: Path, model: Path, style: str, statuses: str, asked: list[int]
) -> None:
    bare = [{**each, "reasoning": ""} for each in records(3)]
    with serving(mending) as server:
        context = rewriting_context(tmp_path / "run", model, server.url, bare[:2], extract=style)
        metrics = run(context).metrics
    assert metrics["rewriting"][0][statuses] == metrics["n_train"] + metrics["n_validation"] == 2
    assert [call.rows for call in estimate(context.config, context.shared).calls] == asked


def test_nothing_left_is_a_failure_that_says_why(tmp_path: Path, model: Path) -> None:
    with serving(lambda body, _: completion("No.")) as server:
        context = rewriting_context(tmp_path / "run", model, server.url, records(3), **STEPS)
        with pytest.raises(StageFailure, match=r"step gave up all of the 3 rows; most often \(3\): There are no steps"):
            run(context)
    assert outputs(context) == {}


def test_steps_that_are_not_there_need_other_data_and_no_other_model(tmp_path: Path, model: Path) -> None:
    skip = {"type": "skip", "rate": 0.5}
    context = rewriting_context(tmp_path / "run", model, "http://127.0.0.1:1/v1", records(3), perturbation=skip)
    with pytest.raises(
        StageFailure, match=r"\(3\): the reasoning has no steps; no model was asked .* use another data"
    ):
        run(context)


def test_rewritings_without_a_model_open_none(tmp_path: Path, model: Path) -> None:
    context = rewriting_context(tmp_path / "run", model, "http://127.0.0.1:1/v1", records(3), extract="none")
    metrics = run(context).metrics
    assert metrics["rewriting"][0]["accepted"] == 3
    assert metrics["reasoning_tokens"]["total"] == 0
    saved = load_from_disk(str(context.run_dir / "med_s1k_formatted"))
    assert {each[0]["content"] for each in saved["train"]["completion"]} == {"The answer is B. Prednisone"}
    assert not (context.shared / "answers").exists()


def test_a_key_that_is_not_set_is_told_before_anything_is_read(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_KEY", raising=False)
    context = rewriting_context(tmp_path / "run", model, "https://example.org/v1", records(3), **STEPS)
    (context.run_dir / "rows.jsonl").unlink()
    for start in (run, lambda context: prepare(context, 0, 2)):
        with pytest.raises(MissingError, match="LAB_KEY"):
            start(context)


def test_the_funnel_is_shown_without_counts_that_are_not_a_curations() -> None:
    whole = {"funnel": {"total": 2, "after_rewriting": 1}, "reasons": {"rewriting": {"step: given up: x": 1}}}
    for odd in (None, "step", [7], [{"name": "step", "rows": 2}], [{"rows": "2", "given_up": 1, "reasons": {}}]):
        assert [line[0] for line in funnel_lines({**whole, "rewriting": odd})] == ["total", "after rewriting"]


def funnel_lines(metrics: Any) -> list[list[str]]:
    """The table of `meds1 show`."""
    grid = _funnel(metrics)
    assert grid is not None
    return [list(line) for line in grid.rows]
