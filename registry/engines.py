"""Which engine can run which model, and whether a budget of thinking fits: told before any job is submitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from registry.catalog import Catalog, ModelEntry
from registry.fields import API_ENGINES, EngineName
from registry.json_path import Steps
from registry.layers import Layers
from registry.problems import Problem
from registry.rewriting_schema import PLACES
from registry.schema import ExperimentConfig


@dataclass(frozen=True)
class _Use:
    """Where an engine is named, which one, its model's key, what its stage may cost, and whether it asks by batch."""

    steps: Steps
    engine: EngineName
    key: str | None
    max_cost: float | None
    batch: bool = False


def misfits(config: ExperimentConfig, layers: Layers, catalog: Catalog) -> Iterator[Problem]:
    """What cannot run as it is written; keys that the catalog lacks are told elsewhere."""
    uses = [use for use in _uses(config) if use.key in catalog.models]
    for use in uses:
        entry = catalog.models[str(use.key)]
        if use.engine not in entry.engines:
            place = "has weights of its own" if not entry.is_served else "is behind an API"
            message = f"{use.engine} cannot run {use.key}, which {place}"
            yield layers.problem((*use.steps, "engine"), message, f"use {' or '.join(entry.engines)}")
        if entry.is_served and entry.prices is None and use.max_cost is not None:
            message = f"max_cost {use.max_cost:g} cannot be kept: the catalog has no prices for {use.key}"
            steps = (use.steps[0], "max_cost")
            yield layers.problem(steps, message, f"give models.{use.key}.prices, or remove max_cost")
        if use.batch:
            yield from _batch_misfits(use, entry, layers)
    if config.eval.engine in API_ENGINES and config.training_params is not None:
        message = f"a trained model is loaded from its folder, which {config.eval.engine} does not"
        yield layers.problem(("eval", "engine"), message, "use vllm or transformers")
    yield from _budgets(config, layers, catalog)


def _uses(config: ExperimentConfig) -> Iterator[_Use]:
    limit = config.eval.max_cost
    if config.training_params is None:
        yield _Use(("eval",), config.eval.engine, config.model_key, limit)
    if config.eval.judge is not None:
        yield _Use(("eval", "judge"), config.eval.judge.engine, config.eval.judge.model_key, limit)
    if config.curation is None:
        return
    difficulty, limit = config.curation.difficulty, config.curation.max_cost
    if difficulty is not None:
        key = difficulty.model_key or config.model_key
        yield _Use(("curation", "difficulty"), difficulty.engine, key, limit)
    for role, call in config.curation.calls.items():
        yield _Use(PLACES[role], call.engine, call.model_key, limit, call.batch)


def _batch_misfits(use: _Use, entry: ModelEntry, layers: Layers) -> Iterator[Problem]:
    if use.engine not in API_ENGINES:
        message = f"only a vendor has a batch API, and {use.key} runs here"
        yield layers.problem((*use.steps, "batch"), message, "remove batch")
    elif entry.vertex_model is not None and not (entry.vertex_bucket or "").startswith("gs://"):
        message = f"a batch of {use.key} needs a folder in Cloud Storage"
        yield layers.problem((*use.steps, "batch"), message, f"give models.{use.key}.vertex_bucket, gs://…")


def _budgets(config: ExperimentConfig, layers: Layers, catalog: Catalog) -> Iterator[Problem]:
    entry, thinking = catalog.models.get(config.model_key), config.eval.thinking
    if thinking is None or entry is None:
        return
    trained = config.training_params is not None and config.curation is not None
    layout = config.curation.format if trained and config.curation else entry.format or "plain"
    if layout == "plain":
        message = "a budget of thinking needs marks around it, and the format plain has none"
        yield layers.problem(("eval", "thinking"), message, "give the catalog's model entry a `format`")
    if thinking.budgets[-1] + config.eval.max_tokens >= entry.max_length:
        message = (
            f"a budget of {thinking.budgets[-1]} and max_tokens {config.eval.max_tokens} leave no room for a prompt in "
            f"the model's max_length {entry.max_length}"
        )
        yield layers.problem(("eval", "thinking"), message, "lower one of them")
