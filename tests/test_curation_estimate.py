"""What a dry run says that model calls will come to, held against what is really sent."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation.estimate import estimate
from curation.stage import run
from inference.prompts import about_tokens
from registry.catalog import DatasetEntry, ModelEntry, Prices
from registry.estimates import CallEstimate, StageEstimate
from registry.stage import StageContext
from tests.faulty_server import Body, Reply, completion, serving
from tests.lab import Lab
from tests.small_lab import add, answer_of, edit_json, make_small_lab, python_m
from tests.stages import make_context, record, write_jsonl
from tests.tiny import make_tiny_model

ROWS = 12
CALL = {"model_key": "gpt", "engine": "openai", "retries": 0}
PRICES = Prices(input=2.0, output=10.0)
LONG = "The patient has high blood pressure and diabetes, so that an inhibitor protects the kidneys best. " * 6
STEPS = (
    "## Step 1: Findings\nHigh blood pressure and diabetes.\n\n## Step 2: Choice\nAn inhibitor protects the kidneys."
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), max_length=8192)


def context_of(folder: Path, model: Path, url: str, *, prices: Prices | None = PRICES, **curation: Any) -> StageContext:
    """An experiment of which every model is behind one server, in a folder beside its rows."""
    rows = folder.parent / "rows.jsonl"
    if not rows.exists():
        records = [record(number, specialty="Surgery" if number < 2 else None) for number in range(ROWS)]
        write_jsonl(rows, [one | {"reasoning": f"{LONG}{one['reasoning']}"} for one in records])
    context = make_context(
        folder,
        model,
        train=DatasetEntry(file_path=str(rows)),
        curation={"method": "all", "max_cost": 1.0, **curation},
        max_length=8192,
    )
    entry = ModelEntry(api_model="gpt-x", base_url=url, api_key_env="LAB_KEY", max_length=8192, prices=prices)
    assert context.config.curation is not None
    models: dict[str, Any] = {"called_models": dict.fromkeys(context.config.curation.calls, entry)}
    if context.config.curation.difficulty is not None:
        models |= {"difficulty_model_key": "gpt", "difficulty_model": entry}
    return replace(context, config=context.config.model_copy(update=models))


EVERYTHING: dict[str, Any] = {
    "difficulty": {"engine": "openai", "max_tokens": 12, "judge": CALL, "pass_rate": [0.0, 1.0]},
    "labels": CALL,
    "extract": ["step", "list"],
    "rewriter": CALL,
}


def use_of(body: Body) -> str:
    """What a request is for, by its name in the estimate."""
    text = str(body["messages"])
    for sign, use in {"who checks answers": "difficulty judge", "sort medical questions": "labels"}.items():
        if sign in text:
            return use
    if "the_reasoning" not in text:
        return "difficulty answers"
    return "step" if "flat list" not in text else "list"


def answers(body: Body, _before: int) -> Reply:
    number = re.findall(r"[Pp]atient (\d+)", str(body["messages"][-1]["content"]))[-1]
    said = {
        "difficulty answers": f"It must be caffeine for {number}",
        "difficulty judge": json.dumps({"explanation": "it names another drug", "correct": False}),
        "labels": json.dumps({"specialty": "Neurology"}),
        "step": f"{STEPS} for patient {number}",
        "list": "- High blood pressure\n- Diabetes\n- An inhibitor protects the kidneys\n- The answer is B",
    }
    return completion(said[use_of(body)])


def by_use(found: StageEstimate) -> dict[str, CallEstimate]:
    return {call.what: call for call in found.calls}


def test_calls_are_those_that_are_sent_and_prompts_about_as_long(tmp_path: Path, model: Path) -> None:
    with serving(answers) as server:
        context = context_of(tmp_path / "run", model, server.url, **EVERYTHING)
        expected = by_use(estimate(context.config, context.shared))
        assert server.bodies == []
        run(context)
        sent = Counter(map(use_of, server.bodies))
        tokens: defaultdict[str, float] = defaultdict(float)
        for body in server.bodies:
            tokens[use_of(body)] += about_tokens(body["messages"])
    assert list(expected) == ["difficulty answers", "difficulty judge", "labels", "step", "list"]
    assert {use: call.calls for use, call in expected.items()} == sent
    for use, call in expected.items():
        if use != "list":  # how long the reasoning will be that it gets, nobody knows
            assert call.prompt_tokens == pytest.approx(tokens[use], rel=0.3), use
        assert call.prompt_tokens is not None
        assert call.completion_tokens is not None
        assert call.cost == pytest.approx((2 * call.prompt_tokens + 10 * call.completion_tokens) / 1e6)
    assert (expected["labels"].rows, expected["step"].rows) == (ROWS - 2, ROWS)

    again = by_use(estimate(context.config, context.shared))

    assert (again["difficulty answers"].calls, again["labels"].calls, again["step"].calls) == (0, 0, ROWS)
    assert again["labels"].cost == 0


def test_samples_and_rows_to_choose_count_and_a_batch_takes_its_part(tmp_path: Path, model: Path) -> None:
    more: dict[str, Any] = {
        "method": "random",
        "n_samples": 5,
        "difficulty": {"engine": "openai", "judge": CALL, "samples": 3, "temperature": 1.0},
        "extract": "step",
        "rewriter": CALL,
    }
    context = context_of(tmp_path / "run", model, "http://127.0.0.1:1/v1", **more)
    full = by_use(estimate(context.config, context.shared))
    assert (full["difficulty answers"].calls, full["difficulty judge"].calls) == (3 * ROWS, 3 * ROWS)
    assert (full["step"].rows, full["step"].calls) == (5, 5)
    assert full["step"].cost
    context = context_of(
        tmp_path / "run", model, "http://127.0.0.1:1/v1", **more | {"rewriter": CALL | {"batch": True}}
    )
    halved = by_use(estimate(context.config, context.shared))["step"]
    assert halved.cost == pytest.approx(full["step"].cost / 2)


@pytest.mark.parametrize(
    ("kind", "restore", "expected"),
    [
        ("skip", None, {"step": ROWS, "skip": 0}),
        ("shuffle", True, {"step": ROWS, "shuffle": 0, "restore": ROWS}),
        ("answer", None, {"step": ROWS, "answer": ROWS}),
    ],
)
def test_a_perturbation_asks_what_it_takes(
    tmp_path: Path, model: Path, kind: str, restore: bool | None, expected: dict[str, int]
) -> None:
    perturbation = {"type": kind, "rate": 1.0}
    more: dict[str, Any] = {"extract": "step", "perturbation": perturbation, "restore": restore, "rewriter": CALL}
    context = context_of(tmp_path / "run", model, "http://127.0.0.1:1/v1", **more)
    found = by_use(estimate(context.config, context.shared))
    assert {use: call.calls for use, call in found.items()} == expected


def test_without_prices_there_are_no_dollars_and_without_the_rows_no_numbers(tmp_path: Path, model: Path) -> None:
    context = context_of(tmp_path / "run", model, "http://127.0.0.1:1/v1", prices=None, **EVERYTHING)
    found = estimate(context.config, context.shared)
    assert found.cost is None
    assert all(call.cost is None and call.calls for call in found.calls)
    gone = DatasetEntry(hf_path="nobody/has-this", revision="main")
    config = context.config.model_copy(update={"train_dataset": gone})
    unknown = estimate(config, context.shared)
    assert [call.what for call in unknown.calls] == [call.what for call in found.calls]
    assert {call.calls for call in unknown.calls} == {None}
    assert unknown.remarks[0].startswith("unknown until its rows are here:")


def served_lab(folder: Path, monkeypatch: pytest.MonkeyPatch, max_cost: float) -> Lab:
    """A lab with an experiment, `labelled`, that asks a model behind an API, and may spend `max_cost`."""
    lab = make_small_lab(folder, monkeypatch)
    gpt = {"api_model": "gpt-x", "base_url": "http://127.0.0.1:1/v1", "api_key_env": "LAB_KEY", "max_length": 512}
    gpt["prices"] = {"input": 1000.0, "output": 1000.0}
    edit_json(folder / "config.json", lambda catalog: catalog["models"].update(gpt=gpt))
    labels = {"model_key": "gpt", "engine": "openai", "relabel": True}
    curation = {"method": "random", "n_samples": 4, "format": "plain", "labels": labels, "max_cost": max_cost}
    add(lab, "labelled", curation=curation)
    return lab


def test_a_dry_run_shows_the_estimate_and_warns_of_max_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = served_lab(tmp_path, monkeypatch, max_cost=0.01)
    body = answer_of(lab, "submit", "labelled", "tuned", "--dry-run", "--cluster", "local")
    assert list(body["data"]["estimate"]) == ["labelled"]
    ((stage, told),) = body["data"]["estimate"]["labelled"].items()
    (call,) = told["calls"]
    assert (stage, call["what"], call["model"], call["rows"], call["calls"]) == ("curation", "labels", "gpt", 8, 8)
    assert told["cost"] == call["cost"] > told["max_cost"] == 0.01
    over = f"labelled: curation: its model calls would come to about ${told['cost']:,.2f}, over max_cost 0.01"
    assert over in body["warnings"]
    shown = lab.meds1("run", "labelled", "--dry-run").stdout
    assert "Model calls (estimate)" in shown
    assert "labelled    curation   labels   gpt" in shown
    assert "\nall " not in shown
    two = ("--set", "curation.extract=step", "--set", 'curation.rewriter={"model_key": "gpt"}')
    (total,) = [
        line.split()
        for line in lab.meds1("run", "labelled", "--dry-run", *two).stdout.splitlines()
        if line.startswith("all ")
    ]
    assert total[1] == str(8 + 4)
    assert over in python_m(lab, "curation", "labelled", "--dry-run")
    assert "Model calls" not in lab.meds1("run", "tuned", "--dry-run").stdout
