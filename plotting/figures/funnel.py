"""The curation funnel: a row per experiment, a column per filter, a bar for the share of the rows that it left.

It is a table with bars, which is read as well with seventy experiments as with two. Of one experiment alone a row is a
filter, with the reasons why it removed rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plotting.curated import Counts, Curated, read_all
from plotting.figures import style
from plotting.figures.kinds import Request, Sketch
from plotting.figures.labels import inches_of, short_labels
from plotting.figures.selecting import nothing_to_draw
from plotting.runs import Run
from registry.curation_schema import in_filter_order
from registry.figure_style import PALE, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADER = ("experiment", "label", "filter", "rows", "share", "removed", "status")
STALE = "* the curation is stale or runs again"
_TITLES = {"total": "all rows"}
_COLUMN_INCHES = 1.05
_BAR = 0.72
_TALL = 25
_MOST_REASONS = 2


def sketch(request: Request) -> Sketch:
    """Draw the figure; `MissingError` when there is nothing to draw."""
    found, lacking = read_all(style.grouped(request.display, request.runs))
    if not found:
        raise nothing_to_draw(dict(lacking), "no experiment has a curation result")
    if len(found) == 1:
        return Sketch(_of_one(*found[0]), HEADER, _numbers(found), lacking)
    return Sketch(_table(found), HEADER, _numbers(found), lacking)


def _table(found: Sequence[tuple[Run, Curated]]) -> Figure:
    steps = list(in_filter_order(dict.fromkeys(step for _, curated in found for step in curated.funnel)))
    labels = short_labels(marked_labels([run for run, _ in found]))
    left = inches_of(labels)
    size = (_COLUMN_INCHES * len(steps), 0.5 + style.ROW_INCHES * len(found))
    figure, (panel,) = style.make_panels(1, size, left)
    for height, (_, curated) in enumerate(found):
        _draw(panel, height, curated.funnel, steps)
    style.name_rows([panel], labels, range(len(found)))
    panel.set_xlim(-0.02, len(steps))
    panel.set_xticks([column + _BAR / 2 for column in range(len(steps))], [title(step) for step in steps])
    panel.tick_params(axis="x", length=0, top=False, bottom=False, labeltop=True, labelbottom=len(found) > _TALL)
    panel.grid(visible=False)
    panel.spines[["bottom", "left"]].set_visible(False)
    style.add_caption(figure, "rows left after each filter; a full bar is all rows", stale_note(labels))
    return figure


def _of_one(run: Run, curated: Curated) -> Figure:
    steps = list(curated.funnel)
    names = [title(step) for step in steps]
    total = max(curated.funnel.get("total", 0), 1)
    figure, (panel,) = style.make_panels(1, (6.5, 0.5 + 2.4 * style.ROW_INCHES * len(steps)), inches_of(names))
    for height, step in enumerate(steps):
        rows = curated.funnel[step]
        panel.barh(height, total, height=0.4, color=PALE, alpha=0.35)
        panel.barh(height, rows, height=0.4, color=PALETTE[4], alpha=0.75)
        panel.text(0.01 * total, height, f"{rows:,}", va="center", fontsize=8)
        panel.text(0, height + 0.25, _why(curated.reasons.get(step, {})), va="top", **style.FADED)
    style.name_rows([panel], names, range(len(steps)))
    panel.set_xlim(0, total)
    panel.xaxis.set_major_formatter("{x:,.0f}")
    panel.grid(visible=False, axis="y")
    (label,) = marked_labels([run])
    panel.set_title(label)
    style.add_caption(figure, "rows left after each filter, and why rows were removed", stale_note([label]))
    return figure


def _why(reasons: Counts) -> str:
    """The most frequent reasons, as many as fit below a bar."""
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    told = [f"−{rows:,} {reason.replace('_', ' ')}" for reason, rows in ordered[:_MOST_REASONS]]
    rest = sum(rows for _, rows in ordered[_MOST_REASONS:])
    return "; ".join([*short_labels(told, 60), *([f"−{rest:,} for other reasons"] if rest else [])])


def title(step: str) -> str:
    """A filter's name for people."""
    return _TITLES.get(step, step.removeprefix("after_").replace("_", " "))


def marked_labels(runs: Sequence[Run]) -> list[str]:
    """The experiments' labels, with a star where the curation is not that of the experiment as it is now."""
    return [run.label + ("" if run.statuses["curation"].status == "completed" else " *") for run in runs]


def stale_note(labels: Sequence[str]) -> str:
    """What the star means, where there is one."""
    return STALE if any(label.endswith(" *") for label in labels) else ""


def _draw(panel: Axes, height: float, funnel: Counts, steps: Sequence[str]) -> None:
    total = max(funnel.get("total", 0), 1)
    for column, step in enumerate(steps):
        if step not in funnel:
            panel.text(column + 0.02, height, "–", va="center", **style.FADED)
            continue
        rows = funnel[step]
        panel.barh(height, _BAR, left=column, height=0.7, color=PALE, alpha=0.35)
        panel.barh(height, _BAR * rows / total, left=column, height=0.7, color=PALETTE[4], alpha=0.75)
        panel.text(column + 0.03, height, f"{rows:,}", va="center", fontsize=8)


def _numbers(found: Sequence[tuple[Run, Curated]]) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = []
    for run, curated in found:
        total = curated.funnel.get("total", 0)
        for step, left in curated.funnel.items():
            share = left / total if total else None
            why = "; ".join(f"{reason}: {count}" for reason, count in curated.reasons.get(step, {}).items())
            rows.append((run.experiment, run.label, title(step), left, share, why, run.statuses["curation"].status))
    return rows
