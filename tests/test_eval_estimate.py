"""What a dry run says that an evaluation's model calls will come to, held against what is really sent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.estimate import estimate
from eval.stage import run
from inference.prompts import about_tokens
from registry.catalog import DatasetEntry, ModelEntry, Prices
from registry.stage import StageContext
from tests.faulty_server import Body, Reply, completion, serving
from tests.stages import make_context, record, write_jsonl

JUDGE = {"model_key": "gpt", "rubrics": ["report", "failure_modes"]}


def context_of(folder: Path, url: str, **settings: Any) -> StageContext:
    """An evaluation on letters and on free text, of a model and a judge behind one server."""
    free: dict[str, Any] = {"options": None, "answer_idx": None, "answer": "Rheumatic fever"}
    write_jsonl(folder / "letters.jsonl", [record(number) for number in range(4)])
    write_jsonl(folder / "free.jsonl", [record(10 + number, **free) for number in range(3)])
    sets = {name: DatasetEntry(file_path=str(folder / f"{name}.jsonl")) for name in ("letters", "free")}
    context = make_context(folder / "run", folder, evaluate=sets, eval={"engine": "openai", "judge": JUDGE, **settings})
    prices = Prices(input=2.0, output=10.0)
    entry = ModelEntry(api_model="gpt-x", base_url=url, api_key_env="LAB_KEY", max_length=4096, prices=prices)
    return replace(context, config=context.config.model_copy(update={"model": entry, "judge_model": entry}))


def answers(body: Body, _before: int) -> Reply:
    """Wrong answers, and verdicts on them."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema is None:
        return completion("It must be the caffeine. The answer is D")
    levels = {name: part.get("enum", [1])[0] for name, part in schema["properties"].items() if name != "explanation"}
    return completion(json.dumps({"explanation": "wrong", **levels}))


def test_calls_are_those_that_are_sent_and_prompts_about_as_long(tmp_path: Path) -> None:
    with serving(answers) as server:
        context = context_of(tmp_path, server.url, repetitions={"letters": 2}, temperature=1.0, max_tokens=16)
        asked, judged = estimate(context.config, context.shared).calls
        assert server.bodies == []
        run(context)
    verdicts = [body for body in server.bodies if "response_format" in body]
    questions = [body for body in server.bodies if "response_format" not in body]
    assert (asked.rows, asked.calls) == (7, 11)
    assert len(questions) == 11
    assert asked.prompt_tokens is not None
    assert asked.prompt_tokens == pytest.approx(sum(about_tokens(body["messages"]) for body in questions), abs=1)
    # Equal answers to a question are judged once: here the two to each of the four with letters.
    assert (judged.calls, len(verdicts)) == (11 + 3, 7 + 3)
    assert judged.prompt_tokens is not None
    sent = sum(about_tokens(body["messages"]) for body in verdicts)
    assert judged.prompt_tokens / 14 == pytest.approx(sent / 10, rel=0.3)
    assert asked.cost == pytest.approx((2 * asked.prompt_tokens + 10 * 11 * 16) / 1e6)


def test_without_the_questions_there_are_no_numbers(tmp_path: Path) -> None:
    context = context_of(tmp_path, "http://127.0.0.1:1/v1")
    gone = {"gone": DatasetEntry(file_path=str(tmp_path / "gone.jsonl"))}
    found = estimate(context.config.model_copy(update={"eval_datasets": gone}), context.shared)
    unknown = [(call.what, call.calls, call.cost) for call in found.calls]
    assert unknown == [("questions", None, None), ("judge", None, None)]
    assert found.remarks[0].startswith("unknown until its questions are here: ")
