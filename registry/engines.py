"""Which engine can run which model, and whether a budget of thinking fits: told before any job is submitted."""

from __future__ import annotations

from collections.abc import Iterator

from registry.catalog import Catalog
from registry.fields import EngineName
from registry.json_path import Steps
from registry.layers import Layers
from registry.problems import Problem
from registry.schema import ExperimentConfig

_Use = tuple[Steps, EngineName, str | None]
"""Where an engine is named, which one, and the key of its model."""


def misfits(config: ExperimentConfig, layers: Layers, catalog: Catalog) -> Iterator[Problem]:
    """What cannot run as it is written; keys that the catalog lacks are told elsewhere."""
    for steps, engine, key in _uses(config):
        entry = catalog.models.get(str(key))
        if entry is None:
            continue
        if entry.api_model is not None and engine != "openai":
            message = f"{engine} cannot load {key}, which is behind an API"
            yield layers.problem(steps, message, "use openai")
        if entry.api_model is None and engine == "openai":
            message = f"openai asks a server, and {key} has no api_model in the catalog"
            yield layers.problem(steps, message, "use vllm or transformers")
    if config.eval.engine == "openai" and config.training_params is not None:
        message = "a trained model is loaded from its folder, which openai does not"
        yield layers.problem(("eval", "engine"), message, "use vllm or transformers")
    yield from _budgets(config, layers, catalog)


def _uses(config: ExperimentConfig) -> Iterator[_Use]:
    if config.training_params is None:
        yield ("eval", "engine"), config.eval.engine, config.model_key
    if config.eval.judge is not None:
        yield ("eval", "judge", "engine"), config.eval.judge.engine, config.eval.judge.model_key
    difficulty = config.curation.difficulty if config.curation else None
    if difficulty is not None:
        yield ("curation", "difficulty", "engine"), difficulty.engine, difficulty.model_key or config.model_key


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
