"""What a figure of scores draws: who has the metric on the benchmarks asked for, and what the others lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plotting.comparability import asked_otherwise
from plotting.figures.kinds import Request
from plotting.metrics import Measure, Metric
from plotting.runs import Run
from plotting.scores import Row, Score, benchmark_title, chosen_benchmarks, chosen_metric
from registry.catalog import Display
from registry.errors import Meds1Error, MissingError


@dataclass(frozen=True)
class Scored:
    """The runs with a value to draw, the benchmarks in order of appearance, the metric, what others lack by name."""

    runs: Sequence[Run]
    benchmarks: Sequence[str]
    metric: Metric
    lacking: dict[str, Meds1Error]

    @property
    def rows(self) -> list[Row]:
        """The scores of the runs."""
        return [run.scored for run in self.runs]

    def measure(self, run: Run, benchmark: str) -> Measure | None:
        """What a run has on a benchmark; null without it."""
        return measure_of(run.scored, benchmark, self.metric)

    def asked_otherwise(self, benchmark: str) -> dict[str, str]:
        """Why runs with a value on a benchmark are not ranked with those that were asked as most, by name."""
        return asked_otherwise([run for run in self.runs if self.measure(run, benchmark) is not None], benchmark)

    def title(self, benchmark: str, display: Display) -> str:
        """A panel's title: the benchmark's name and its number of questions."""
        return benchmark_title(self.rows, benchmark, display)

    def chance(self, benchmark: str) -> float | None:
        """The accuracy of guessing, where the metric is accuracy and the results say it."""
        scores = [row.scores[benchmark] for row in self.rows if benchmark in row.scores]
        return chance_of(scores) if self.metric.name in ("accuracy", "majority_vote") else None


def scored(request: Request) -> Scored:
    """What to draw of a request.

    Raises `MissingError` where no experiment has a result, or none has the metric, and `UsageError` for a benchmark or
    metric that no result has.
    """
    lacking = {run.experiment: run.why_unscored for run in request.runs if run.why_unscored is not None}
    runs = [run for run in request.runs if run.row is not None]
    if not runs:
        raise nothing_to_draw(lacking, "no experiment has an eval result to compare; run `meds1 run NAME`")
    rows = [run.scored for run in runs]
    benchmarks, metric = chosen_benchmarks(rows, request.benchmarks), chosen_metric(rows, request.metric)
    having = []
    for run in runs:
        if any(measure_of(run.scored, benchmark, metric) for benchmark in benchmarks):
            having.append(run)
        else:
            lacking[run.experiment] = MissingError(_lack(run.scored, benchmarks, metric))
    if not having:
        raise nothing_to_draw(lacking, f"no experiment has {metric.name} on {', '.join(benchmarks)}")
    return Scored(having, benchmarks, metric, lacking)


def measure_of(row: Row, benchmark: str, metric: Metric) -> Measure | None:
    """What an experiment has of a metric on a benchmark; null where it has none."""
    score = row.scores.get(benchmark)
    return None if score is None else score.measure(metric.name)


def chance_of(scores: Sequence[Score]) -> float | None:
    """The accuracy of guessing on a benchmark, as its results say it; null where they differ or none says it."""
    said = {score.chance for score in scores if score.chance is not None}
    return said.pop() if len(said) == 1 else None


def nothing_to_draw(lacking: dict[str, Meds1Error], what: str) -> MissingError:
    """The error of a figure that would be empty: what is missing, and of the first experiments what each lacks."""
    first = "; ".join(str(error) for error in list(lacking.values())[:3])
    rest = f"; and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return MissingError(f"nothing to draw: {what}{': ' if first else ''}{first}{rest}")


def _lack(row: Row, benchmarks: Sequence[str], metric: Metric) -> str:
    if not any(benchmark in row.scores for benchmark in benchmarks):
        return f"{row.experiment}: has no result on {', '.join(benchmarks)}; add it to datasets.eval and run its eval"
    return f"{row.experiment}: its eval result has no {metric.name}; choose another --metric, or run its eval again"
