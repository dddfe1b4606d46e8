"""A training before any model is loaded: rows tokenized and counted, batches and steps settled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.hub import resolve
from inference.formats import FORMATS
from registry.errors import MissingError, UsageError
from registry.stage import StageContext
from registry.training_memory import Load
from registry.training_schema import TrainingParams
from train.batch import BatchPlan, plan_batch
from train.examples import Limit, Tokenized, tokenize
from train.hardware import attention_implementation, has_flash_attention
from train.lora import ParameterCounts, count_parameters
from train.order import Layout, lay_out
from train.validation import evaluation_steps


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be trained, on what, in `steps` optimizer steps.

    `validation` is None when it would be empty, `pack_tokens` (longest packed sequence) where rows are not packed.
    """

    experiment: str
    params: TrainingParams
    model_path: Path
    tokenizer: Any
    plan: BatchPlan
    limit: Limit
    train: Tokenized
    validation: Tokenized | None
    steps: int
    layout: Layout
    attention: str
    pack_tokens: int | None
    parameters: ParameterCounts

    @property
    def evaluation_steps(self) -> frozenset[int]:
        """Optimizer steps after which the validation is taken."""
        if self.validation is None:
            return frozenset()
        per_epoch = self.plan.steps_per_epoch(self.train.rows)
        return evaluation_steps(self.steps, per_epoch, self.params.evaluations_per_epoch)

    def load(self, gpu: int) -> Load:
        """What the longest forward pass asks of a GPU of so many bytes."""
        tokens = self.pack_tokens or self.plan.per_device * max(self.train.lengths)
        return Load(self.plan.world_size, tokens, self.layout.accumulation, gpu)


def prepare(context: StageContext) -> Task:
    """Settle everything that can be wrong before a model is loaded; `train.method` names the experiment."""
    config = context.config
    params = config.training
    if params is None:
        raise UsageError("there are no training_params, so there is nothing to train")
    limit_per_device = params.per_device_batch_size or params.batch_size
    plan = plan_batch(params.global_batch(config.reference_gpus), limit_per_device, context.world_size)
    model_path = resolve(config.model, "model", config.model_key)
    tokenizer = load_tokenizer(model_path)
    parameters = count_parameters(model_path, params.lora)
    limit = Limit(params.max_length or config.model.max_length, params.truncation)
    train, validation = _tokenized(context, tokenizer, limit)
    _check_validation(params, validation)
    attention = attention_implementation()
    packing = has_flash_attention(attention) if params.packing is None else params.packing
    # What a device can hold in rows of the longest length, it can hold in tokens.
    pack_tokens = limit_per_device * limit.max_length if packing else None
    return Task(
        experiment=config.experiment,
        params=params,
        model_path=model_path,
        tokenizer=tokenizer,
        plan=plan,
        limit=limit,
        train=train,
        validation=validation,
        steps=plan.total_steps(train.rows, params.num_epochs),
        layout=lay_out(train.lengths, plan, math.ceil(params.num_epochs), params.seed, pack_tokens),
        attention=attention,
        pack_tokens=pack_tokens,
        parameters=parameters,
    )


def _tokenized(context: StageContext, tokenizer: Any, limit: Limit) -> tuple[Tokenized, Tokenized | None]:
    """The rows to train on, and those of the validation where there are any."""
    from datasets import load_from_disk

    splits = load_from_disk(str(context.upstream["curation"].path("dataset_path")))
    curation = context.config.curation
    opening = FORMATS[curation.format].opening if curation else ""
    train = tokenize(splits["train"], tokenizer, limit, opening)
    if not train.rows:
        raise UsageError(
            f"no training row is left ({train.rows_dropped} are over max_length {limit.max_length}); raise "
            "training_params.max_length, or look at the curation"
        )
    validation = tokenize(splits["validation"], tokenizer, limit, opening) if "validation" in splits else None
    return train, validation if validation is not None and validation.rows else None


def _check_validation(params: TrainingParams, validation: Tokenized | None) -> None:
    wish = "early_stopping" if params.early_stopping else "keep 'best'"
    if params.keeps_best and validation is None:
        raise UsageError(
            f"training_params has {wish}, but there are no validation rows to tell the best weights by; set "
            "curation.validation_fraction above 0"
        )
    if params.early_stopping and not params.evaluations_per_epoch:
        raise UsageError("training_params has early_stopping, but evaluations_per_epoch is 0; set it to 1 or more")


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a model that `train.preflight` has found to be whole."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        said = " ".join(str(error).split())
        raise MissingError(f"{path}: transformers cannot load its tokenizer: {said}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
