"""What the compare view says of every two runs: whether they are ranked, and the paired tests, made beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from plotting.comparability import why_not_ranked
from plotting.conclusions import conclusion
from plotting.paired_tests import PairedTest, adjusted, assessed
from plotting.report.runs import Marks
from plotting.runs import Run
from scoring.pairs import Flips, Pairs

Key = tuple[str, str, str]
"""Two experiments in the report's order, and a benchmark."""


@dataclass(frozen=True, eq=False)
class Against:
    """Tests to be made in another process: `first` against each of `others`, all of the same items and prompts."""

    benchmark: str
    experiment: str
    first: Marks
    others: Mapping[str, Marks]


def ranking(runs: Sequence[Run]) -> dict[Key, tuple[str, str] | None]:
    """For every two scored runs and benchmark of both: null where they may be ranked, else why not, from each side."""
    found: dict[Key, tuple[str, str] | None] = {}
    for a, b in combinations([run for run in runs if run.row is not None], 2):
        for benchmark in a.scored.scores:
            if benchmark in b.scored.scores:
                reason = why_not_ranked(a, b, benchmark)
                mirrored = reason and why_not_ranked(b, a, benchmark)
                found[a.experiment, b.experiment, benchmark] = (reason, mirrored or reason) if reason else None
    return found


def untested(key: Key, marks: Mapping[str, Mapping[str, Marks]], absent: Mapping[str, str]) -> str | None:
    """Why two runs that may be ranked cannot be assessed; null where they can."""
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


def tasks(keys: Sequence[Key], marks: Mapping[str, Mapping[str, Marks]]) -> list[Against]:
    """The tests of these keys, those of one run on one benchmark together."""
    others: dict[tuple[str, str], dict[str, Marks]] = {}
    for a, b, benchmark in keys:
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


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Everything that is known of all pairs; `titles` has the benchmarks' names."""

    ranked: Mapping[Key, tuple[str, str] | None]
    untested: Mapping[Key, str]
    tests: Mapping[Key, PairedTest]
    titles: Mapping[str, str]

    def by_run(self, runs: Sequence[Run]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The content of `data/pairs/NAME.js` for each run that is compared: every other run against it."""
        labels = {run.experiment: run.label for run in runs}
        family = self._adjusted()
        shared: dict[str, dict[str, list[Key]]] = {}
        for key in self.ranked:
            shared.setdefault(key[0], {}).setdefault(key[1], []).append(key)
            shared.setdefault(key[1], {}).setdefault(key[0], []).append(key)
        for name, others in shared.items():
            found: dict[str, Any] = {}
            for other, keys in others.items():
                tests = {
                    key[2]: self._told(family[key] if key[0] == name else _mirrored(family[key]), labels, name, other)
                    for key in keys
                    if key in family
                }
                found[other] = {
                    "ranked": {key[2]: self._ranked(key, name) for key in keys},
                    "tests": tests,
                    "untested": {key[2]: self.untested[key] for key in keys if key in self.untested},
                }
            yield name, found

    def _ranked(self, key: Key, first: str) -> str | bool:
        reasons = self.ranked[key]
        return True if reasons is None else reasons[0 if key[0] == first else 1]

    def _adjusted(self) -> dict[Key, PairedTest]:
        """By Holm over the benchmarks of two runs: those are the tests that the view shows together."""
        families: dict[tuple[str, str], list[Key]] = {}
        for key in self.tests:
            families.setdefault(key[:2], []).append(key)
        found: dict[Key, PairedTest] = {}
        for keys in families.values():
            found.update(zip(keys, adjusted([self.tests[key] for key in keys]), strict=True))
        return found

    def _told(self, test: PairedTest, labels: Mapping[str, str], a: str, b: str) -> dict[str, Any]:
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
            "sentence": conclusion(test, labels[a], labels[b], self.titles[test.benchmark]),
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
