"""What the compare view says of every two runs: whether they are ranked, and the paired tests, made beforehand."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from plotting.comparability import asked_otherwise, why_not_ranked
from plotting.compare import remarks_on
from plotting.conclusions import conclusion
from plotting.leaderboard import board_of
from plotting.paired_tests import PairedTest, adjusted, assessed
from plotting.report.runs import Marks
from plotting.runs import Run
from scoring.pairs import Flips, Pairs

MOST_RUNS = 150
"""Of more than so many scored runs, 11,175 pairs, only those with one of them are compared: all would take hours."""

Key = tuple[str, str, str]
"""Two experiments in the report's order, and a benchmark."""


@dataclass(frozen=True, eq=False)
class Against:
    """Tests to be made in another process: `first` against each of `others`, all of the same items and prompts."""

    benchmark: str
    experiment: str
    first: Marks
    others: Mapping[str, Marks]


@dataclass(frozen=True)
class Standing:
    """Why two runs are not ranked, as each of them sees the other; else why they cannot be tested; else all null."""

    reasons: tuple[str, str] | None
    untested: str | None


@dataclass(frozen=True)
class Reference:
    """The one experiment that all others are held against where they are too many for all pairs, and a line on that."""

    experiment: str
    reason: str


def reference_of(runs: Sequence[Run], with_predictions: Container[str]) -> Reference | None:
    """The leaderboard's first that can be tested against most; null where all pairs are compared."""
    having = [run for run in runs if run.row is not None]
    count = len(having)
    if count <= MOST_RUNS:
        return None
    board = board_of([run.scored for run in having])
    unlike = {name for benchmark in board.benchmarks for name in asked_otherwise(having, benchmark)}
    best = [row.experiment for row in board.rows]
    tested = [name for name in best if name in with_predictions]
    alike = [name for name in tested if name not in unlike]
    which = "the best with predictions that was asked as most were"
    if not tested:
        which = "the first of the leaderboard, where none has predictions"
    elif not alike:
        which = "the best with predictions, all of which were asked in another way than most"
    name = [*alike, *tested, *best][0]
    return Reference(
        name,
        f"{count:,} experiments with scores are {count * (count - 1) // 2:,} pairs, too many for the report to test: "
        f"it holds {name}, {which}, against each of the others; for "
        f"other pairs name at most {MOST_RUNS} in `meds1 report NAME ...`, or run `meds1 compare A B`",
    )


def comparisons(
    runs: Sequence[Run],
    marks: Mapping[str, Mapping[str, Marks]],
    absent: Mapping[str, str],
    reference: Reference | None = None,
) -> dict[Key, Standing]:
    """Where every two scored runs, or all and the `reference`, stand on each benchmark of both.

    `absent` says why runs have no marks.
    """
    found = {}
    for a, b in combinations([run for run in runs if run.row is not None], 2):
        if reference is not None and reference.experiment not in (a.experiment, b.experiment):
            continue
        for benchmark in a.scored.scores:
            if benchmark not in b.scored.scores:
                continue
            key = a.experiment, b.experiment, benchmark
            reason = why_not_ranked(a, b, benchmark)
            mirrored = reason and why_not_ranked(b, a, benchmark)
            reasons = (reason, mirrored or reason) if reason else None
            found[key] = Standing(reasons, None if reasons else _untested(key, marks, absent))
    return found


def _untested(key: Key, marks: Mapping[str, Mapping[str, Marks]], absent: Mapping[str, str]) -> str | None:
    a, b, benchmark = key
    for name in (a, b):
        if name in absent:
            return absent[name]
        if benchmark not in marks[name]:
            return f"{name}: its file of predictions holds none of {benchmark}"
    first, second = marks[a][benchmark], marks[b][benchmark]
    if first.items != second.items:
        return "their predictions are not of the same items; evaluate both with the same limit and repetitions"
    return None if first.prompts == second.prompts else "the same items were asked with other prompts"


def tasks(standings: Mapping[Key, Standing], marks: Mapping[str, Mapping[str, Marks]]) -> list[Against]:
    """The tests that can be made, those of one run on one benchmark together."""
    others: dict[tuple[str, str], dict[str, Marks]] = {}
    for (a, b, benchmark), standing in standings.items():
        if standing == Standing(None, None):
            others.setdefault((a, benchmark), {})[b] = marks[b][benchmark]
    return [Against(benchmark, a, marks[a][benchmark], found) for (a, benchmark), found in others.items()]


def run_tests(task: Against) -> dict[Key, PairedTest]:
    """Make the tests of a task."""
    questions = tuple(task.first.question.tolist())
    first = tuple(task.first.correct.astype(float).tolist())
    found = {}
    for other, marks in task.others.items():
        pairs = Pairs(questions, first, tuple(marks.correct.astype(float).tolist()))
        found[task.experiment, other, task.benchmark] = assessed(task.benchmark, pairs)
    return found


def by_run(
    standings: Mapping[Key, Standing], tests: Mapping[Key, PairedTest], runs: Sequence[Run], titles: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The content of `data/pairs/NAME.js` for each run: every other run against it; empty where it shares no benchmark.

    `titles` has the benchmarks' names.
    """
    by_name = {run.experiment: run for run in runs}
    family = _adjusted(tests)
    shared: dict[str, dict[str, list[Key]]] = {run.experiment: {} for run in runs}
    for key in standings:
        for name, other in (key[:2], (key[1], key[0])):
            shared[name].setdefault(other, []).append(key)
    for name, others in shared.items():
        found = {}
        for other, keys in others.items():
            side = 0 if keys[0][0] == name else 1
            sided = {key[2]: _mirrored(family[key]) if side else family[key] for key in keys if key in family}
            known = {key[2]: standings[key] for key in keys}
            found[other] = {
                "ranked": {source: one.reasons is None or one.reasons[side] for source, one in known.items()},
                "tests": {
                    source: _told(test, conclusion(test, by_name[name].label, by_name[other].label, titles[source]))
                    for source, test in sided.items()
                },
                "untested": {source: one.untested for source, one in known.items() if one.untested},
                "remarks": list(remarks_on([by_name[name], by_name[other]])),
            }
        yield name, found


def _adjusted(tests: Mapping[Key, PairedTest]) -> dict[Key, PairedTest]:
    """By Holm over the benchmarks of two runs: those are the tests that the view shows together."""
    families: dict[tuple[str, str], list[Key]] = {}
    for key in tests:
        families.setdefault(key[:2], []).append(key)
    found: dict[Key, PairedTest] = {}
    for keys in families.values():
        found.update(zip(keys, adjusted([tests[key] for key in keys]), strict=True))
    return found


def _told(test: PairedTest, sentence: str) -> dict[str, Any]:
    return {
        "difference": test.difference,
        "low": test.ci[0],
        "high": test.ci[1],
        "p": test.p_value,
        "p_holm": test.p_holm,
        "method": test.method,
        "n": test.n,
        "n_questions": test.n_questions,
        "right_to_wrong": test.flips.right_to_wrong,
        "wrong_to_right": test.flips.wrong_to_right,
        "both_right": test.flips.both_right,
        "both_wrong": test.flips.both_wrong,
        "sentence": sentence,
    }


def _mirrored(test: PairedTest) -> PairedTest:
    """The same test of the first run against the second."""
    flips = test.flips
    return replace(
        test,
        accuracy_a=test.accuracy_b,
        accuracy_b=test.accuracy_a,
        difference=-test.difference,
        ci=(-test.ci[1], -test.ci[0]),
        better=test.worse,
        worse=test.better,
        flips=Flips(flips.both_right, flips.both_wrong, flips.wrong_to_right, flips.right_to_wrong),
    )
