"""A model asked single questions: an experiment's model, a model of the catalog, or any model folder.

An experiment is asked as its evaluation asks it: with the model that its training recorded, its prompting and format,
and the settings of its `eval` where the command line says nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.hub import resolve
from data.rows import Row
from eval.benchmarks import Benchmark
from eval.models import answer_format, engine_spec
from eval.predictions import gold_of, read
from inference.checkpoint import max_positions
from inference.engine import EngineSpec, Generation, Request, Sampling, ServedModel, model_source, open_engine
from inference.formats import FORMATS, ChatFormat
from inference.prompts import messages, system_prompt
from registry.errors import MissingError, UsageError, nearest
from registry.fields import API_ENGINES, EngineName, FormatName
from registry.reading import View
from registry.schema import EvalConfig, PromptStyle, Stage
from registry.stage import Upstream
from registry.status import ended_as
from registry.store import Registry, experiments_of, results_of

# Longest sequence with a model folder of which no catalog says more: its own positions may not fit into memory.
MOST_POSITIONS = 8192


@dataclass(frozen=True)
class Settings:
    """How a model is asked; null takes what the experiment, the catalog or the model itself says."""

    engine: EngineName | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_length: int | None = None
    prompting: PromptStyle | None = None
    format: FormatName | None = None

    def over(self, config: EvalConfig) -> EvalConfig:
        """The eval settings with these laid over them."""
        fields = ("engine", "temperature", "top_p", "max_tokens")
        given = {field: value for field in fields if (value := getattr(self, field)) is not None}
        return config.model_copy(update=given)


@dataclass(frozen=True)
class Subject:
    """A model and how it is asked. `what` says in words what it is; `warnings`, what of its config does not count."""

    what: str
    spec: EngineSpec
    sampling: Sampling
    chat_format: ChatFormat
    prompting: PromptStyle
    system: str | None
    warnings: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The model's folder, or its name at a server."""
        return self.spec.model.name if isinstance(self.spec.model, ServedModel) else str(self.spec.model)

    def described(self) -> dict[str, Any]:
        """Everything that was chosen, as JSON values."""
        return {
            "model": self.model,
            "engine": self.spec.name,
            "format": self.chat_format.name,
            "prompting": self.prompting,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_tokens,
            "max_length": self.spec.max_length,
        }

    def request(self, row: Row) -> Request:
        """What the model is sent for a question."""
        options = row.choices
        return Request(row.id, messages(row.question, options, self.prompting, self.system))


def of_folder(folder: Path, settings: Settings) -> Subject:
    """A model folder: format and prompting are `plain`, the engine is `transformers`, unless the settings say more."""
    asked = settings.over(EvalConfig(engine="transformers"))
    if asked.engine in API_ENGINES:
        raise UsageError(
            f"{folder} is a model folder, which the engine {asked.engine} cannot load: use vllm or transformers"
        )
    max_length = settings.max_length or min(max_positions(folder) or MOST_POSITIONS, MOST_POSITIONS)
    spec = EngineSpec(asked.engine, folder, max_length, seed=asked.seed)
    return _subject(f"model folder {folder}", spec, asked, settings, None)


def of_catalog(opened: Registry, key: str, settings: Settings) -> Subject:
    """A model of the catalog: as a folder, with the catalog's format and length; `openai` for one behind a server."""
    entry = opened.model(key)
    asked = settings.over(EvalConfig(engine=entry.engines[0] if entry.is_served else "transformers"))
    model = model_source(entry, key, asked.engine, resolve, asked.concurrency)
    spec = EngineSpec(asked.engine, model, settings.max_length or entry.max_length, seed=asked.seed)
    settings = replace(settings, format=settings.format or entry.format)
    return _subject(f"catalog model {key}", spec, asked, settings, entry.system_prompt)


def of_experiment(opened: Registry, view: View, name: str, settings: Settings) -> Subject:
    """An experiment. Raises `MissingError` when its training has not finished: the base model never stands in."""
    config = opened.effective(view, name)
    asked = settings.over(config.eval)
    upstream = {} if config.training is None else _trained(view, name)
    spec = engine_spec(config.model_copy(update={"eval": asked}), upstream)
    spec = replace(spec, max_length=settings.max_length or spec.max_length)
    settings = replace(
        settings,
        prompting=settings.prompting or config.prompting,
        format=settings.format or answer_format(config).name,
    )
    unused = [part for part in ("thinking", "few_shot", "repetitions") if getattr(asked, part) is not None]
    warnings = [f"{name}: its eval.{part} does not count here" for part in unused]
    if config.training is not None and (state := opened.statuses(view, name)["training"]).status != "completed":
        warnings.append(f"{name}: its training is {': '.join(filter(None, [state.status, state.reason]))}")
    subject = _subject(f"experiment {name}", spec, asked, settings, config.model.system_prompt)
    return replace(subject, warnings=tuple(warnings))


def subject_of(opened: Registry, view: View, target: str, settings: Settings) -> Subject:
    """What a name means: an experiment, else a model of the catalog, else a model folder."""
    if target in experiments_of(view):
        return of_experiment(opened, view, target, settings)
    if target in opened.catalog.models:
        return of_catalog(opened, target, settings)
    if Path(target).is_dir():
        return of_folder(Path(target), settings)
    known = [*experiments_of(view), *opened.catalog.models]
    raise UsageError(f"{target!r} is no experiment, no model of the catalog and no folder{nearest(target, known)}")


def ask(subject: Subject, rows: Sequence[Row], batch_size: int | None) -> Iterator[dict[str, Any]]:
    """Yield an answer for each row as it is finished; at most `batch_size` questions are with the model at a time."""
    by_id = {row.id: row for row in rows}
    requests = [subject.request(row) for row in rows]
    size = batch_size or len(requests)
    with open_engine(subject.spec) as engine:
        for start in range(0, len(requests), size):
            for made in engine.generate(requests[start : start + size], subject.sampling):
                yield _answer(by_id[made.id], made, subject.chat_format)


def _answer(row: Row, made: Generation, chat_format: ChatFormat) -> dict[str, Any]:
    """One answer as JSON values; gold and correct are null where the question came without a gold answer."""
    thinking, answer_text = chat_format.split(made.text)
    benchmark = Benchmark("questions", "questions", "choice" if row.options else "text", (row,))
    reading = read(benchmark, row, answer_text)
    gold = gold_of(row) or None
    return {
        "id": row.id,
        "question": row.question,
        "options": {option.letter: option.text for option in row.options} or None,
        "output": made.text,
        "thinking": thinking,
        "answer_text": answer_text,
        "extracted": reading.extracted,
        "method": reading.method,
        "gold": gold,
        "correct": reading.correct if gold else None,
        "finish_reason": made.finish_reason,
        "prompt_tokens": made.prompt_tokens,
        "completion_tokens": made.completion_tokens,
        "error": made.error,
    }


def _trained(view: View, name: str) -> dict[Stage, Upstream]:
    result = results_of(view, name).get("training") or {}
    if ended_as(result) != "completed":
        raise MissingError(
            f"{name}: its training is {ended_as(result)}; run `meds1 run {name}` first "
            "(the base model is not asked in its place)"
        )
    return {"training": Upstream("training", name, str(result.get("fingerprint")), result)}


def _subject(what: str, spec: EngineSpec, asked: EvalConfig, settings: Settings, system: str | None) -> Subject:
    chat_format = FORMATS[settings.format or "plain"]
    sampling = Sampling(asked.max_tokens, asked.temperature, asked.top_p, asked.seed)
    prompting = settings.prompting or "plain"
    return Subject(what, spec, sampling, chat_format, prompting, system_prompt(chat_format, system))
