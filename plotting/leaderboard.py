"""The leaderboard: one row per experiment, one column per benchmark, each with its 95 % interval."""

from __future__ import annotations

from typing import Any

from plotting.scores import Row, Score, benchmark_title, benchmarks_of, macro_averages
from registry.catalog import Display
from registry.console import Grid


def ranked(rows: list[Row]) -> list[Row]:
    """Best first: by macro average, then by the mean over what an experiment has; stale and limited runs come last."""
    averages = macro_averages(rows)

    def key(row: Row) -> tuple[bool, bool, float, str]:
        mean = sum(score.accuracy for score in row.scores.values()) / len(row.scores)
        return (not row.comparable, row.experiment not in averages, -averages.get(row.experiment, mean), row.experiment)

    return sorted(rows, key=key)


def table(rows: list[Row], display: Display) -> Grid:
    """The leaderboard for a terminal: by the names that one types, with the readable ones where there are any."""
    sources, averages = benchmarks_of(rows), macro_averages(rows)
    several, named = len(sources) > 1, any(row.label != row.experiment for row in rows)
    header = [
        "experiment",
        *(["name"] if named else []),
        *(benchmark_title(rows, source, display) for source in sources),
        *(["macro"] if several else []),
        "remark",
    ]
    body = []
    for row in ranked(rows):
        cells = [percent(row.scores[source]) if source in row.scores else "-" for source in sources]
        if several:
            cells.append(f"{100 * averages[row.experiment]:.1f}" if row.experiment in averages else "-")
        names = [row.experiment, row.label] if named else [row.experiment]
        body.append([*names, *cells, row.remark])
    return Grid(header, body, title="Accuracy in % with 95 % interval", right=range(1 + named, len(header) - 1))


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """The leaderboard for `--json`, best first."""
    averages = macro_averages(rows)
    return [
        {
            "experiment": row.experiment,
            "label": row.label,
            "status": row.status,
            "remark": row.remark,
            "limit": row.limit,
            "macro_average": averages.get(row.experiment),
            "benchmarks": {
                source: {
                    "accuracy": s.accuracy,
                    "ci": [s.low, s.high],
                    "correct": s.correct,
                    "total": s.total,
                    "flags": list(s.flags),
                }
                for source, s in row.scores.items()
            },
        }
        for row in ranked(rows)
    ]


def percent(score: Score) -> str:
    """`62.5 [57.4, 67.3]`, in percent."""
    return f"{100 * score.accuracy:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"
