"""What the model calls of a curation will come to, from the very prompts that it will send; nothing is asked.

Which rows the filters remove, nobody knows beforehand: what is asked about every row is counted for all of them.
Answers to the difficulty filter and labels that are kept in `shared` cost nothing and are not counted. How long answers
will be, and what one rewriting leaves for the next, are rules of thumb.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from curation.calls import Model, spec_of
from curation.difficulty import answering_model, request_of
from curation.judge import judge_prompt, judge_query
from curation.labels import label_query, unlabelled
from curation.ledger import Ledger, open_ledger
from curation.quality import missing_fields
from curation.rewriting.apply import rewritings_of
from curation.rewriting.outcome import Rewriting
from curation.rewriting.steps import join_steps
from curation.rewriting.style import Style
from data.load import load_rows
from data.rows import Row
from inference.answer_files import shared_answers
from inference.dialogue import Query, Reply
from inference.engine import EngineSpec, Sampling
from inference.journal import Asking
from inference.prompts import TOKEN_BYTES, Messages, about_tokens
from registry.catalog import DatasetEntry
from registry.curation_schema import CurationConfig
from registry.effective import EffectiveConfig
from registry.errors import MissingError
from registry.estimates import Called, CallEstimate, StageEstimate, priced
from registry.filter_schema import DifficultyConfig
from registry.rewriting_schema import STEPWISE, LabelsConfig, Role
from registry.stage import StageContext

ANSWER_TOKENS: Final = 300
SHORT_TOKENS: Final = {"difficulty judge": 60, "labels": 12, "answer": 60}
SAMPLE: Final = 200
"""Rows of which the rewritings are tried out."""
_STEPS: Final = 6


@dataclass(frozen=True)
class _Case:
    """A curation and the rows that its models are asked about."""

    config: EffectiveConfig
    curation: CurationConfig
    shared: Path
    entries: Ledger


def estimate(config: EffectiveConfig, shared: Path) -> StageEstimate:
    """Every use of a model in the curation of `config`, in their order; null numbers where its rows are not here."""
    assert config.curation is not None
    assert config.train_dataset is not None
    try:
        ledger = _ledger(str(config.train_dataset_key), config.train_dataset.model_dump_json())
    except MissingError as error:
        uses = [priced(called, _unknown(config.curation, called), None, 0, 0) for called in _uses(config)]
        return StageEstimate(uses, [f"unknown until its rows are here: {error}"])
    unusable = missing_fields(ledger, config.curation.needs_reasoning)
    entries = tuple(entry for entry in ledger if entry.row.id not in unusable)
    return StageEstimate(list(_estimates(_Case(config, config.curation, shared, entries))))


@lru_cache(maxsize=1)
def _ledger(key: str, dataset: str) -> Ledger:
    """The rows. The data set is read once for all the experiments of a sweep."""
    rows = sorted(load_rows(key, DatasetEntry.model_validate_json(dataset)), key=lambda row: row.id)
    return open_ledger(rows, [0] * len(rows))


def _uses(config: EffectiveConfig) -> Iterator[Called]:
    """Every use of a model that the config names."""
    curation = config.curation
    assert curation is not None
    if curation.difficulty is not None:
        yield _answering(config, curation.difficulty)
        if curation.difficulty.judge is not None:
            yield _called(config, "difficulty_judge", "difficulty judge")
    if curation.labels is not None:
        yield _called(config, "labels", "labels")
    if curation.rewriter is not None:
        for name, _ in rewritings_of(curation):
            yield _called(config, "rewriter", name)


def _unknown(curation: CurationConfig, called: Called) -> int | None:
    """How many rows are rewritten at most, of data that is not here."""
    return None if called.what in ("difficulty answers", "difficulty judge", "labels") else curation.wanted


def _estimates(case: _Case) -> Iterator[CallEstimate]:
    if case.curation.difficulty is not None:
        yield _difficulty(case, case.curation.difficulty)
        if case.curation.difficulty.judge is not None:
            yield _judge(case, case.curation.difficulty)
    if case.curation.labels is not None:
        yield _labels(case, case.curation.labels)
    yield from _rewritings(case)


def _difficulty(case: _Case, difficulty: DifficultyConfig) -> CallEstimate:
    called = _answering(case.config, difficulty)
    asked = [request_of(entry.row, called.entry.system_prompt) for entry in case.entries]
    requests = {request.id: request for request in asked}
    try:
        spec = answering_model(case.config, difficulty)[0]
        sampling = Sampling(difficulty.max_tokens, difficulty.temperature, seed=spec.seed, n=difficulty.samples)
        calls = _asking(spec, case.shared).unanswered(list(requests.values()), sampling)
    except MissingError:  # a model of one's own that is not on this machine
        calls = difficulty.samples * len(requests)
    prompt = _mean_tokens([request.messages for request in requests.values()])
    return priced(called, len(case.entries), calls, prompt, min(ANSWER_TOKENS, difficulty.max_tokens))


def _judge(case: _Case, difficulty: DifficultyConfig) -> CallEstimate:
    """One verdict for each answer: whether two of them are equal, nobody knows before they are there."""
    called = _called(case.config, "difficulty_judge", "difficulty judge")
    prompts = dict.fromkeys(judge_prompt(entry.row, "") for entry in case.entries)
    answer = min(ANSWER_TOKENS, difficulty.max_tokens)
    prompt = _mean_tokens([judge_query(prompt).messages for prompt in prompts]) + answer
    return priced(called, len(case.entries), difficulty.samples * len(prompts), prompt, SHORT_TOKENS[called.what])


def _labels(case: _Case, labels: LabelsConfig) -> CallEstimate:
    called = _called(case.config, "labels", "labels")
    queries = [label_query(entry.row, labels.engine) for entry in unlabelled(case.entries, labels)]
    try:
        spec = spec_of(StageContext(case.config, case.shared, case.shared, case.shared), "labels")
        calls = Model(_asking(spec, case.shared), labels).unanswered(queries)
    except MissingError:  # a model of one's own that is not on this machine
        calls = len(queries)
    prompt = _mean_tokens([query.messages for query in queries])
    return priced(called, len(queries), calls, prompt, SHORT_TOKENS[called.what])


@dataclass
class _Recorder:
    """Takes the part of the model: keeps what it is asked, and answers nothing."""

    queries: list[Query[Row]] = field(default_factory=list)

    def __call__(self, queries: Sequence[Query[Row]]) -> list[Reply[Row]]:
        self.queries += queries
        return [Reply(None, 1, "nothing was asked") for _ in queries]


def _rewritings(case: _Case) -> Iterator[CallEstimate]:
    """What the rewritings ask about a sample of the rows, each about what the one before is thought to leave."""
    rewriter = case.curation.calls.get("rewriter")
    if rewriter is None:
        return
    chosen = min(len(case.entries), case.curation.wanted or len(case.entries))
    rows = [entry.row for entry in case.entries[:: -(-len(case.entries) // SAMPLE) or 1]]
    for name, rewriting in rewritings_of(case.curation):
        recorder = _Recorder()
        rewriting(rows, recorder)
        calls = round(chosen * len(recorder.queries) / len(rows)) if rows else 0
        prompt = _mean_tokens([query.messages for query in recorder.queries])
        written = sum(len(row.reasoning.encode()) for row in rows) / TOKEN_BYTES * _expansion(rewriting)
        completion = SHORT_TOKENS.get(name, written / len(recorder.queries) if calls else 0)
        called = _called(case.config, "rewriter", name)
        yield priced(called, chosen, calls, prompt, min(completion, rewriter.max_tokens))
        rows = [_left_by(rewriting, row) for row in rows]


def _expansion(rewriting: Rewriting) -> float:
    return rewriting.expansion if isinstance(rewriting, Style) else 1.0


def _left_by(rewriting: Rewriting, row: Row) -> Row:
    """A row as the next rewriting may find it: as long as the style makes it, and in steps where it makes steps."""
    if not isinstance(rewriting, Style):
        return row
    text = row.reasoning[: round(len(row.reasoning) * rewriting.expansion)]
    if rewriting.name not in STEPWISE:
        return replace(row, reasoning=text)
    words = text.split()
    size = -(-len(words) // _STEPS) or 1
    parts = [" ".join(words[start : start + size]) for start in range(0, len(words), size)]
    return replace(row, reasoning=join_steps([f"Part\n{part}" for part in parts]))


def _answering(config: EffectiveConfig, difficulty: DifficultyConfig) -> Called:
    key, entry = config.difficulty_model_key or config.model_key, config.difficulty_model or config.model
    return Called("difficulty answers", key, entry, difficulty.engine)


def _called(config: EffectiveConfig, role: Role, what: str) -> Called:
    assert config.curation is not None
    call = config.curation.calls[role]
    return Called(what, call.model_key, config.called_models[role], call.engine, call.batch)


def _asking(spec: EngineSpec, shared: Path) -> Asking:
    """Opens no engine as long as nothing is asked."""
    return Asking(spec, shared_answers(spec, shared))


def _mean_tokens(conversations: Sequence[Messages]) -> float:
    return sum(map(about_tokens, conversations)) / len(conversations) if conversations else 0.0
