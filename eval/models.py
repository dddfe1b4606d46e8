"""Which model an evaluation asks, and how that model lays out its answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data.hub import resolve
from inference.engine import EngineSpec, ServedModel, model_source
from inference.formats import FORMATS, ChatFormat
from registry.effective import EffectiveConfig
from registry.errors import MissingError, UsageError
from registry.fields import API_ENGINES
from registry.schema import Stage
from registry.stage import Upstream


def engine_spec(config: EffectiveConfig, upstream: Mapping[Stage, Upstream]) -> EngineSpec:
    """The engine of the config and the model: the trained one if the experiment has training, else the base model.

    Raises `MissingError` when the training has no result, `UsageError` when the engine cannot run such a model.
    """
    settings = config.eval
    return EngineSpec(
        name=settings.engine,
        model=model_of(config, upstream),
        max_length=config.model.max_length,
        tensor_parallel=settings.tensor_parallel,
        data_parallel=settings.data_parallel,
        # Greedy answers are drawn from no seed, so that experiments which differ in it share them.
        seed=settings.seed if settings.temperature else 0,
    )


def model_of(config: EffectiveConfig, upstream: Mapping[Stage, Upstream]) -> Path | ServedModel:
    """The model that the experiment's training recorded if it has training, else its base model."""
    settings = config.eval
    if config.training is None:
        return model_source(config.model, config.model_key, settings.engine, resolve, settings.concurrency)
    if settings.engine in API_ENGINES:
        raise UsageError(f"{config.experiment}: a trained model is loaded from its folder; set eval.engine to vllm")
    if "training" not in upstream:
        raise MissingError(
            f"{config.experiment}: its training has no result; run its training first "
            "(the base model is not evaluated in its place)"
        )
    return upstream["training"].path("model_path")


def answer_format(config: EffectiveConfig) -> ChatFormat:
    """The format that the model was trained to answer in; for a base model its entry's, `plain` without one."""
    if config.training is None:
        return FORMATS[config.model.format or "plain"]
    if config.curation is None:
        raise UsageError(f"{config.experiment}: it has training but no curation, so its answers' format is unknown")
    return FORMATS[config.curation.format]
