"""The curation stage: rows in, filters, sampling, rewriting, training data out.

Reads the catalog's training set; writes into the run directory `med_s1k_filtered.parquet` (every input row and what
became of it), `med_s1k_curated.parquet` (the selected rows), a table of the pairs that each comparing filter found,
and `med_s1k_formatted/` (training and validation examples, with a card and figures). A killed attempt is resumed from
the base model's answers and whatever else it left in the shared caches.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from curation.card import write_card
from curation.difficulty import write_answers
from curation.figures import draw_funnel, draw_lengths, draw_specialties
from curation.formatting import split_validation, training_example
from curation.ledger import Ledger, funnel, kept, reasons
from curation.methods.pool import specialty_of
from curation.methods.s1 import unknown_weights
from curation.outputs import write_dataset, write_pairs, write_tables
from curation.pipeline import Course, choose, required
from curation.rewriting.apply import write_given_up
from inference.formats import FORMATS
from inference.prompts import system_prompt
from registry.catalog import ModelEntry
from registry.curation_schema import CurationConfig, S1Rows
from registry.stage import StageContext, StageOutput

log = logging.getLogger(__name__)
UNCHECKED = "the rows were not checked against any benchmark (curation.decontamination)"


def run(context: StageContext) -> StageOutput:
    """Curate; raises `StageFailure` when a filter leaves nothing."""
    curation, key, _ = required(context.config)
    course = choose(context)
    splits = _splits(course.ledger, curation, context.config.model)
    metrics: dict[str, Any] = {
        "dataset": key,
        "method": curation.method,
        **_ledger_metrics(course),
        "difficulty": None,
        **course.metrics,
        "n_train": len(splits["train"]),
        "n_validation": len(splits["validation"]),
        "warnings": _warnings(course),
    }
    artifacts = {
        **write_tables(course.ledger, context.run_dir, rewritten=curation.rewrites),
        **write_pairs(course.pairs, context.run_dir),
        "dataset_path": write_dataset(splits, _extras(course, metrics), context.run_dir),
    }
    if course.given_up is not None:
        artifacts["given_up_path"] = write_given_up(course.given_up, context.run_dir)
    if course.answers is not None:
        artifacts["difficulty_answers_path"] = write_answers(
            course.ledger, course.answers, course.verdicts, context.run_dir
        )
    return StageOutput(metrics=metrics, artifacts=artifacts, link=context.run_dir)


def _extras(course: Course, metrics: Mapping[str, Any]) -> dict[str, bytes]:
    """The card of the training data and its figures."""
    selected = kept(course.ledger)
    return {
        "README.md": write_card(course.context.config, course.ledger, metrics).encode(),
        "figures/funnel.png": draw_funnel(metrics["funnel"], metrics.get("rewriting", ())),
        "figures/specialties.png": draw_specialties(metrics["specialties"]),
        "figures/lengths.png": draw_lengths(
            [entry.loaded.reasoning_tokens for entry in course.ledger], [entry.reasoning_tokens for entry in selected]
        ),
    }


def _splits(ledger: Ledger, curation: CurationConfig, model: ModelEntry) -> dict[str, list[dict[str, Any]]]:
    selected = {entry.row.id: entry.row for entry in kept(ledger)}
    # By the loaded questions: two that a rewriting has made of one case stay on one side.
    loaded = [entry.loaded.row for entry in kept(ledger)]
    train, validation = split_validation(loaded, curation.validation_fraction, curation.seed)
    chat_format = FORMATS[curation.format]
    system = system_prompt(chat_format, model.system_prompt)
    return {
        name: [training_example(selected[row.id], chat_format, system) for row in rows]
        for name, rows in (("train", train), ("validation", validation))
    }


def _warnings(course: Course) -> list[str]:
    curation, config = course.curation, course.context.config
    rewritten_off = sum(entry.stage == "rewriting" for entry in course.ledger)
    wanted, selected = curation.wanted, len(kept(course.ledger)) + rewritten_off
    warnings = [*course.warnings]
    if isinstance(curation, S1Rows):
        warnings += unknown_weights(course.ledger, curation)
    if wanted is not None and selected < wanted:
        warnings.append(f"only {selected} rows could be chosen; n_samples is {wanted}")
    if curation.decontamination is None or not config.benchmarks:
        warnings.append(UNCHECKED)
    for warning in warnings:
        log.warning("%s: %s", config.experiment, warning)
    return warnings


def _ledger_metrics(course: Course) -> dict[str, Any]:
    import numpy as np

    counts = funnel(course.ledger, course.stages)
    log.info("rows: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))
    selected = kept(course.ledger)
    specialties = Counter(specialty_of(entry) for entry in selected)
    lengths = [entry.reasoning_tokens for entry in selected]
    names = {"min": 0, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
    return {
        "funnel": counts,
        "reasons": reasons(course.ledger),
        "specialties": dict(sorted(specialties.items(), key=lambda item: (-item[1], item[0]))),
        "reasoning_tokens": {
            "total": sum(lengths),
            **{name: round(float(np.percentile(lengths, percent)), 1) for name, percent in names.items()},
        },
    }
