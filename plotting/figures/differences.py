"""Paired differences: how far each experiment is from a baseline on the same questions, one panel per benchmark.

Without --baseline it is the first untrained experiment whose result is whole and fresh, else the first with a result,
of those whose predictions are on this machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plotting.comparability import why_not_ranked
from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import add_title, inches_of, short_labels
from plotting.figures.selecting import Scored, nothing_to_draw, scored
from plotting.figures.style import Look
from plotting.paired_tests import PairedTest, adjusted, paired_test
from plotting.predictions import Answered, answers_by_benchmark
from plotting.runs import Run
from registry.errors import MissingError, StageFailure, UsageError, no_experiment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TEST = ("difference", "low", "high", "p_value", "p_holm", "method", "n", "n_questions")
HEADER = ("experiment", "label", "group", "benchmark", "baseline", *_TEST, "not_compared", "status", "remark")
ALPHA = 0.05
_PANEL_INCHES = 2.7

_Answers = Mapping[str, Sequence[Answered]]


@dataclass(frozen=True)
class _Compared:
    """A run against the baseline: the tests, and why there is none, by benchmark."""

    run: Run
    tests: Mapping[str, PairedTest]
    refused: Mapping[str, str]

    @property
    def mean(self) -> float:
        """The mean difference over benchmarks, to sort by."""
        return sum(test.difference for test in self.tests.values()) / len(self.tests)


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` where no experiment can be compared with the baseline."""
    what = scored(request)
    baseline = _baseline(request, what)
    answers = answers_by_benchmark(baseline.needed("eval", "predictions_path"))
    compared = []
    for run in what.runs:
        if run is baseline:
            continue
        try:
            own = answers_by_benchmark(run.needed("eval", "predictions_path"))
        except (MissingError, StageFailure) as error:
            what.lacking[run.experiment] = error
            continue
        one = _compare(what, (baseline, run), (answers, own))
        if one.tests:
            compared.append(one)
        else:
            what.lacking[run.experiment] = UsageError(
                f"{run.experiment}: cannot be compared with {baseline.experiment}: {_reasons(one)}"
            )
    if not compared:
        raise nothing_to_draw(what.lacking, f"no experiment can be compared with {baseline.experiment}")
    return _figure(request, what, baseline, _sorted(_with_holm(compared)))


def _baseline(request: Request, what: Scored) -> Run:
    by_name = {run.experiment: run for run in request.runs}
    if request.baseline is not None:
        if request.baseline not in by_name:
            raise no_experiment(request.baseline, by_name)
        _ = by_name[request.baseline].scored  # raises what it lacks
        return by_name[request.baseline]
    whole = [run for run in what.runs if run.scored.comparable]
    untrained = [run for run in whole if run.config is not None and not run.config.applies("training")]
    candidates = [*untrained, *whole, *what.runs]
    here = (run for run in candidates if run.file("eval", "predictions_path") is not None)
    return next(here, candidates[0])


def _compare(what: Scored, runs: tuple[Run, Run], answers: tuple[_Answers, _Answers]) -> _Compared:
    """The second run against the first."""
    tests, refused = {}, {}
    for name in what.benchmarks:
        reason = why_not_ranked(*runs, name)
        if reason is not None:
            refused[name] = reason
            continue
        try:
            tests[name] = paired_test(name, answers[0].get(name, ()), answers[1].get(name, ()))
        except UsageError as error:
            refused[name] = str(error)
    return _Compared(runs[1], tests, refused)


def _reasons(one: _Compared) -> str:
    """Why it cannot be compared on any benchmark; a reason that holds for all of them once."""
    if len(set(one.refused.values())) == 1:
        return next(iter(one.refused.values()))
    return "; ".join(f"{name}: {reason}" for name, reason in one.refused.items())


def _with_holm(compared: Sequence[_Compared]) -> Iterator[_Compared]:
    """With p-values adjusted over all tests of the figure."""
    family = iter(adjusted([test for one in compared for test in one.tests.values()]))
    for one in compared:
        yield _Compared(one.run, {name: next(family) for name in one.tests}, one.refused)


def _sorted(compared: Iterator[_Compared]) -> list[_Compared]:
    return sorted(compared, key=lambda one: (-one.mean, one.run.experiment))


def _figure(request: Request, what: Scored, baseline: Run, compared: list[_Compared]) -> Sketch:
    benchmarks = [name for name in what.benchmarks if any(name in one.tests for one in compared)]
    fresh = [one.run.scored.comparable for one in compared]
    labels = short_labels([one.run.label for one in compared])
    labels = [label if whole else f"{label} *" for label, whole in zip(labels, fresh, strict=True)]
    size = (_PANEL_INCHES, 0.55 + style.ROW_INCHES * len(compared))
    figure, panels = style.make_panels(len(benchmarks), size, inches_of(labels), sharex=True, sharey=True)
    looks = style.group_looks(request.display, [one.run for one in compared])
    for panel, name in zip(panels, benchmarks, strict=True):
        tests = [one.tests[name] for one in compared if name in one.tests]
        counts = sorted({test.n_questions for test in tests})
        title = request.display.benchmarks.get(name, name)
        questions = "-".join(map(str, sorted({counts[0], counts[-1]})))
        add_title(panel, f"{title} ({questions}\N{NO-BREAK SPACE}questions)", _PANEL_INCHES)
        _draw(panel, compared, name, looks)
    style.name_rows(panels, labels, range(len(compared)))
    ends = [100 * end for one in compared for test in one.tests.values() for end in (*test.ci, test.difference)]
    low, high = 5 * math.floor(min(*ends, -1) / 5), 5 * math.ceil(max(*ends, 1) / 5)
    panels[0].set_xlim(low, high)
    style.add_group_legend(figure, style.looks_of(request.display), [one.run.group for one in compared])
    fresh.append(baseline.scored.comparable)
    (baseline_label,) = short_labels([baseline.label])
    baseline_label += "" if fresh[-1] else " *"
    family = sum(len(one.tests) for one in compared)
    style.add_caption(
        figure,
        f"points of accuracy gained over {baseline_label}, with 95 % interval",
        f"filled: p < {ALPHA:g} after Holm over {family} paired test{'s' if family > 1 else ''}",
        "" if all(fresh) else "* stale, limited or running again",
    )
    return Sketch(figure, HEADER, _numbers(baseline, compared, benchmarks), what.lacking)


def _draw(panel: Axes, compared: Sequence[_Compared], benchmark: str, looks: Mapping[str, Look]) -> None:
    panel.axvline(0, color="0.35", linewidth=0.9, zorder=1)
    for height, one in enumerate(compared):
        test = one.tests.get(benchmark)
        if test is None:
            panel.text(
                0.98,
                height,
                "not compared",
                transform=panel.get_yaxis_transform(),
                ha="right",
                va="center",
                **style.FADED,
            )
            continue
        interval = (100 * test.ci[0], 100 * test.ci[1])
        look = looks[one.run.experiment]
        style.draw_dot(panel, (100 * test.difference, height), interval, look, hollow=test.p >= ALPHA)


def _numbers(baseline: Run, compared: Sequence[_Compared], benchmarks: Sequence[str]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for one in compared:
        run = one.run
        for name in benchmarks:
            test = one.tests.get(name)
            numbers: tuple[object, ...] = (None,) * len(_TEST)
            if test is not None:
                numbers = (test.difference, *test.ci, test.p_value, test.p_holm, test.method, test.n, test.n_questions)
            names = (run.experiment, run.label, run.group, name, baseline.experiment)
            rows.append((*names, *numbers, one.refused.get(name), run.scored.status, run.scored.remark))
    return rows
