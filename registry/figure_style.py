"""The one look of every figure, whichever room draws it: palette, markers and settings of matplotlib (not imported)."""

from __future__ import annotations

from typing import Any, Final

# Okabe and Ito, "Color Universal Design" (2008), without black and yellow.
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
PALE: Final = "#B8C4CC"
"""The rest: what is drawn behind, or stands for everything else."""
NEUTRAL: Final = "#555555"
"""What belongs to no group."""
RC: Any = {  # matplotlib's own type for it lists every setting
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.markersize": 4,
    "lines.linewidth": 1.2,
    "errorbar.capsize": 2.5,
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a display name may hold a dollar sign
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
}
