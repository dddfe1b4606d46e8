"""The difficulty filter: what the base model already answers teaches it nothing, what it never answers may be noise.

The base model answers each question `samples` times; the share of right answers is the row's pass rate. A question
is asked once however many rows repeat it, and every row is judged by its own gold answer, by rule or by a model
(`curation.judge`). An answer that could not be generated, or of which nobody could say whether it is right, is no
evidence of difficulty: the row is `unjudged`, and kept or removed as the config says.

Answers are kept for all experiments (`inference.answer_files`): a sibling, a requeue and a forced run ask only what no
one has asked this model before.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.calls import purse_of
from curation.ledger import Ledger, Removals
from curation.outputs import write_lines
from data.hub import resolve
from data.rows import Row
from inference.answer_files import shared_answers
from inference.engine import EngineSpec, Generation, Request, Sampling, model_source
from inference.journal import generate_resumable
from inference.prompts import messages
from registry.effective import EffectiveConfig
from registry.errors import StageFailure
from registry.filter_schema import DifficultyConfig
from registry.stage import StageContext
from scoring.extraction import extract_choice
from scoring.free_text import text_matches
from scoring.labels import extract_labels

ANSWERS = "difficulty_answers.jsonl"
CUT_SHORT = 0.1
"""The share of answers that may be cut off without a warning."""
UNJUDGED = "unjudged: the base model's answer could not be generated"
UNREAD = "unjudged: the judge's verdict could not be read"
log = logging.getLogger(__name__)

Answers = Mapping[str, Sequence[Generation]]
"""Row id -> the base model's answers to its question."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer is right, null where nobody can say, and a judge's reason."""

    right: bool | None
    explanation: str | None = None


Verdicts = Mapping[str, Sequence[Verdict]]
"""Row id -> what was found of each of its answers."""


@dataclass(frozen=True)
class Judgement:
    """What the base model made of the entries: pass rates or why there is none, by row id, and counts of rows."""

    pass_rates: Mapping[str, float]
    unjudged: Mapping[str, str]
    metrics: Mapping[str, Any]


def answered(entries: Ledger, context: StageContext, config: DifficultyConfig) -> tuple[Answers, dict[str, Any]]:
    """The base model's answers to every entry, and which model that was.

    Equal prompts are asked once. Raises `StageStopped` with every finished answer kept.
    """
    spec, key = answering_model(context.config, config)
    system = (context.config.difficulty_model or context.config.model).system_prompt
    prompts = {entry.row.id: request_of(entry.row, system) for entry in entries}
    requests = {request.id: request for request in prompts.values()}
    log.info("difficulty: %d rows are %d different questions to %s", len(entries), len(requests), key)
    sampling = Sampling(config.max_tokens, config.temperature, seed=spec.seed, n=config.samples)
    journal = shared_answers(spec, context.shared)
    by_request: dict[str, list[Generation]] = defaultdict(list)
    purse = purse_of(context, key, context.config.difficulty_model or context.config.model)
    for generation in generate_resumable(spec, list(requests.values()), sampling, journal, context.stop, purse):
        by_request[generation.id].append(generation)
    return {row_id: by_request[request.id] for row_id, request in prompts.items()}, {"model": key}


def require_answers(answers: Answers, model: str) -> None:
    """Raise `StageFailure` when no answer at all could be generated or every answer is empty."""
    given = [generation for generations in answers.values() for generation in generations]
    failed = [generation for generation in given if generation.finish_reason == "error"]
    if len(failed) == len(given):
        raise StageFailure(f"the difficulty filter got no answer from {model}: {failed[0].error}")
    if not any(generation.text.strip() for generation in given):
        raise StageFailure(f"every answer of {model} in the difficulty filter is empty; check its chat template")


def by_rule(entries: Ledger, answers: Answers) -> Verdicts:
    """Read from every answer whether it is the gold one."""
    return {entry.row.id: [_by_rule(entry.row, answer) for answer in answers[entry.row.id]] for entry in entries}


def _by_rule(row: Row, answer: Generation) -> Verdict:
    return Verdict(None if answer.finish_reason == "error" else is_right(row, answer.text))


def judgement_of(entries: Ledger, answers: Answers, verdicts: Verdicts) -> Judgement:
    """The pass rate of every entry; one with an answer that has no verdict is unjudged."""
    given = [answer for entry in entries for answer in answers[entry.row.id]]
    failed = {row_id for row_id, own in answers.items() if any(a.finish_reason == "error" for a in own)}
    pass_rates, unjudged = {}, {}
    for entry in entries:
        right = [verdict.right for verdict in verdicts[entry.row.id]]
        if None in right:
            unjudged[entry.row.id] = UNJUDGED if entry.row.id in failed else UNREAD
        else:
            pass_rates[entry.row.id] = sum(map(bool, right)) / len(right)
    metrics = {
        "judged": len(pass_rates),
        "unjudged": len(unjudged),
        "right": sum(rate > 0 for rate in pass_rates.values()),
        "mean_pass_rate": sum(pass_rates.values()) / len(pass_rates) if pass_rates else None,
        "empty_answers": sum(answer.finish_reason != "error" and not answer.text.strip() for answer in given),
        "truncated_answers": sum(answer.finish_reason == "length" for answer in given),
    }
    return Judgement(pass_rates, unjudged, metrics)


def cut_short(judgement: Judgement, config: DifficultyConfig) -> list[str]:
    """A warning where many answers were cut off: they count as wrong, so that an easy question looks hard."""
    cut, answers = judgement.metrics["truncated_answers"], judgement.metrics["judged"] * config.samples
    if cut <= CUT_SHORT * answers:
        return []
    return [f"{cut} of {answers} answers of the difficulty filter were cut off at max_tokens {config.max_tokens}"]


def outside(judgement: Judgement, config: DifficultyConfig) -> Removals:
    """Rows whose pass rate is out of range, and unjudged ones if the config removes them."""
    lowest, highest = config.pass_rate
    removals = dict(judgement.unjudged) if config.unjudged == "remove" else {}
    for row_id, rate in judgement.pass_rates.items():
        if rate > highest:
            removals[row_id] = f"too easy: the base model's pass rate is over {highest:g}"
        elif rate < lowest:
            removals[row_id] = f"too hard: the base model's pass rate is under {lowest:g}"
    return removals


def is_right(row: Row, text: str) -> bool:
    """Whether a base model's answer is right: by letter (of all that are right), or without options by its text."""
    if row.answer_idx is None:
        return text_matches(row.answer, text)
    if "," in row.answer_idx:
        return extract_labels(text, row.choices).labels == frozenset(row.answer_idx.split(","))
    return extract_choice(text, row.choices).letter == row.answer_idx


def write_answers(ledger: Ledger, answers: Answers, verdicts: Verdicts, run_dir: Path) -> Path:
    """Write what the base model answered to each row, and what a judge said: there one reads why it was removed."""
    records = (
        _record(entry.row, answer, verdict)
        for entry in ledger
        for answer, verdict in zip(answers.get(entry.row.id, ()), verdicts.get(entry.row.id, ()), strict=True)
    )
    return write_lines(records, run_dir / ANSWERS)


def _record(row: Row, answer: Generation, verdict: Verdict) -> dict[str, Any]:
    said = {} if verdict.explanation is None else {"explanation": verdict.explanation}
    return {
        "id": row.id,
        "question_id": row.question_id,
        "index": answer.index,
        "right": verdict.right,
        **said,
        "finish_reason": answer.finish_reason,
        "text": answer.text,
        "error": answer.error,
    }


def answering_model(config: EffectiveConfig, difficulty: DifficultyConfig) -> tuple[EngineSpec, str]:
    """How the model that answers is opened, and its key in the catalog."""
    model, key = config.difficulty_model or config.model, config.difficulty_model_key or config.model_key
    assert config.curation is not None
    # Greedy answers are drawn from no seed, so that experiments which differ in it share them.
    seed = config.curation.seed if difficulty.temperature else 0
    source = model_source(model, key, difficulty.engine, resolve)
    return EngineSpec(difficulty.engine, source, model.max_length, seed=seed), key


def request_of(row: Row, system: str | None) -> Request:
    """The request of a row's question; its id is of its content, so that its random streams are everywhere the same."""
    asked = messages(row.question, row.choices, "plain", system)
    return Request(hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16], asked)
