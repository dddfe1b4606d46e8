"""The leaderboard: one row per experiment, one column per benchmark, each with its 95 % interval."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from plotting.scores import Row, Score, benchmarks_of, macro_averages
from registry.catalog import Display


def ranked(rows: list[Row]) -> list[Row]:
    """Best first: by macro average, then by the mean over what an experiment has; limited runs come last."""
    averages = macro_averages(rows)

    def key(row: Row) -> tuple[bool, bool, float, str]:
        mean = sum(score.accuracy for score in row.scores.values()) / len(row.scores)
        return (bool(row.remark), row.experiment not in averages, -averages.get(row.experiment, mean), row.experiment)

    return sorted(rows, key=key)


def table(rows: list[Row], display: Display) -> Table:
    """The leaderboard for a terminal."""
    sources, averages = benchmarks_of(rows), macro_averages(rows)
    drawn = Table(title="Accuracy in % with 95 % interval", title_justify="left")
    drawn.add_column("experiment")
    for source in sources:
        total = max(row.scores[source].total for row in rows if source in row.scores)
        drawn.add_column(f"{display.benchmarks.get(source, source)} (n={total})", justify="right")
    if len(sources) > 1:
        drawn.add_column("macro", justify="right")
    drawn.add_column("remark")
    for row in ranked(rows):
        cells = [percent(row.scores[source]) if source in row.scores else "-" for source in sources]
        if len(sources) > 1:
            cells.append(f"{averages[row.experiment]:.1%}" if row.experiment in averages else "-")
        drawn.add_row(row.label, *cells, f"{row.status}: {row.remark}" if row.remark else "")
    return drawn


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """The leaderboard for `--json`, best first."""
    averages = macro_averages(rows)
    return [
        {
            "experiment": row.experiment,
            "label": row.label,
            "status": row.status,
            "remark": row.remark,
            "macro_average": averages.get(row.experiment),
            "benchmarks": {
                source: {"accuracy": s.accuracy, "ci": [s.low, s.high], "correct": s.correct, "total": s.total}
                for source, s in row.scores.items()
            },
        }
        for row in ranked(rows)
    ]


def percent(score: Score) -> str:
    """`62.5 [57.4, 67.3]`, in percent."""
    return f"{100 * score.accuracy:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"
