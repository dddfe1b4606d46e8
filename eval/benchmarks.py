"""The questions of an evaluation: every benchmark of every data set, in order, each with a gold answer.

Here, before any model is loaded, is the one place where a row that cannot judge an answer is refused.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from data.columns import Reading
from data.load import load
from data.plugins import Plugin
from data.rows import Row, normalised
from registry.catalog import DatasetEntry
from registry.errors import UsageError, counted, listed, shortened
from registry.schema import TaskName
from scoring.numeric import read_number

log = logging.getLogger(__name__)

_SHOWN = 5


@dataclass(frozen=True)
class Benchmark:
    """Questions that are counted under one name (a row's `source`), from the catalog's data set `key`.

    `rows` are in the file's order. Rows that ask the same question share its `question_id`.
    """

    name: str
    key: str
    task: TaskName
    rows: tuple[Row, ...]
    plugin: Plugin | None = None

    @property
    def n_questions(self) -> int:
        """Distinct questions."""
        return len({row.question_id for row in self.rows})

    @property
    def n_repeated_rows(self) -> int:
        """Rows that ask again what an earlier row asks."""
        return len(self.rows) - self.n_questions


def load_benchmarks(datasets: Mapping[str, DatasetEntry], limit: int | None) -> dict[str, Benchmark]:
    """Load benchmark name -> benchmark, the first `limit` rows of each; repeats inside one are said in the log.

    Raises `UsageError` for a row that cannot judge an answer (one wrong gold answer would count against every model),
    and for a benchmark that two data sets hold (its questions would count twice).
    """
    benchmarks: dict[str, Benchmark] = {}
    for named, entry in datasets.items():
        for benchmark in benchmarks_of(named, entry):
            other = benchmarks.get(benchmark.name)
            if other is not None:
                raise UsageError(
                    f"benchmark {benchmark.name} is in both eval datasets {other.key} and {benchmark.key}; "
                    "name only one of them in the experiment's datasets.eval, or tell the sources apart"
                )
            benchmarks[benchmark.name] = replace(benchmark, rows=benchmark.rows[:limit])
    for benchmark in benchmarks.values():
        for line in remarks(benchmark):
            log.warning("%s", line)
    return benchmarks


def benchmarks_of(key: str, entry: DatasetEntry) -> list[Benchmark]:
    """Return the benchmarks of one data set, in the order of their first rows; `UsageError` as `load_benchmarks`.

    A merged one has those of its parts, each with its own task and plugin.
    """
    return [found for name, part in entry.parts(key) for found in _of_part(name, part)]


def _of_part(key: str, entry: DatasetEntry) -> list[Benchmark]:
    loaded = load(key, entry)
    _require_gold(key, entry.task, loaded.readings)
    by_source: dict[str, list[Row]] = defaultdict(list)
    for reading in loaded.readings:
        by_source[reading.row.source].append(reading.row)
    return [
        Benchmark(source, key, entry.task or ("choice" if rows[0].options else "text"), tuple(rows), loaded.plugin)
        for source, rows in by_source.items()
    ]


def remarks(benchmark: Benchmark) -> list[str]:
    """What a reader of the benchmark's results should know: questions that repeat, and such with two gold answers."""
    if not benchmark.n_repeated_rows:
        return []
    times = Counter(row.question_id for row in benchmark.rows)
    golds: dict[str, set[frozenset[str]]] = defaultdict(set)
    for row in benchmark.rows:
        golds[row.question_id].add(_gold_texts(row))
    repeated = sum(count > 1 for count in times.values())
    most = max(times.values())
    lines = [
        f"{benchmark.name}: {len(benchmark.rows)} rows ask {benchmark.n_questions} questions "
        f"({repeated} of them up to {most} times); intervals are clustered on questions"
    ]
    disputed = sum(len(found) > 1 for found in golds.values())
    if disputed:
        lines.append(f"{benchmark.name}: {counted(disputed, 'repeated question')} with more than one gold answer")
    return lines


def _gold_texts(row: Row) -> frozenset[str]:
    """The gold by its text: repeats may hold the same options under other letters."""
    letters = (row.answer_idx or "").split(",")
    texts = [option.text for option in row.options if option.letter in letters] or [row.answer]
    return frozenset(map(normalised, texts))


def _require_gold(key: str, task: TaskName | None, readings: Sequence[Reading]) -> None:
    with_options = {reading.row.source for reading in readings if reading.row.options}
    faults = [
        f"row {number} {fault}"
        for number, reading in enumerate(readings, 1)
        if (fault := reading.fault or _fault(reading.row, task, with_options)) is not None
    ]
    if faults:
        raise UsageError(
            f"eval dataset {key}: {len(faults)} of {counted(len(readings), 'row')} cannot judge an answer: "
            f"{listed(faults, _SHOWN)} (counted from 1); mend them, or its columns, labels, task and answer_index_base "
            "in config.json"
        )


def _fault(row: Row, task: TaskName | None, with_options: Container[str]) -> str | None:
    if not row.options and row.source in with_options:
        return "has no options, as other rows do"
    if task == "number" and read_number(row.answer) is None:
        return f"has the gold answer {shortened(row.answer)}, which is not one number"
    return None
