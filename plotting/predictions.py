"""Single predictions of a completed eval, as comparisons and the report read them: one line per answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import MissingError, StageFailure
from scoring.pairs import Outcome

_ANEW = "copy the file anew, or run `meds1 run NAME --rescore`"


@dataclass(frozen=True, slots=True)
class Answered:
    """What is kept of one line in memory: everything but its texts. `prompt_digest` is equal where the prompts are."""

    id: str
    question_id: str
    source: str
    repetition: int
    budget: int | None
    prompt_digest: str
    correct: bool
    extracted: str | None
    gold: str
    failure_mode: str | None
    completion_tokens: int
    reasoning_tokens: int | None

    @property
    def item(self) -> str:
        """What tells it apart from other answers of the same run, and is equal in another run: id and repetition."""
        return f"{self.id}/{self.repetition}"

    @property
    def outcome(self) -> Outcome:
        """Right or wrong, for paired tests."""
        return Outcome(self.item, self.question_id, self.prompt_digest, float(self.correct))


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of an `eval_predictions.jsonl`, one at a time.

    Raises `MissingError` for a file that cannot be opened, `StageFailure` for a line that is no JSON object.
    """
    from pydantic_core import from_json

    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    body = from_json(line)
                except ValueError:
                    body = None
                if not isinstance(body, dict):
                    raise StageFailure(f"{path}: line {number} is no JSON object; {_ANEW}")
                yield body
    except OSError as error:
        raise MissingError(f"{path}: cannot be read: {error.strerror}") from None


def answered(line: Mapping[str, Any]) -> Answered:
    """What is kept of a line; files of early versions have neither repetition nor budget."""
    prompt = json.dumps(line["prompt"], sort_keys=True).encode()
    return Answered(
        id=line["id"],
        question_id=line["question_id"],
        source=line["source"],
        repetition=line.get("repetition", 0),
        budget=line.get("budget"),
        prompt_digest=hashlib.sha256(prompt).hexdigest(),
        correct=line["correct"],
        extracted=line["extracted"],
        gold=line["gold"],
        failure_mode=line.get("failure_mode"),
        completion_tokens=line.get("completion_tokens") or 0,
        reasoning_tokens=line.get("reasoning_tokens"),
    )


def answers_by_benchmark(path: Path) -> dict[str, list[Answered]]:
    """Every answer of the file by benchmark, of all budgets of thinking."""
    found: dict[str, list[Answered]] = {}
    try:
        for line in lines_of(path):
            answer = answered(line)
            if not (isinstance(answer.correct, bool) and isinstance(answer.source, str)):
                raise StageFailure(f"{path}: {answer.id}: has no right or wrong; {_ANEW}")
            found.setdefault(answer.source, []).append(answer)
    except KeyError as error:
        raise StageFailure(f"{path}: a line has no {error}; it is no file of predictions of this project") from None
    return found


def headline(answers: Sequence[Answered]) -> list[Answered]:
    """The answers that a benchmark's accuracy is of: all, or those of the largest budget of thinking."""
    largest = largest_budget(answer.budget for answer in answers)
    return [answer for answer in answers if answer.budget == largest]


def largest_budget(budgets: Iterable[int | None]) -> int | None:
    """The budget of thinking whose answers a benchmark's numbers are of; null where none has one."""
    return max((budget for budget in budgets if budget is not None), default=None)
