"""The difficulty filter: what the base model already answers teaches it nothing, what it never answers may be noise.

The base model answers each question `samples` times; the share of right answers is the row's pass rate. A question
is asked once however many rows repeat it, and every row is judged by its own gold answer. An answer that could not be
generated is no evidence of difficulty: the row is `unjudged`, and kept or removed as the config says.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.ledger import Ledger, Removals
from data.hub import resolve
from data.rows import Row
from inference.engine import EngineSpec, Generation, Request, Sampling, model_source
from inference.journal import generate_resumable
from inference.prompts import messages
from registry.curation_schema import DifficultyConfig
from registry.errors import StageFailure
from registry.stage import StageContext
from registry.stopping import StopFlag
from scoring.extraction import extract_choice
from scoring.free_text import text_matches

ANSWERS = "difficulty_answers.jsonl"
ANSWERS_PARTIAL = "difficulty_answers.partial.jsonl"
UNJUDGED = "unjudged: the base model's answer could not be generated"


Answers = Mapping[str, Sequence[Generation]]
"""Row id -> the base model's answers to its question."""


@dataclass(frozen=True)
class Judgement:
    """What the base model made of the entries: pass rate by row id (unjudged rows are absent), and counts of rows."""

    pass_rates: Mapping[str, float]
    metrics: Mapping[str, Any]


def ask(
    entries: Ledger,
    spec: EngineSpec,
    system: str | None,
    config: DifficultyConfig,
    journal: Path,
    stop: StopFlag | None = None,
) -> Answers:
    """Let the model of `spec` answer every entry's question; answers are kept in `journal`, and resumed from it.

    Raises `StageFailure` when no answer at all could be generated or every answer is empty.
    """
    prompts = {entry.row.id: _request(entry.row, system) for entry in entries}
    requests = {request.id: request for request in prompts.values()}
    sampling = Sampling(config.max_tokens, config.temperature, seed=spec.seed, n=config.samples)
    generations = generate_resumable(spec, list(requests.values()), sampling, journal, stop)
    _require_answers(generations, spec)
    by_request: dict[str, list[Generation]] = defaultdict(list)
    for generation in generations:
        by_request[generation.id].append(generation)
    return {row_id: by_request[request.id] for row_id, request in prompts.items()}


def answered(entries: Ledger, context: StageContext, config: DifficultyConfig) -> tuple[Answers, dict[str, Any]]:
    """The base model's answers to every entry, and which model that was."""
    model = context.config.difficulty_model or context.config.model
    key = context.config.difficulty_model_key or context.config.model_key
    assert context.config.curation is not None
    source = model_source(model, key, config.engine, resolve)
    spec = EngineSpec(config.engine, source, model.max_length, seed=context.config.curation.seed)
    journal = context.run_dir / ANSWERS_PARTIAL
    return ask(entries, spec, model.system_prompt, config, journal, context.stop), {"model": key}


def judge(entries: Ledger, answers: Answers) -> Judgement:
    """Hold every entry's answers against its gold answer; a row with an answer that ended in an error is unjudged."""
    judged = {
        entry.row.id: sum(is_right(entry.row, answer.text) for answer in answers[entry.row.id])
        for entry in entries
        if all(answer.finish_reason != "error" for answer in answers[entry.row.id])
    }
    pass_rates = {row_id: right / len(answers[row_id]) for row_id, right in judged.items()}
    given = [answer for entry in entries for answer in answers[entry.row.id]]
    metrics = {
        "judged": len(judged),
        "unjudged": len(entries) - len(judged),
        "right": sum(right > 0 for right in judged.values()),
        "mean_pass_rate": sum(pass_rates.values()) / len(pass_rates) if pass_rates else None,
        "empty_answers": sum(answer.finish_reason != "error" and not answer.text.strip() for answer in given),
        "truncated_answers": sum(answer.finish_reason == "length" for answer in given),
    }
    return Judgement(pass_rates, metrics)


def outside(entries: Ledger, judgement: Judgement, config: DifficultyConfig) -> Removals:
    """Rows whose pass rate is out of range, and unjudged ones if the config removes them."""
    lowest, highest = config.pass_rate
    removals = {}
    for entry in entries:
        rate = judgement.pass_rates.get(entry.row.id)
        if rate is None:
            if config.unjudged == "remove":
                removals[entry.row.id] = UNJUDGED
        elif rate > highest:
            removals[entry.row.id] = f"too easy: the base model's pass rate is over {highest:g}"
        elif rate < lowest:
            removals[entry.row.id] = f"too hard: the base model's pass rate is under {lowest:g}"
    return removals


def is_right(row: Row, text: str) -> bool:
    """Whether a base model's answer is right: by letter, or by the answer's text for a question without options."""
    if row.answer_idx is not None:
        return extract_choice(text, row.choices).letter == row.answer_idx
    return text_matches(row.answer, text)


def _request(row: Row, system: str | None) -> Request:
    asked = messages(row.question, row.choices, "plain", system)
    return Request(hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16], asked)


def _require_answers(generations: Sequence[Generation], spec: EngineSpec) -> None:
    failed = [generation for generation in generations if generation.finish_reason == "error"]
    if len(failed) == len(generations):
        raise StageFailure(f"the difficulty filter got no answer from {spec.model}: {failed[0].error}")
    if not any(generation.text.strip() for generation in generations):
        raise StageFailure(f"every answer of {spec.model} in the difficulty filter is empty; check its chat template")
