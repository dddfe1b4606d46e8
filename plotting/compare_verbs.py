"""Commands that hold experiments against each other: compare and significance."""

from __future__ import annotations

import fnmatch
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from registry.console import Answer, answering
from registry.errors import UsageError, shortened
from registry.options import Choice, ConfigFile, Files, Json, RegistryFile, chosen

if TYPE_CHECKING:
    from plotting.runs import Run
    from registry.catalog import Display

_RESAMPLES = 10_000  # scoring.bootstrap's, which takes numpy to import
_FEWEST = 100

Seed = Annotated[int, typer.Option(min=0, help="Seed of what is drawn.")]
Resamples = Annotated[int, typer.Option(min=_FEWEST, help="How often is drawn anew, for intervals and permutations.")]


def compare(  # noqa: PLR0913 - one parameter per option of the command line
    names: Annotated[list[str], typer.Argument(help="Experiments; the others are held against the first.")],
    benchmarks: Annotated[list[str] | None, typer.Option("--benchmark", help="Only this one; repeatable.")] = None,
    seed: Seed = 0,
    resamples: Resamples = _RESAMPLES,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Compare experiments: configs, scores, paired tests against the first, answers that flip."""
    with answering("compare", as_json) as answer:
        from plotting.compare import Ask
        from plotting.compare import compare as compared
        from plotting.compare_table import as_json as whole
        from plotting.compare_table import lines

        runs, display = named_runs(answer, Files(registry, config), names)
        found = compared(runs, Ask(tuple(benchmarks or ()), seed=seed, resamples=resamples))
        answer.data = whole(found, display)
        answer.lines = [*lines(found, display)]


def significance(  # noqa: PLR0913 - one parameter per option of the command line
    a: Annotated[str, typer.Argument(help="The experiment that the other is held against.")],
    b: Annotated[str, typer.Argument(help="The other experiment.")],
    benchmark: Annotated[str | None, typer.Option(help="Which one; may be left out where they share only one.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="mcnemar, permutation or bootstrap; default: mcnemar, permutation where answers repeat."),
    ] = None,
    seed: Seed = 0,
    resamples: Resamples = _RESAMPLES,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Test whether two experiments differ on a benchmark, and by how much."""
    with answering("significance", as_json) as answer:
        from plotting.compare import Ask, remarks_on
        from plotting.compare_table import test_as_json
        from plotting.conclusions import conclusion
        from plotting.significance import SOURCES, lines, method_of, single_test

        ask = Ask((benchmark,) if benchmark else (), method_of(method), seed, resamples)
        runs, display = named_runs(answer, Files(registry, config), [a, b])
        test = single_test(runs, ask, display)
        a, b = (run.experiment for run in runs)
        title = display.benchmarks.get(test.benchmark, test.benchmark)
        told, notes = conclusion(test, a, b, title), list(remarks_on(runs))
        answer.lines = [*lines(test, a, b, title), told, *(f"note: {line}" for line in notes)]
        source = SOURCES[test.method]
        answer.data = {"a": a, "b": b, **test_as_json(test), "source": source, "sentence": told, "remarks": notes}


def named_runs(answer: Answer, files: Files, names: list[str]) -> tuple[list[Run], Display]:
    """Two experiments or more with scores, in the order in which they are named."""
    from plotting.runs import runs_of, scored_of

    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UsageError(f"{shortened(twice[0])} is named twice; name different experiments")
    opened, view, selected = chosen(answer, files, Choice(names))
    order = dict.fromkeys(name for given in names for name in fnmatch.filter(selected, given) or [given])
    if len(order) < 2:
        raise UsageError(f"{names[0]}: nothing to compare it with; name two experiments or more")
    runs = scored_of(runs_of(opened, view, order, answer, names), answer, names)
    if answer.errors and (len(runs) < 2 or runs[0].experiment != next(iter(order))):
        raise answer.errors.pop()
    if len(runs) < 2:
        raise UsageError("fewer than two of them have scores to compare; run their eval first")
    return runs, opened.catalog.display
