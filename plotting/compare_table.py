"""A comparison as tables and sentences for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from plotting.compare import Comparison, Flip, MetricRow, Tested
from plotting.conclusions import conclusion, not_ranked, not_tested, p_text, points
from plotting.config_differences import are_effective
from plotting.leaderboard import shown
from plotting.metrics import tells
from plotting.paired_tests import PairedTest
from registry.catalog import Display
from registry.console import Grid

_MOST_FLIPS = 10
_WIDEST = 40


def lines(found: Comparison, display: Display) -> list[str | Grid]:
    """The comparison for a terminal: differences, scores, tests, what may be concluded, and the answers that flip."""
    shown: list[str | Grid] = [_differences(found), "", _scores(found, display)]
    if any(row.best for row in found.rows):
        shown.append("* best of the row")
    if found.tested:
        shown += ["", _tests(found, display)]
    shown += ["", *_sentences(found, display), *(f"note: {remark}" for remark in found.remarks)]
    return [*shown, "", *_flip_lines(found, display)] if found.tested else shown


def as_json(found: Comparison, display: Display) -> dict[str, Any]:
    """The comparison whole, for `--json`."""
    first = found.runs[0].experiment
    return {
        "reference": first,
        "experiments": [
            {"experiment": run.experiment, "status": run.scored.status, "remark": run.scored.remark}
            for run in found.runs
        ],
        "config_is_effective": are_effective(found.runs),
        "config": [{"path": difference.path, "values": difference.values} for difference in found.differences],
        "metrics": [
            {
                "benchmark": row.benchmark,
                "metric": row.metric.name,
                "unit": row.metric.unit,
                "better": row.metric.better,
                "values": {name: asdict(measure) for name, measure in row.measures.items()},
                "best": row.best,
            }
            for row in found.rows
        ],
        "tests": [
            {
                **test_as_json(tested.test),
                "experiment": tested.experiment,
                "sentence": sentence(found, tested, display),
                "flipped": [flip_as_json(flip) for flip in tested.flips],
            }
            for tested in found.tested
        ],
        "untested": [asdict(untested) for untested in found.untested],
        "remarks": list(found.remarks),
    }


def test_as_json(test: PairedTest) -> dict[str, Any]:
    """A test with all its numbers; shares, not percent."""
    return {**asdict(test), "ci": list(test.ci)}


def flip_as_json(flip: Flip) -> dict[str, Any]:
    """One answer that flips; `change` as the test counts it."""
    return {
        "id": flip.a.id,
        "question_id": flip.a.question_id,
        "repetition": flip.a.repetition,
        "change": "right_to_wrong" if flip.a.correct else "wrong_to_right",
        "before": flip.a.extracted,
        "after": flip.b.extracted,
        "gold": flip.b.gold,
    }


def sentence(found: Comparison, tested: Tested, display: Display) -> str:
    """What is concluded from one of the tests."""
    title = display.benchmarks.get(tested.test.benchmark, tested.test.benchmark)
    return conclusion(tested.test, found.runs[0].experiment, tested.experiment, title)


def _differences(found: Comparison) -> str | Grid:
    which = "effective configs" if are_effective(found.runs) else "configs as they are written"
    if not found.differences:
        return f"The {which} do not differ."
    names = [run.experiment for run in found.runs]
    body = [[one.path, *(_value(one.values.get(name)) for name in names)] for one in found.differences]
    return Grid(["config", *names], body, title=f"What differs in the {which}")


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        text = ", ".join(f"{key} {_value(inner)}" for key, inner in value.items() if inner is not None)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _scores(found: Comparison, display: Display) -> Grid:
    names = [run.experiment for run in found.runs]
    body = [
        [display.benchmarks.get(row.benchmark, row.benchmark), row.metric.title, *(_cell(row, name) for name in names)]
        for row in found.rows
        if _tells(row, found)
    ]
    columns = range(2, 2 + len(names))
    return Grid(["benchmark", "metric", *names], body, title="Scores, shares in %, [95 % interval]", right=columns)


def _tells(row: MetricRow, found: Comparison) -> bool:
    scores = [run.scored.scores.get(row.benchmark) for run in found.runs]
    return tells(row.metric.name, [score.measures() for score in scores if score is not None])


def _cell(row: MetricRow, name: str) -> str:
    measure = row.measures.get(name)
    if measure is None:
        return "-"
    return f"{'* ' if row.best == name else ''}{shown(row.metric, measure)}"


def _tests(found: Comparison, display: Display) -> Grid:
    header = ["benchmark", "experiment", "questions", "difference", "95 % interval", "p", "p Holm", "test"]
    body = []
    for tested in found.tested:
        test = tested.test
        low, high = test.ci
        body.append(
            [
                display.benchmarks.get(test.benchmark, test.benchmark),
                tested.experiment,
                str(test.n_questions),
                points(test.difference),
                f"{points(low)} to {points(high)}",
                p_text(test.p_value).removeprefix("= "),
                p_text(test.p).removeprefix("= "),
                test.method,
            ]
        )
    title = f"Each against {found.runs[0].experiment}, in points of accuracy"
    return Grid(header, body, title=title, right=range(2, 7))


def _flip_lines(found: Comparison, display: Display) -> Iterator[str]:
    for tested in found.tested:
        title = display.benchmarks.get(tested.test.benchmark, tested.test.benchmark)
        for word, was_right in (("right to wrong", True), ("wrong to right", False)):
            flips = [flip for flip in tested.flips if flip.a.correct == was_right]
            shown = [_flip(flip) for flip in flips[:_MOST_FLIPS]]
            more = f" and {len(flips) - _MOST_FLIPS} more" if len(flips) > _MOST_FLIPS else ""
            listed = f": {', '.join(shown)}{more}" if shown else ""
            yield f"{tested.experiment} on {title}: {len(flips)} from {word}{listed}"


def _flip(flip: Flip) -> str:
    return f"{flip.a.question_id} ({_value(flip.a.extracted)} > {_value(flip.b.extracted)})"


def _sentences(found: Comparison, display: Display) -> Iterator[str]:
    first = found.runs[0].experiment
    yield from (sentence(found, tested, display) for tested in found.tested)
    same: dict[tuple[str, bool, str], list[str]] = {}
    for one in found.untested:
        title = display.benchmarks.get(one.benchmark, one.benchmark)
        same.setdefault((one.experiment, one.ranked, one.reason), []).append(title)
    for (experiment, ranked, reason), titles in same.items():
        tell = not_tested if ranked else not_ranked
        yield tell(first, experiment, ", ".join(titles), reason)
