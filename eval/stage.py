"""The eval stage: ask the model every question of every benchmark, extract the answers, count.

An experiment that has training is evaluated with the model its training recorded, never with the base model. Answers
are kept in `eval_predictions.partial.jsonl` as they come (those of a served model, and verdicts, among the answers that
all experiments share), and a killed attempt asks only what is missing; the end writes `eval_predictions.jsonl` and
`eval_results.json`. Where the context names earlier predictions, these are scored
again, and no model is asked.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.answers import Answer, ask, stored
from eval.benchmarks import load_benchmarks
from eval.models import answer_format, engine_spec
from eval.predictions import Prediction, judge, write_predictions
from eval.questions import Question, questions_of
from eval.summary import details, headline, require_output, summarise
from eval.verdicts import Judged, judge_spec, judged, purse_of
from inference.answer_files import shared_answers
from inference.engine import EngineSpec, ServedModel
from inference.formats import ChatFormat
from inference.journal import Asking
from registry.durable import write_durably
from registry.stage import StageContext, StageOutput

log = logging.getLogger(__name__)

PARTIAL = "eval_predictions.partial.jsonl"
PREDICTIONS = "eval_predictions.jsonl"
RESULTS = "eval_results.json"


def run(context: StageContext) -> StageOutput:
    """Evaluate; raises `StageFailure` when every output is empty or an error."""
    config = context.config
    chat_format = answer_format(config)
    # What can be wrong with a model is said before data is loaded.
    spec = None if context.earlier else engine_spec(config, context.upstream)
    judge_engine = judge_spec(config)
    benchmarks = load_benchmarks(config.eval_datasets, config.eval.limit)
    questions = questions_of(benchmarks, config, chat_format)
    log.info("%s: %d questions of %d benchmarks", config.experiment, len(questions), len(benchmarks))
    started = time.monotonic()
    answers = _answers(context, spec, questions, chat_format)
    seconds = time.monotonic() - started
    predictions = [judge(answer, chat_format) for answer in answers]
    require_output(predictions, config.experiment)
    verdicts = _verdicts(context, judge_engine, questions, headline(predictions))
    if verdicts is not None:
        predictions = [verdicts.on(prediction) for prediction in predictions]
    by_benchmark = {name: [p for p in predictions if p.source == name] for name in benchmarks}
    summary = {name: summarise(benchmarks[name], found, chat_format) for name, found in by_benchmark.items()}
    if verdicts is not None:
        summary = {
            name: one | {"judge": verdicts.summary(headline(by_benchmark[name]))} for name, one in summary.items()
        }
    tables = {name: details(benchmarks[name], headline(found)) for name, found in by_benchmark.items()}
    _say(config.experiment, summary)
    _write(context.run_dir, predictions, {"summary": summary, "details": tables})
    return StageOutput(
        metrics={
            "benchmarks": summary,
            "engine": config.eval.engine,
            "limit": config.eval.limit,
            "format": chat_format.name,
            "prompting": config.prompting,
            "rescored": context.earlier is not None,
            "seconds": round(seconds, 1),
        },
        artifacts={"results_path": context.run_dir / RESULTS, "predictions_path": context.run_dir / PREDICTIONS},
        link=context.run_dir,
    )


def _answers(
    context: StageContext, spec: EngineSpec | None, questions: Sequence[Question], chat_format: ChatFormat
) -> list[Answer]:
    settings = context.config.eval
    if spec is None:
        assert context.earlier is not None
        log.info("%s: scoring %s again; the model is not asked", context.config.experiment, context.earlier)
        return stored(context.earlier, questions, settings)
    served = isinstance(spec.model, ServedModel)
    journal = shared_answers(spec, context.shared) if served else context.run_dir / PARTIAL
    purse = purse_of(context, context.config.model_key, context.config.model) if served else None
    with Asking(spec, journal, context.stop, purse) as asking:
        return ask(questions, asking, settings, chat_format)


def _verdicts(
    context: StageContext, spec: EngineSpec | None, questions: Sequence[Question], predictions: Sequence[Prediction]
) -> Judged | None:
    if spec is None:
        return None
    rows = {question.row.id: question.row for question in questions}
    return judged(context, spec, predictions, rows)


def _say(experiment: str, summary: Mapping[str, Mapping[str, Any]]) -> None:
    for source, numbers in summary.items():
        log.info("%s: %s: %d of %d right", experiment, source, numbers["num_correct"], numbers["total_examples"])
        if numbers["flags"]:
            log.warning("%s: %s: look into this result: %s", experiment, source, ", ".join(numbers["flags"]))


def _write(folder: Path, predictions: Sequence[Prediction], results: Mapping[str, Any]) -> None:
    """Write both files; a journal with errors stays, so that a forced run asks again for what failed alone."""
    write_predictions(predictions, folder / PREDICTIONS)
    write_durably(folder / RESULTS, (json.dumps(results, indent=2, ensure_ascii=False) + "\n").encode())
    if not any(prediction.finish_reason == "error" for prediction in predictions):
        (folder / PARTIAL).unlink(missing_ok=True)
