"""Two or more experiments side by side: scores, paired tests of each against the first, and the answers that flip."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from plotting.comparability import judged_alike, remarks, says_what_was_asked, why_not_ranked
from plotting.conclusions import not_ranked
from plotting.config_differences import ConfigDifference, config_differences
from plotting.metrics import Measure, Metric, metric_of
from plotting.paired_tests import RESAMPLES, Method, PairedTest, adjusted, paired_test
from plotting.predictions import Answered, answers_by_benchmark, headline
from plotting.runs import Run
from plotting.scores import benchmarks_of
from registry.errors import Meds1Error, MissingError, UsageError, listed, nearest, shortened

log = logging.getLogger(__name__)

Answers = Mapping[str, Sequence[Answered]]


@dataclass(frozen=True)
class Ask:
    """What is to be compared and how: the benchmarks (empty: all that at least two runs have), and by which test."""

    benchmarks: tuple[str, ...] = ()
    method: Method | None = None
    seed: int = 0
    resamples: int = RESAMPLES


@dataclass(frozen=True)
class MetricRow:
    """One metric of a benchmark by experiment; `best` is null where runs are not ranked, or several are best."""

    benchmark: str
    metric: Metric
    measures: Mapping[str, Measure]
    best: str | None


@dataclass(frozen=True)
class Flip:
    """An answer that is right in one run and wrong in the other."""

    a: Answered
    b: Answered


@dataclass(frozen=True)
class Tested:
    """The test of an experiment against the first, with the answers that flip, in the order of the first's."""

    experiment: str
    test: PairedTest
    flips: tuple[Flip, ...]


@dataclass(frozen=True)
class Untested:
    """Why an experiment is not tested against the first on a benchmark; `ranked` is false where they differ in kind."""

    experiment: str
    benchmark: str
    reason: str
    ranked: bool


@dataclass(frozen=True)
class Comparison:
    """All of it; the first of `runs` is the one that the others are held against."""

    runs: Sequence[Run]
    differences: Sequence[ConfigDifference]
    rows: Sequence[MetricRow]
    tested: Sequence[Tested]
    untested: Sequence[Untested]
    remarks: Sequence[str]


def compare(runs: Sequence[Run], ask: Ask) -> Comparison:
    """Compare scored runs; `UsageError` where they have no benchmark in common, or none of the name asked for."""
    benchmarks = shared_benchmarks(runs, ask.benchmarks)
    outcomes = list(_outcomes(runs, benchmarks, ask))
    untested = [found for found in outcomes if isinstance(found, Untested)]
    tested = [found for found in outcomes if isinstance(found, Tested)]
    tests = adjusted([found.test for found in tested])
    unranked = {found.benchmark for found in untested if not found.ranked}
    unlike = {name: why for name in benchmarks if name not in unranked and (why := _why_unlike(runs, name))}
    unranked |= unlike.keys()
    return Comparison(
        runs=runs,
        differences=config_differences(runs),
        rows=[row for name in benchmarks for row in _rows(runs, name, name not in unranked)],
        tested=[replace(found, test=test) for found, test in zip(tested, tests, strict=True)],
        untested=untested,
        remarks=[*unlike.values(), *remarks_on(runs)],
    )


def shared_benchmarks(runs: Sequence[Run], wanted: Sequence[str]) -> list[str]:
    """The benchmarks that at least two of the runs have, or those of them that are wanted."""
    known = benchmarks_of(run.scored for run in runs)
    shared = [name for name in known if sum(name in run.scored.scores for run in runs) > 1]
    for name in wanted:
        if name not in known:
            raise UsageError(f"--benchmark {shortened(name)}: none of them has a result of it{nearest(name, known)}")
        if name not in shared:
            (only,) = (run.experiment for run in runs if name in run.scored.scores)
            raise UsageError(f"--benchmark {name}: only {only} has a result of it; evaluate the others on it")
    if not shared:
        has = "; ".join(f"{run.experiment} has {listed(list(run.scored.scores))}" for run in runs)
        raise UsageError(f"no benchmark in common: {has}; evaluate them on the same one")
    return [name for name in shared if not wanted or name in wanted]


def tested_pair(
    a: Sequence[Answered], b: Sequence[Answered], benchmark: str, ask: Ask
) -> tuple[PairedTest, tuple[Flip, ...]]:
    """The test of run b against run a on a benchmark, given what `counted` gives, and the answers that flip."""
    test = paired_test(benchmark, a, b, method=ask.method, seed=ask.seed, resamples=ask.resamples)
    answers = {answer.item: answer for answer in b}
    pairs = ((answer, answers[answer.item]) for answer in a)
    return test, tuple(Flip(before, after) for before, after in pairs if before.correct != after.correct)


def predictions_of(run: Run) -> Answers:
    """A run's single predictions by benchmark; `MissingError` says where a copy of them would be found."""
    return answers_by_benchmark(run.needed("eval", "predictions_path"))


def counted(run: Run, answers: Answers, benchmark: str) -> list[Answered]:
    """The predictions that a run's accuracy on a benchmark counts; `MissingError` where the file is of another time."""
    found, score = headline(answers.get(benchmark, ())), run.scored.scores[benchmark]
    right = sum(answer.correct for answer in found)
    if (right, len(found)) != (score.correct, score.total):
        raise MissingError(
            f"{run.experiment}: {run.file('eval', 'predictions_path')} has {right} of {len(found)} answers to "
            f"{benchmark} right, and its result {score.correct} of {score.total}; copy the file of this result"
        )
    return found


def remarks_on(runs: Sequence[Run]) -> Iterator[str]:
    """What is to be known beside the numbers: results that are stale, limited or suspect, another engine or seed."""
    for run in runs:
        if run.scored.remark:
            yield f"{run.experiment}: {run.scored.remark}"
        if run.problem and run.problem not in run.scored.remark:
            yield f"{run.experiment}: {run.problem}"
    yield from dict.fromkeys(line for run in runs[1:] for line in remarks(runs[0], run))


def _outcomes(runs: Sequence[Run], benchmarks: Sequence[str], ask: Ask) -> Iterator[Tested | Untested]:
    """Every run but the first on every benchmark, run by run: the predictions of two are in memory at a time."""
    first, *others = runs
    of_first: Answers | Meds1Error | None = None
    for number, run in enumerate(others, start=1):
        reasons = {name: why_not_ranked(first, run, name) for name in benchmarks}
        for name, why in reasons.items():
            if why:
                both = all(name in one.scored.scores for one in (first, run))
                yield Untested(run.experiment, name, why, ranked=not both)
        ranked = [name for name, why in reasons.items() if why is None]
        if not ranked:
            continue
        of_first = of_first or _read(first)
        if len(others) > 1 and not isinstance(of_first, Meds1Error):
            log.info("%s: reading its predictions (%d of %d)", run.experiment, number, len(others))
        of_run = of_first if isinstance(of_first, Meds1Error) else _read(run)
        if isinstance(of_first, Meds1Error) or isinstance(of_run, Meds1Error):
            yield from (Untested(run.experiment, name, str(of_run), ranked=True) for name in ranked)
            continue
        yield from (_outcome((first, of_first), (run, of_run), name, ask) for name in ranked)


def _read(run: Run) -> Answers | Meds1Error:
    """The predictions, or why there are none: then scores are compared all the same."""
    try:
        return predictions_of(run)
    except Meds1Error as error:
        return error


def _outcome(a: tuple[Run, Answers], b: tuple[Run, Answers], benchmark: str, ask: Ask) -> Tested | Untested:
    experiment = b[0].experiment
    try:
        test, flips = tested_pair(counted(*a, benchmark), counted(*b, benchmark), benchmark, ask)
    except MissingError as error:
        return Untested(experiment, benchmark, str(error), ranked=True)
    except UsageError as error:  # other items or other prompts
        return Untested(experiment, benchmark, str(error), ranked=False)
    return Tested(experiment, test, flips)


def _why_unlike(runs: Sequence[Run], benchmark: str) -> str | None:
    """What keeps the runs that have a benchmark from being ranked among themselves; null where nothing does.

    A run that does not say what was asked is like many that are not like each other.
    """
    having = [run for run in runs if benchmark in run.scored.scores]
    for first, *others in (having, [run for run in having if says_what_was_asked(run)] or having):
        for run in others:
            reason = why_not_ranked(first, run, benchmark)
            if reason is not None:
                return not_ranked(first.experiment, run.experiment, benchmark, reason)
    return None


def _rows(runs: Sequence[Run], benchmark: str, ranked: bool) -> Iterator[MetricRow]:
    """A row for every metric that two of the runs have, accuracy first; no best of grades of different judges."""
    scores = {run.experiment: run.scored.scores.get(benchmark) for run in runs}
    found = {name: score.measures() for name, score in scores.items() if score is not None}
    for key in dict.fromkeys(key for measures in found.values() for key in measures):
        measures = {name: own[key] for name, own in found.items() if key in own}
        if len(measures) > 1:
            metric = metric_of(key)
            alike = ranked and (not metric.judged or judged_alike([run for run in runs if run.experiment in measures]))
            yield MetricRow(benchmark, metric, measures, _best(metric, measures) if alike else None)


def _best(metric: Metric, measures: Mapping[str, Measure]) -> str | None:
    if metric.better is None:
        return None
    values = [measure.value for measure in measures.values()]
    best = max(values) if metric.better == "higher" else min(values)
    names = [name for name, measure in measures.items() if measure.value == best]
    return names[0] if len(names) == 1 else None
