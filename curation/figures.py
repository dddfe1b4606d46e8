"""The figures of a curation: what each filter left, which specialties were chosen, how long the reasoning is.

Equal input gives equal bytes; no display is needed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from registry.figure_style import PALE, PALETTE, RC

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SPECIALTIES: Final = 20
BINS: Final = 40
_WIDTH = 6.4
_BAR_INCHES = 0.26


def draw_funnel(funnel: Mapping[str, int], rewritings: Sequence[Mapping[str, Any]] = ()) -> bytes:
    """A bar for the rows that came in and for those that each stage left (`registry` metric `funnel`); PNG.

    Where rows were rewritten (metric `rewriting`), each rewriting has the bar of the rows that it left.
    """
    stages = [(name, left) for name, left in funnel.items() if name != "after_rewriting"]
    bars = [*stages, *((f"rewritten: {count['name']}", count["rows"] - count["given_up"]) for count in rewritings)]
    names = ["all rows" if name == "total" else name.replace("_", " ") for name, _ in bars]
    counts = [left for _, left in bars]
    removed = [0, *(before - left for before, left in pairwise(counts))]
    labels = [f"{left:,}" + (f"  (−{gone:,})" if gone else "") for left, gone in zip(counts, removed, strict=True)]
    return _bars(names, counts, labels, "rows")


def draw_specialties(specialties: Mapping[str, int]) -> bytes:
    """A bar for each of the most frequent specialties of the chosen rows, and one for all others; PNG."""
    ordered = list(specialties.items())
    shown = ordered if len(ordered) <= MOST_SPECIALTIES + 1 else ordered[:MOST_SPECIALTIES]
    names = [name if len(name) <= 40 else f"{name[:39]}…" for name, _ in shown]
    counts = [count for _, count in shown]
    rest = ordered[len(shown) :]
    if rest:
        names.append(f"{len(rest)} others")
        counts.append(sum(count for _, count in rest))
    return _bars(names, counts, [f"{count:,}" for count in counts], "chosen rows", pale_last=bool(rest))


def draw_lengths(everything: Sequence[int], chosen: Sequence[int]) -> bytes:
    """How long the reasoning of all rows and of the chosen ones is, in tokens, each as shares; PNG.

    The longest hundredth of the rows is drawn in the last bin.
    """
    import numpy as np

    top = max(float(np.percentile([*everything, *chosen], 99)), 1.0)
    edges = np.linspace(0.0, top, BINS + 1).tolist()
    figure, axes = _figure(3.2)
    looks: tuple[tuple[str, Sequence[int], dict[str, Any]], ...] = (
        ("all rows", everything, {"histtype": "stepfilled", "color": PALE}),
        ("chosen rows", chosen, {"histtype": "step", "color": PALETTE[0], "linewidth": 1.6}),
    )
    for name, lengths, look in looks:
        clipped = np.minimum(lengths, top)
        weights = np.full(len(clipped), 100 / max(len(clipped), 1))
        middle = f"median {np.median(lengths):,.0f}" if len(lengths) else "none"
        axes.hist(clipped, edges, weights=weights, label=f"{name} ({len(lengths):,}; {middle})", **look)
    axes.set_xlim(0, top)
    axes.set_xlabel("tokens of reasoning (the last bin holds all longer ones)")
    axes.set_ylabel("% of rows")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(visible=False, axis="x")
    axes.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    return _png(figure)


def _bars(
    names: Sequence[str], counts: Sequence[int], labels: Sequence[str], unit: str, *, pale_last: bool = False
) -> bytes:
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(0.8 + _BAR_INCHES * len(names))
    colors = [PALETTE[0]] * len(names)
    if pale_last:
        colors[-1] = PALE
    bars = axes.barh(range(len(names)), counts, color=colors, height=0.72)
    axes.bar_label(bars, labels, padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first on top
    axes.set_xlim(0, max([*counts, 1]) * 1.22)  # room for the label of the longest bar
    axes.set_xlabel(unit)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    return _png(figure)


def _figure(inches: float) -> tuple[Figure, Axes]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(RC):
        figure = Figure(figsize=(_WIDTH, inches), layout="constrained")
        return figure, figure.subplots()


def _png(figure: Figure) -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context(RC):
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
