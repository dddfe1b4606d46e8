"""How often the 95 % intervals hold the truth, and how often the tests see a difference that is none."""

from __future__ import annotations

from typing import Any

from benchmarks.eval.simulation import TESTS, Design, coverage, false_positives
from benchmarks.eval.verdict import simulated_verdict
from benchmarks.parts import Report, Say
from registry.console import Grid
from scoring.bootstrap import RESAMPLES

COVERAGE = (0.935, 0.965)
MOST_FALSE, LEAST_FALSE = 0.06, 0.03
EXACT = frozenset(("McNemar",))  # never above its level, so no lower limit

DESIGNS = (
    Design("200 once", 200, (1,)),
    Design("50, 4 times", 50, (4,)),
    Design("78, 5 times", 78, (5,)),
    Design("50, 3 or 5 times", 50, (3, 5)),
    Design("150, 100 once, 50 5 times", 150, (1, 1, 5)),
)
CORRELATIONS = (0.1, 0.5, 0.9)
COPIES = (DESIGNS[2], DESIGNS[4])  # copies count as one answer, so these are Wilson's interval for 78 and 150
PAIRED = (
    (Design("400 once", 400, (1,)), 0.3),
    (DESIGNS[2], 0.1),
    (DESIGNS[2], 0.5),
    (DESIGNS[3], 0.5),
    (DESIGNS[4], 0.5),
)


def measure_coverage(full: bool, say: Say) -> Report:
    """Simulate: 2,500 trials for each accuracy from 0.1 to 0.9, or 500 for three of them."""
    trials = 2_500 if full else 500
    accuracies = (0.1, 0.3, 0.5, 0.7, 0.9) if full else (0.1, 0.5, 0.9)
    covered = _coverages(accuracies, trials, say)
    errors = _errors(trials, say)
    verdicts = [figure["verdict"] for figure in (*covered, *errors)]
    as_new = coverage(COPIES[0], 0.5, 1.0, trials, RESAMPLES, as_new=True)
    return Report(
        data={"trials": trials, "coverage": covered, "type_1_error": errors, "copies_as_new": as_new},
        lines=(
            _coverage_grid(covered, accuracies, trials),
            f"{COPIES[0].name}, copies counted as new questions, accuracy 0.5: {100 * as_new:.1f}",
            "",
            _error_grid(errors),
            "",
            ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("met", "within noise", "MISSED")),
        ),
        sound="MISSED" not in verdicts,
    )


def _coverages(accuracies: tuple[float, ...], trials: int, say: Say) -> list[dict[str, Any]]:
    cells = [(design, correlation) for design in DESIGNS[1:] for correlation in CORRELATIONS]
    found = []
    for design, correlation in [(DESIGNS[0], 0.0), *cells, *((design, 1.0) for design in COPIES)]:
        say(f"coverage: {design.name}, correlation {correlation:g}")
        for accuracy in accuracies:
            share = coverage(design, accuracy, correlation, trials, RESAMPLES)
            found.append(
                {
                    "questions": design.name,
                    "correlation": correlation,
                    "accuracy": accuracy,
                    "coverage": share,
                    "verdict": simulated_verdict(share, trials, *COVERAGE),
                }
            )
    return found


def _errors(trials: int, say: Say) -> list[dict[str, Any]]:
    found = []
    for design, correlation in PAIRED:
        say(f"type-I error: {design.name}, correlation {correlation:g}")
        for test in TESTS:
            share = false_positives(test, design, correlation, trials, RESAMPLES)
            least = 0.0 if test in EXACT else LEAST_FALSE
            found.append(
                {
                    "questions": design.name,
                    "correlation": correlation,
                    "test": test,
                    "error": share,
                    "verdict": simulated_verdict(share, trials, least, MOST_FALSE),
                }
            )
    return found


def _coverage_grid(found: list[dict[str, Any]], accuracies: tuple[float, ...], trials: int) -> Grid:
    rows: dict[tuple[str, float], list[str]] = {}
    for figure in found:
        row = rows.setdefault((figure["questions"], figure["correlation"]), [])
        row.append(f"{100 * figure['coverage']:.1f}" + ("" if figure["verdict"] == "met" else f" {figure['verdict']}"))
    return Grid(
        ("questions", "correlation", *(f"accuracy {accuracy:g}" for accuracy in accuracies)),
        [[name, f"{correlation:g}", *cells] for (name, correlation), cells in rows.items()],
        title=f"coverage of 95 % intervals in %, {trials:,} trials of {RESAMPLES:,} resamples "
        f"({100 * COVERAGE[0]:g} to {100 * COVERAGE[1]:g})",
        right=range(1, 2 + len(accuracies)),
    )


def _error_grid(found: list[dict[str, Any]]) -> Grid:
    return Grid(
        ("questions", "correlation", "test", "error", ""),
        [
            [
                figure["questions"],
                f"{figure['correlation']:g}",
                figure["test"],
                f"{100 * figure['error']:.1f}",
                figure["verdict"],
            ]
            for figure in found
        ],
        title=f"type-I error in % at level 5 % ({100 * LEAST_FALSE:g} to {100 * MOST_FALSE:g}; McNemar is exact)",
        right=(1, 3),
    )
