"""The eval stage: ask the model every question of every benchmark, extract the answers, count.

An experiment that has training is evaluated with the model its training recorded, never with the base model. All
benchmarks go through the engine as one queue. Answers are kept in `eval_predictions.partial.jsonl` as they come, and
a killed attempt asks only what is missing; the end writes `eval_predictions.jsonl` and `eval_results.json`.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from data.hub import resolve
from data.rows import Row
from eval.benchmarks import load_benchmarks
from eval.predictions import judge, write_predictions
from eval.summary import require_output, summarise
from inference.engine import EngineSpec, Request, Sampling
from inference.formats import FORMATS, ChatFormat
from inference.journal import generate_resumable
from inference.prompts import messages, system_prompt
from registry.effective import EffectiveConfig
from registry.errors import MissingError, UsageError
from registry.schema import EvalConfig
from registry.stage import StageContext, StageOutput

log = logging.getLogger(__name__)

PARTIAL = "eval_predictions.partial.jsonl"
PREDICTIONS = "eval_predictions.jsonl"
RESULTS = "eval_results.json"


def run(context: StageContext) -> StageOutput:
    """Evaluate; raises `StageFailure` when every output is empty or an error."""
    config = context.config
    model, chat_format = model_path(context), answer_format(config)
    benchmarks = load_benchmarks(config.eval_datasets, config.eval.limit)
    rows = [row for benchmark in benchmarks.values() for row in benchmark.rows]
    requests = {row.id: _request(row, config, chat_format) for row in rows}
    log.info("%s: %d questions of %d benchmarks for %s", config.experiment, len(rows), len(benchmarks), model)
    started = time.monotonic()
    generations = generate_resumable(
        _engine_spec(config, model),
        list(requests.values()),
        _sampling(config.eval),
        context.run_dir / PARTIAL,
        context.stop,
    )
    seconds = time.monotonic() - started
    by_id = {generation.id: generation for generation in generations}
    predictions = [judge(row, list(requests[row.id].messages), by_id[row.id], chat_format) for row in rows]
    require_output(predictions, config.experiment)
    summary = {source: summarise([p for p in predictions if p.source == source]) for source in benchmarks}
    for source, numbers in summary.items():
        log.info("%s: %s %d of %d", config.experiment, source, numbers["num_correct"], numbers["total_examples"])
    write_predictions(predictions, context.run_dir / PREDICTIONS)
    _write_results(summary, context.run_dir / RESULTS)
    (context.run_dir / PARTIAL).unlink()
    return StageOutput(
        metrics={
            "benchmarks": summary,
            "engine": config.eval.engine,
            "limit": config.eval.limit,
            "format": chat_format.name,
            "prompting": config.prompting,
            "seconds": round(seconds, 1),
        },
        artifacts={"results_path": context.run_dir / RESULTS, "predictions_path": context.run_dir / PREDICTIONS},
        link=context.run_dir,
    )


def model_path(context: StageContext) -> Path:
    """Return the trained model's folder if the experiment has training, else the base model's."""
    if context.config.training is None:
        return resolve(context.config.model, "model", context.config.model_key)
    if "training" not in context.upstream:
        raise MissingError(
            f"{context.config.experiment}: its training has no result; run its training first "
            "(the base model is not evaluated in its place)"
        )
    return context.upstream["training"].path("model_path")


def answer_format(config: EffectiveConfig) -> ChatFormat:
    """Return the format the model was trained to answer in; `plain` for a base model."""
    if config.training is None:
        return FORMATS["plain"]
    if config.curation is None:
        raise UsageError(f"{config.experiment}: it has training but no curation, so its answers' format is unknown")
    return FORMATS[config.curation.format]


def _request(row: Row, config: EffectiveConfig, chat_format: ChatFormat) -> Request:
    options = [(option.letter, option.text) for option in row.options]
    system = system_prompt(chat_format, config.model.system_prompt)
    return Request(row.id, messages(row.question, options, config.prompting, system))


def _engine_spec(config: EffectiveConfig, model: Path) -> EngineSpec:
    return EngineSpec(
        name=config.eval.engine,
        model=model,
        max_length=config.model.max_length,
        tensor_parallel=config.eval.tensor_parallel,
        seed=config.eval.seed,
    )


def _sampling(config: EvalConfig) -> Sampling:
    return Sampling(max_tokens=config.max_tokens, temperature=config.temperature, top_p=config.top_p, seed=config.seed)


def _write_results(summary: dict[str, Any], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps({"summary": summary}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
