"""Command that looks into the catalog's benchmarks: benchmarks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry.catalog import DatasetEntry
from registry.console import Answer, Grid, answering
from registry.errors import Meds1Error, UsageError, listed
from registry.options import ConfigFile, Json, RegistryFile
from registry.references import follow
from registry.store import Registry, experiments_of, open_registry

if TYPE_CHECKING:
    from eval.benchmarks import Benchmark

_HEADER = ("data set", "benchmark", "called", "task", "rows", "questions", "options", "used by", "lies in", "remark")


def benchmarks(
    keys: Annotated[list[str] | None, typer.Argument(metavar="[NAMES]...", help="Keys of eval_datasets.")] = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """List the benchmarks of the catalog, and who is evaluated on them.

    Every file is read whole and checked. What is wrong with one is a remark here, and an error where it was named.
    """
    with answering("benchmarks", as_json) as answer:
        opened = open_registry(registry, config)
        entries = {key: opened.eval_dataset(key) for key in keys or opened.catalog.eval_datasets}
        users = _users(opened, answer)
        answer.data = []
        for key, entry in entries.items():
            found, error = _read(key, entry)
            if error is not None and keys:
                answer.errors.append(error)
            answer.data.append(_described(key, entry, found, error) | {"experiments": users[key]})
        shown = opened.catalog.display.benchmarks
        rows = [row for described in answer.data for row in _rows(described, shown)]
        answer.lines.append(Grid(_HEADER, rows, right=(4, 5)) if rows else "the catalog has no eval_datasets yet")


def _users(opened: Registry, answer: Answer) -> dict[str, list[str]]:
    """The experiments that are evaluated on each data set."""
    view = opened.read()
    answer.warnings.extend(view.warnings)
    experiments = experiments_of(view)
    users: dict[str, list[str]] = defaultdict(list)
    for name in experiments:
        try:
            datasets, _ = follow(experiments, name, "datasets")
        except UsageError as error:
            answer.warn(name, error)
            continue
        named = datasets.get("eval") if isinstance(datasets, dict) else None
        for key in [named] if isinstance(named, str) else named or []:
            users[key].append(name)
    return users


def _read(key: str, entry: DatasetEntry) -> tuple[list[Benchmark], Meds1Error | None]:
    from eval.benchmarks import benchmarks_of

    try:
        return benchmarks_of(key, entry), None
    except Meds1Error as error:
        return [], error


def _described(key: str, entry: DatasetEntry, found: list[Benchmark], error: Meds1Error | None) -> dict[str, Any]:
    return {
        "key": key,
        "lies_in": entry.file_path or entry.hf_path or entry.plugin or " + ".join(entry.merge or ()),
        "plugin": entry.plugin,
        "error": None if error is None else str(error),
        "benchmarks": [_counted(benchmark) for benchmark in found],
    }


def _counted(benchmark: Benchmark) -> dict[str, Any]:
    options = [len(row.options) for row in benchmark.rows]
    return {
        "name": benchmark.name,
        "task": benchmark.task,
        "rows": len(benchmark.rows),
        "questions": benchmark.n_questions,
        "options": [min(options), max(options)] if max(options) else None,
    }


def _rows(described: Mapping[str, Any], shown: Mapping[str, str]) -> list[list[str]]:
    """One line per benchmark; one for the data set when it cannot be read."""
    remarks = [described["error"]] if described["error"] else ["plugin"] if described["plugin"] else []
    ends = [listed(described["experiments"], 3), str(described["lies_in"])]
    if not described["benchmarks"]:
        return [[described["key"], "", shown.get(described["key"], ""), "", "", "", "", *ends, *remarks]]
    return [
        [
            described["key"],
            each["name"],
            shown.get(each["name"], shown.get(described["key"], "")),
            each["task"],
            str(each["rows"]),
            str(each["questions"]),
            "–".join(map(str, sorted(set(each["options"] or [])))),
            *ends,
            ", ".join([*remarks, *(["questions repeat"] if each["questions"] < each["rows"] else [])]),
        ]
        for each in described["benchmarks"]
    ]
