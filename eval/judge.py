"""Verdicts of a judge model on answers: asked once for each different content, counted whole.

An item whose graded part is empty gets the lowest score without being sent. The cause of a mistake is asked only for
a wrong answer that says something; the others have their failure mode by rule.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from inference.engine import EngineSpec, Generation, Request, Sampling
from inference.journal import Asking
from registry.errors import StageFailure
from registry.schema import JudgeConfig, RubricName
from scoring.failure_modes import FailureMode
from scoring.judging import (
    FAILURE_MODES,
    RUBRICS,
    Material,
    Rubric,
    Verdict,
    count_levels,
    judge_messages,
    lowest_verdict,
    parse_verdict,
    summarise_scores,
    verdict_schema,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgedItem:
    """One answer to judge: what the judge sees, and the failure mode that a rule found (null for a right answer).

    Only a `free_text` answer is graded as a report: a letter has no quality.
    """

    id: str
    material: Material
    failure: FailureMode | None
    free_text: bool = True


@dataclass(frozen=True)
class Grade:
    """A verdict, or null and why: the judge's answer was "unparsable", cut ("truncated"), or there was an "error"."""

    verdict: Verdict | None
    status: Literal["read", "empty", "unparsable", "truncated", "error"]


Grades = Mapping[RubricName, Mapping[str, Grade]]
"""Rubric -> item's id -> grade, for the items that the rubric is about."""


def judge_answers(items: Sequence[JudgedItem], config: JudgeConfig, asking: Asking) -> Grades:
    """Let the model of `asking` judge every item by every rubric of the config; ids of items are unique.

    Items with the same content share a request. Raises `StageFailure` when every request ended in an error, and what
    `Asking.ask` raises.
    """
    rubrics = [RUBRICS[name] for name in config.rubrics]
    asked = _requests(items, rubrics, asking.spec)
    requests = {request.id: request for request in asked.values()}
    sampling = Sampling(config.max_tokens, config.temperature, seed=asking.spec.seed)
    log.info("the judge %s is asked for %d verdicts on %d items", config.model_key, len(requests), len(items))
    answers = {answer.id: answer for answer in asking.ask(list(requests.values()), sampling)}
    _require_answers(list(answers.values()), config)
    return {
        rubric.name: {
            item.id: _grade(answers[asked[rubric.name, item.id].id], rubric)
            if (rubric.name, item.id) in asked
            else Grade(lowest_verdict(rubric, f"there is no {rubric.graded}"), "empty")
            for item in items
            if _is_about(rubric, item)
        }
        for rubric in rubrics
    }


def summarise_grades(grades: Grades, items: Sequence[JudgedItem]) -> dict[RubricName, dict[str, Any]]:
    """Return each rubric's numbers over these items (a benchmark's, for instance), as plain JSON.

    A rubric with a scale has the fields of `ScoreSummary`, and how many grades are `empty`, `truncated` and `error`
    (the last two are among the `unparsable`). `failure_modes` counts `by_rule` all wrong answers, and `by_judge` the
    wrong ones that say something.
    """
    summary: dict[RubricName, dict[str, Any]] = {}
    for name, graded in grades.items():
        own = [graded[item.id] for item in items if item.id in graded]
        verdicts = [grade.verdict for grade in own]
        statuses = Counter(grade.status for grade in own)
        counts = {status: statuses[status] for status in ("empty", "truncated", "error")}
        if name == FAILURE_MODES.name:
            by_rule = Counter(item.failure for item in items if item.failure is not None)
            by_judge = count_levels(verdicts, FAILURE_MODES.criteria[0])
            summary[name] = {"n": len(own), "by_rule": dict(by_rule), "by_judge": by_judge, **counts}
        else:
            summary[name] = {**asdict(summarise_scores(verdicts, RUBRICS[name])), **counts}
    return summary


def _is_about(rubric: Rubric, item: JudgedItem) -> bool:
    if rubric == FAILURE_MODES:
        return item.failure in ("wrong_option", "wrong_text")
    return item.free_text or rubric.graded != "answer"


def _is_asked(rubric: Rubric, item: JudgedItem) -> bool:
    return _is_about(rubric, item) and bool(getattr(item.material, rubric.graded).strip())


def _requests(
    items: Sequence[JudgedItem], rubrics: Sequence[Rubric], spec: EngineSpec
) -> dict[tuple[RubricName, str], Request]:
    """Return (rubric, item's id) -> request; the id of a request hashes its content."""
    held = spec.name != "transformers"
    if not held:
        log.warning("the transformers engine cannot hold a judge's answer to a JSON schema: it is only asked for one")
    requests = {}
    for rubric in rubrics:
        schema = verdict_schema(rubric) if held else None
        for item in items:
            if _is_asked(rubric, item):
                messages = judge_messages(rubric, item.material)
                digest = hashlib.sha256(json.dumps([messages, schema]).encode()).hexdigest()
                requests[rubric.name, item.id] = Request(digest[:16], messages, schema=schema)
    return requests


def _grade(answer: Generation, rubric: Rubric) -> Grade:
    if answer.finish_reason == "error":
        return Grade(None, "error")
    verdict = parse_verdict(answer.text, rubric)
    if verdict is not None:
        return Grade(verdict, "read")
    return Grade(None, "truncated" if answer.finish_reason == "length" else "unparsable")


def _require_answers(answers: Sequence[Generation], config: JudgeConfig) -> None:
    errors = [answer for answer in answers if answer.finish_reason == "error"]
    if answers and len(errors) == len(answers):
        raise StageFailure(
            f"the judge {config.model_key} answered none of {len(answers)} requests: {errors[0].error}; "
            "mend that and run the eval again"
        )
    if errors:
        log.warning(
            "the judge %s: %d of %d requests failed: %s", config.model_key, len(errors), len(answers), errors[0].error
        )
