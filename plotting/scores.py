"""The eval results of a registry as comparable rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plotting.metrics import Measure, Metric, measure_of, measures, metric_of
from registry.catalog import Display
from registry.errors import MissingError, UsageError, nearest, shortened
from registry.original.case import Result, is_here, number, part
from registry.original.numbers import SCORE_FILES, score_sets
from registry.status import StageStatus, Word, ended_as


@dataclass(frozen=True)
class Score:
    """One experiment on one benchmark: shares between 0 and 1, out of how many answers, what makes them suspect.

    `numbers` is all that the result says of the benchmark; `plotting.metrics` reads its other metrics.
    """

    accuracy: float
    low: float
    high: float
    correct: int
    total: int
    flags: tuple[str, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def measures(self) -> dict[str, Measure]:
        """Every metric that the result holds, by name."""
        return measures(self.numbers)

    def measure(self, metric: str) -> Measure | None:
        """One metric; null where the result does not hold it."""
        return measure_of(self.numbers, metric)

    @property
    def questions(self) -> int:
        """The number of different questions; `total` answers where the result does not say."""
        found = number(self.numbers.get("num_questions"))
        return self.total if found is None else int(found)

    @property
    def chance(self) -> float | None:
        """The accuracy of guessing; null where there is no such thing, or the result does not say."""
        return number(self.numbers.get("chance"))


@dataclass(frozen=True)
class Row:
    """One experiment's scores by benchmark; `remark` says what must be known before it is compared.

    `limit` is the number of questions of each benchmark that were asked, null for all. `inputs` are what the result
    recorded of how they were asked; empty for one of another program.
    """

    experiment: str
    label: str
    group: str | None
    color: str | None
    status: Word
    remark: str
    limit: int | None
    scores: Mapping[str, Score]
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def comparable(self) -> bool:
        """Whether the scores are those of the experiment as it is now, on whole benchmarks."""
        return self.status == "completed" and self.limit is None


def row_of(name: str, results: Mapping[str, Any], status: StageStatus, display: Display) -> Row:
    """The row of an experiment, given all its results and the state of its eval.

    Raises `MissingError` when it has no completed eval result, or one without benchmarks, and `UsageError` for numbers
    that are not there.
    """
    entry = results.get("eval") or {}
    if ended_as(entry) != "completed":
        if status.status in ("submitted", "running"):
            raise MissingError(f"{name}: its eval is {status.status} and has no result yet; wait for it")
        raise MissingError(f"{name}: has no eval result; run `meds1 run {name}`")
    found = _benchmarks(name, entry)
    first = number(part(entry, "metrics").get("limit"))
    limit = int(first) if first else None
    shown = display.experiments.get(name)
    word = [status.status] if status.status != "completed" else []
    scores = {source: _score(name, source, numbers) for source, numbers in found.items()}
    # What keeps a whole result from being checked may be long and the same in every row: `meds1 status` has all of it.
    reason = status.reason.split(": ", 1)[0] if status.status == "completed" else status.reason
    remarks = [
        ": ".join(filter(None, [*word, reason])),
        f"first {limit} questions only" if limit else "",
        *(f"{display.benchmarks.get(source, source)}: {', '.join(s.flags)}" for source, s in scores.items() if s.flags),
    ]
    return Row(
        experiment=name,
        label=(shown.name if shown and shown.name else name),
        group=shown.group if shown else None,
        color=shown.color if shown else None,
        status=status.status,
        remark="; ".join(filter(None, remarks)),
        limit=limit,
        scores=scores,
        inputs=part(entry, "inputs"),
    )


def benchmarks_of(rows: Iterable[Row]) -> list[str]:
    """All benchmarks of the rows, in order of their first appearance."""
    return list(dict.fromkeys(source for row in rows for source in row.scores))


def benchmark_title(rows: Iterable[Row], source: str, display: Display) -> str:
    """A benchmark's display name with the number of questions of most rows, and the range where others have others."""
    found = Counter(row.scores[source].questions for row in rows if source in row.scores)
    others = f", some {min(found)}-{max(found)}" if len(found) > 1 else ""
    return f"{display.benchmarks.get(source, source)} (n={found.most_common(1)[0][0]}{others})"


def chosen_benchmarks(rows: Iterable[Row], wanted: Sequence[str]) -> list[str]:
    """The benchmarks of the rows, or those `wanted`, in that order; `UsageError` for one that no row has."""
    known = benchmarks_of(rows)
    for name in wanted:
        if name not in known:
            raise UsageError(f"--benchmark {shortened(name)}: no result has it{nearest(name, known)}")
    return list(dict.fromkeys(wanted)) or known


def chosen_metric(rows: Iterable[Row], name: str) -> Metric:
    """The metric of a name; `UsageError` for one that no result of the rows holds."""
    scores = [score for row in rows for score in row.scores.values()]
    if not any(score.measure(name) for score in scores):
        known = {metric for score in scores for metric in score.measures()}
        raise UsageError(f"--metric {shortened(name)}: no result has it{nearest(name, known)}")
    return metric_of(name)


def _benchmarks(name: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The numbers by benchmark: the result's own, or those of the summary file that the original project wrote."""
    result = Result(name, "eval", entry)
    own, _ = score_sets(result, here=False)
    if own:
        return own[0][1]
    sets, problems = score_sets(result, here=True)
    if sets:
        return sets[0][1]
    absent = [path for field, path in result.paths.items() if field in SCORE_FILES and not is_here(path)]
    reason = f": {problems[0].line}" if problems else f", and {absent[0]} is not on this machine" if absent else ""
    remedy = "copy it there, or run" if absent and not problems else "run"
    raise MissingError(
        f"{name}: its eval result holds no benchmark{reason}; {remedy} `meds1 run {name} --stage eval --force`"
    )


def _score(name: str, source: str, numbers: Any) -> Score:
    try:
        low, high = numbers["accuracy_ci"]
        values = [numbers["accuracy"], low, high, numbers["num_correct"], numbers["total_examples"]]
    except (KeyError, TypeError, ValueError):
        values = [None]
    if any(number(value) is None for value in values):
        raise UsageError(
            f"{name}: its eval result of {source} needs accuracy, accuracy_ci [low, high], num_correct and "
            f"total_examples; run `meds1 run {name} --stage eval --force`"
        )
    flags = numbers.get("flags")
    accuracy, low, high, correct, total = values
    return Score(
        accuracy, low, high, correct, total, tuple(map(str, flags)) if isinstance(flags, list) else (), numbers
    )
