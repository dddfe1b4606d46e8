"""The curation stage: rows in, filters, sampling, training data out.

Reads the catalog's training set; writes into the run directory `med_s1k_filtered.parquet` (every input row and what
became of it), `med_s1k_curated.parquet` (the selected rows) and `med_s1k_formatted/` (training and validation
examples). A killed attempt is resumed from the base model's answers that it left in the run directory.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from typing import Any

from curation import difficulty
from curation.formatting import split_validation, training_example
from curation.ledger import (
    FilterStage,
    Ledger,
    funnel,
    kept,
    open_ledger,
    reasons,
    remove,
    require_rows,
    with_pass_rates,
)
from curation.methods import METHODS, UNLABELLED
from curation.outputs import write_dataset, write_tables
from curation.quality import missing_fields, poor_quality
from data.hub import resolve
from data.load import load_rows
from data.tokens import count_tokens
from inference.engine import EngineSpec, model_source
from inference.formats import FORMATS
from inference.prompts import system_prompt
from registry.catalog import DatasetEntry, ModelEntry
from registry.effective import EffectiveConfig
from registry.errors import UsageError
from registry.schema import CurationConfig, DifficultyConfig
from registry.stage import StageContext, StageOutput

log = logging.getLogger(__name__)

ANSWERS = "difficulty_answers.jsonl"
ANSWERS_PARTIAL = "difficulty_answers.partial.jsonl"


def run(context: StageContext) -> StageOutput:
    """Curate; raises `StageFailure` when a filter leaves nothing."""
    config = context.config
    curation, key, dataset = _required(config)
    rows = load_rows(key, dataset)
    tokens = count_tokens([row.reasoning for row in rows], resolve(config.model, "model", config.model_key))
    ledger, stages, difficulty_metrics = _select(open_ledger(rows, tokens), context, curation)
    tables = write_tables(ledger, context.run_dir)
    splits = _splits(ledger, curation, config.model)
    artifacts = {"dataset_path": write_dataset(splits, context.run_dir), **tables}
    if curation.difficulty is not None:
        # Answers under the final name are a record, not a journal: a forced run asks the model again.
        artifacts["difficulty_answers_path"] = context.run_dir / ANSWERS
        os.replace(context.run_dir / ANSWERS_PARTIAL, context.run_dir / ANSWERS)
    metrics: dict[str, Any] = {
        "dataset": key,
        "method": curation.method,
        **_ledger_metrics(ledger, stages),
        "difficulty": difficulty_metrics,
        "n_train": len(splits["train"]),
        "n_validation": len(splits["validation"]),
        "warnings": _warnings(ledger, curation, config.experiment),
    }
    return StageOutput(metrics=metrics, artifacts=artifacts, link=context.run_dir)


def _select(
    ledger: Ledger, context: StageContext, curation: CurationConfig
) -> tuple[Ledger, list[FilterStage], dict[str, Any] | None]:
    """Run the filters and the sampling; returns the ledger, the stages that ran, and the difficulty's metrics."""
    names = (context.config.experiment, str(context.config.train_dataset_key))
    stages: list[FilterStage] = ["quality"]
    ledger = remove(ledger, "quality", missing_fields(kept(ledger)))
    if curation.quality is not None:
        ledger = remove(ledger, "quality", poor_quality(kept(ledger), curation.quality))
    require_rows(ledger, *names)
    metrics = None
    if curation.difficulty is not None:
        stages.append("difficulty")
        ledger, metrics = _filter_difficulty(ledger, context, curation.difficulty, curation.seed)
        require_rows(ledger, *names)
    stages.append("sampling")
    ledger = remove(ledger, "sampling", METHODS[curation.method](kept(ledger), curation))
    require_rows(ledger, *names)
    return ledger, stages, metrics


def _splits(ledger: Ledger, curation: CurationConfig, model: ModelEntry) -> dict[str, list[dict[str, Any]]]:
    selected = [entry.row for entry in kept(ledger)]
    train, validation = split_validation(selected, curation.validation_fraction, curation.seed)
    chat_format = FORMATS[curation.format]
    system = system_prompt(chat_format, model.system_prompt)
    return {
        name: [training_example(row, chat_format, system) for row in rows]
        for name, rows in (("train", train), ("validation", validation))
    }


def _required(config: EffectiveConfig) -> tuple[CurationConfig, str, DatasetEntry]:
    if config.curation is None or config.train_dataset_key is None or config.train_dataset is None:
        raise UsageError(
            f"{config.experiment}: curation needs a data set; "
            "set datasets.curate to one of the train_datasets of config.json"
        )
    return config.curation, config.train_dataset_key, config.train_dataset


def _filter_difficulty(
    ledger: Ledger, context: StageContext, config: DifficultyConfig, seed: int
) -> tuple[Ledger, dict[str, Any]]:
    model = context.config.difficulty_model or context.config.model
    model_key = context.config.difficulty_model_key or context.config.model_key
    source = model_source(model, model_key, config.engine, resolve)
    spec = EngineSpec(config.engine, source, model.max_length, seed=seed)
    journal = context.run_dir / ANSWERS_PARTIAL
    answers = difficulty.ask(kept(ledger), spec, model.system_prompt, config, journal, context.stop)
    judgement = difficulty.judge(kept(ledger), answers)
    ledger = with_pass_rates(ledger, judgement.pass_rates)
    removals = difficulty.outside(kept(ledger), judgement, config)
    return remove(ledger, "difficulty", removals), {"model": model_key, **judgement.metrics}


def _warnings(ledger: Ledger, curation: CurationConfig, experiment: str) -> list[str]:
    wanted, selected = curation.n_samples, len(kept(ledger))
    if wanted is None or selected >= wanted:
        return []
    limit = f" of at least {curation.long_tokens} reasoning tokens" if curation.method == "s1" else ""
    warning = f"only {selected} rows{limit} passed the filters; n_samples is {wanted}; all of them are taken"
    log.warning("%s: %s", experiment, warning)
    return [warning]


def _ledger_metrics(ledger: Ledger, stages: list[FilterStage]) -> dict[str, Any]:
    import numpy as np

    counts = funnel(ledger, stages)
    log.info("rows: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))
    selected = kept(ledger)
    specialties = Counter(entry.row.specialty or UNLABELLED for entry in selected)
    lengths = [entry.reasoning_tokens for entry in selected]
    names = {"min": 0, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
    return {
        "funnel": counts,
        "reasons": reasons(ledger),
        "specialties": dict(sorted(specialties.items(), key=lambda item: (-item[1], item[0]))),
        "reasoning_tokens": {
            "total": sum(lengths),
            **{name: float(np.percentile(lengths, percent)) for name, percent in names.items()},
        },
    }
