"""The judge's verdicts on an evaluation's answers: which answers it sees, and where its words end up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from data.hub import resolve
from data.rows import Row
from eval.judge import Grades, JudgedItem, judge_answers, summarise_grades
from eval.predictions import Prediction
from inference.answer_files import shared_answers
from inference.engine import EngineSpec, check_engine, model_source
from inference.journal import Asking
from inference.spending import Purse, prices_of
from registry.catalog import ModelEntry
from registry.effective import EffectiveConfig
from registry.spending import FOLDER
from registry.stage import StageContext
from scoring.judging import Material


@dataclass(frozen=True)
class Judged:
    """What the judge said of every answer; `items` and `grades` are by the answer's own id."""

    items: Mapping[str, JudgedItem]
    grades: Grades

    def on(self, prediction: Prediction) -> Prediction:
        """The prediction with its verdicts by rubric, unread ones included."""
        key = _key(prediction)
        verdicts = {str(name): asdict(graded[key]) for name, graded in self.grades.items() if key in graded}
        return replace(prediction, verdicts=verdicts)

    def summary(self, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """The numbers by rubric over some of the answers."""
        numbers = summarise_grades(self.grades, [self.items[_key(prediction)] for prediction in predictions])
        return {str(name): of_rubric for name, of_rubric in numbers.items()}


def judge_spec(config: EffectiveConfig) -> EngineSpec | None:
    """The judge's engine, null without a judge. Raises what is wrong with it, before any answer is generated."""
    settings, entry = config.eval.judge, config.judge_model
    if settings is None or entry is None:
        return None
    model = model_source(entry, settings.model_key, settings.engine, resolve, config.eval.concurrency)
    # Greedy verdicts are drawn from no seed, so that experiments which differ in it share them.
    seed = config.eval.seed if settings.temperature else 0
    spec = EngineSpec(settings.engine, model, entry.max_length, seed=seed)
    check_engine(spec)
    return spec


def judged(
    context: StageContext, spec: EngineSpec, predictions: Sequence[Prediction], rows: Mapping[str, Row]
) -> Judged:
    """Ask the judge about every answer; `rows` by id. All experiments share its verdicts."""
    settings, entry = context.config.eval.judge, context.config.judge_model
    assert settings is not None
    assert entry is not None
    items = {_key(p): _item(p, rows[p.id]) for p in predictions}
    purse = purse_of(context, settings.model_key, entry)
    with Asking(spec, shared_answers(spec, context.shared), context.stop, purse) as asking:
        return Judged(items, judge_answers(list(items.values()), settings, asking))


def purse_of(context: StageContext, model_key: str, entry: ModelEntry) -> Purse:
    """What a model's answers are paid with; the evaluated model and the judge share the eval's `max_cost`."""
    return Purse(context.run_dir / FOLDER, model_key, prices_of(entry), context.config.eval.max_cost)


def _key(prediction: Prediction) -> str:
    return f"{prediction.id}/{prediction.budget}/{prediction.repetition}"


def _item(prediction: Prediction, row: Row) -> JudgedItem:
    options = "".join(f"\n{letter}. {text}" for letter, text in row.choices)
    gold = f"{row.gold.letter}. {row.gold.text}" if row.gold else prediction.gold
    material = Material(row.question + options, gold, prediction.answer_text, prediction.thinking or "")
    return JudgedItem(_key(prediction), material, prediction.failure_mode, free_text=not row.options)
