"""An eval of a model behind a server with a judge behind another: both are paid once, whoever asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.stage import run
from registry.catalog import DatasetEntry, ModelEntry, Prices
from registry.errors import StageFailure
from registry.spending import spending_of
from registry.stage import StageContext
from tests.faulty_server import Body, FaultyServer, Reply, completion, serving
from tests.stages import make_context, record, write_jsonl


def answer(body: Body, before: int) -> Reply:
    """The model is always wrong, and the judge's words are no verdict."""
    return completion("The answer is C" if body["model"] == "gpt" else "Hm.")


def context_of(folder: Path, run: str, server: FaultyServer, **settings: Any) -> StageContext:
    rows = write_jsonl(folder / "exam.jsonl", [record(number, "B") for number in range(5)])
    judge = {"model_key": "judge", "rubrics": ["failure_modes"]}
    settings = {"engine": "openai", "max_tokens": 20, "judge": judge, **settings}
    exam = {"exam": DatasetEntry(file_path=str(rows))}
    context = make_context(folder / run, folder, evaluate=exam, eval=settings)
    entry = ModelEntry(api_model="gpt", base_url=server.url, max_length=512, prices=Prices(input=1e5, output=2e5))
    judging = entry.model_copy(update={"api_model": "judge"})
    models = {"model": entry, "model_key": "gpt", "judge_model": judging}
    return replace(context, config=context.config.model_copy(update=models))


def test_a_sibling_and_a_forced_run_pay_nothing(tmp_path: Path) -> None:
    with serving(answer) as server:
        first = run(context_of(tmp_path, "first", server)).metrics["benchmarks"]
        assert len(server.bodies) == 10
        for again in ("first", "sibling"):
            assert run(context_of(tmp_path, again, server)).metrics["benchmarks"] == first
        run(context_of(tmp_path, "another seed", server, seed=7))  # greedy answers are drawn from none
        assert len(server.bodies) == 10
    assert first["exam"]["judge"]["failure_modes"]["n"] == 5
    paid, free = spending_of(tmp_path / "first"), spending_of(tmp_path / "sibling")
    assert paid is not None
    assert free is not None
    assert (paid["calls"], paid["cached"], paid["cost"]) == (10, 0, 13.0)
    assert {key: models["calls"] for key, models in paid["models"].items()} == {"gpt": 5, "judge": 5}
    assert (free["calls"], free["cached"], free["cost"]) == (0, 10, 0)


def test_model_and_judge_share_the_limit(tmp_path: Path) -> None:
    # Five answers cost $6.50; the judge's verdicts might cost more than what is left of $220.
    with serving(answer) as server:
        context = context_of(tmp_path, "run", server, max_cost=220.0)
        with pytest.raises(StageFailure, match=r"judge: \$6.50 of \$220.00 is spent; 5 answers are missing"):
            run(context)
        assert [body["model"] for body in server.bodies] == ["gpt"] * 5
