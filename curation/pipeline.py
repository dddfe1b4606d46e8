"""From a data set's rows to the selected ones: every filter in its order, each row's fate in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from curation import difficulty
from curation.calls import check_calls
from curation.decontamination import contamination
from curation.duplicates import duplicates
from curation.judge import judge_answers
from curation.labels import label
from curation.ledger import (
    Ledger,
    kept,
    open_ledger,
    remove,
    require_rows,
    with_pass_rates,
    with_rewritten,
    with_specialties,
)
from curation.measures import measured
from curation.methods import METHODS
from curation.quality import missing_fields, poor_quality
from curation.rewriting.apply import rewritten
from data.hub import resolve
from data.load import load_rows
from data.rows import Row
from data.tokens import count_tokens
from registry.catalog import DatasetEntry
from registry.curation_schema import CurationConfig, FilterStage
from registry.effective import EffectiveConfig
from registry.errors import UsageError
from registry.stage import StageContext

Pairs = Sequence[Mapping[str, Any]]


@dataclass
class Course:
    """A curation on its way: the ledger, which stages ran, what they found, and the base model's answers.

    Of a shard, which is not the `whole` of the rows, nothing may be left.
    """

    context: StageContext
    ledger: Ledger
    whole: bool = True
    stages: list[FilterStage] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, Pairs] = field(default_factory=dict)
    answers: difficulty.Answers | None = None
    verdicts: difficulty.Verdicts = field(default_factory=dict)
    given_up: Sequence[Mapping[str, str | None]] | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def curation(self) -> CurationConfig:
        """The config of the curation."""
        return required(self.context.config)[0]

    def remove(self, stage: FilterStage, removals: Mapping[str, str]) -> None:
        """Write down what a filter removed; `StageFailure` when nothing is left of the whole."""
        if stage not in self.stages:
            self.stages.append(stage)
        self.ledger = remove(self.ledger, stage, removals)
        if self.whole:
            require_rows(self.ledger, self.context.config.experiment, str(self.context.config.train_dataset_key))


Step = Callable[[Course], None]


def required(config: EffectiveConfig) -> tuple[CurationConfig, str, DatasetEntry]:
    """The curation's config and data set; `UsageError` where the experiment has none."""
    if config.curation is None or config.train_dataset_key is None or config.train_dataset is None:
        raise UsageError(
            f"{config.experiment}: curation needs a data set; "
            "set datasets.curate to one of the train_datasets of config.json"
        )
    return config.curation, config.train_dataset_key, config.train_dataset


def rows_of(context: StageContext) -> list[Row]:
    """Every row of the data set in the order of the ids, so that the order in the file decides nothing."""
    _, key, dataset = required(context.config)
    return sorted(load_rows(key, dataset), key=lambda row: row.id)


def opened(context: StageContext, rows: Sequence[Row]) -> Ledger:
    """The ledger of `rows`, their reasoning counted in tokens."""
    return open_ledger(rows, _reasoning_tokens(rows, context))


def _reasoning_tokens(rows: Iterable[Row], context: StageContext) -> list[int]:
    tokenizer = resolve(context.config.model, "model", context.config.model_key)
    return count_tokens([row.reasoning for row in rows], tokenizer, context.shared)


def choose(context: StageContext) -> Course:
    """Run every filter that the config has, then the method's selection, and rewrite what it chose."""
    check_calls(context)
    course = Course(context, opened(context, rows_of(context)))
    take(course, STEPS)
    return course


def take(course: Course, steps: Mapping[str, Step]) -> None:
    """Go through `steps`; between two of them the course is left (`StageStopped`) when a stop was asked for."""
    for name, step in steps.items():
        course.context.stop.check(f"curation had not come to the step {name}")
        step(course)


def _quality(course: Course) -> None:
    course.remove("quality", missing_fields(kept(course.ledger), course.curation.needs_reasoning))
    if course.curation.quality is not None:
        course.remove("quality", poor_quality(kept(course.ledger), course.curation.quality))


def _decontamination(course: Course) -> None:
    if course.curation.decontamination is None:
        return
    benchmarks = {key: load_rows(key, entry) for key, entry in course.context.config.benchmarks.items()}
    found = contamination(kept(course.ledger), benchmarks, course.curation.decontamination)
    course.metrics["decontamination"] = dict(found.metrics)
    course.pairs["contamination"] = found.pairs
    course.remove("decontamination", found.removals)


def _duplicates(course: Course) -> None:
    if course.curation.duplicates is None:
        return
    found = duplicates(kept(course.ledger), course.curation.duplicates)
    course.pairs["duplicates"] = found.pairs
    course.remove("duplicates", found.removals)


def _answers(course: Course) -> None:
    if course.curation.difficulty is None:
        return
    course.answers, asked = difficulty.answered(kept(course.ledger), course.context, course.curation.difficulty)
    if course.whole:
        difficulty.require_answers(course.answers, asked["model"])
    course.metrics["difficulty"] = asked


def _difficulty(course: Course) -> None:
    config = course.curation.difficulty
    if config is None:
        return
    assert course.answers is not None
    judged = judge_answers(kept(course.ledger), course.answers, course.context)
    course.verdicts = judged.verdicts
    judgement = difficulty.judgement_of(kept(course.ledger), course.answers, judged.verdicts)
    course.warnings += [*difficulty.cut_short(judgement, config), *judged.warnings]
    course.metrics["difficulty"] |= {**judgement.metrics, **judged.metrics}
    course.ledger = with_pass_rates(course.ledger, judgement.pass_rates)
    course.remove("difficulty", difficulty.outside(judgement, config))


def _labels(course: Course) -> None:
    if course.curation.labels is None:
        return
    found = label(kept(course.ledger), course.context, course.curation.labels)
    course.warnings += found.warnings
    course.metrics["labels"] = dict(found.metrics)
    course.ledger = with_specialties(course.ledger, found.specialties)


def _selection(course: Course) -> None:
    pool = measured(kept(course.ledger), course.context, course.answers)
    if pool.metrics:
        course.metrics["selection"] = dict(pool.metrics)
    course.warnings += pool.warnings
    course.remove("selection", METHODS[course.curation.method](pool, course.curation))


def _rewriting(course: Course) -> None:
    if not course.curation.rewrites:
        return
    found = rewritten([entry.row for entry in kept(course.ledger)], course.context)
    course.metrics["rewriting"] = found.counts
    course.given_up = found.given_up
    course.warnings += found.warnings
    tokens = dict(zip(found.rows, _reasoning_tokens(found.rows.values(), course.context), strict=True))
    course.ledger = with_rewritten(course.ledger, found.rows, tokens, found.perturbed)
    course.remove("rewriting", found.removals)


# Whether a row passes one of these depends on that row alone.
ROW_BY_ROW: Final[Mapping[str, Step]] = {
    "quality": _quality,
    "decontamination": _decontamination,
    "answers": _answers,
    "difficulty": _difficulty,
    "labels": _labels,
}
STEPS: Final[Mapping[str, Step]] = {
    "quality": _quality,
    "decontamination": _decontamination,
    "duplicates": _duplicates,
    "answers": _answers,
    "difficulty": _difficulty,
    "labels": _labels,
    "selection": _selection,
    "rewriting": _rewriting,
}
