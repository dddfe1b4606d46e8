"""Adjusted p-values where many comparisons are made at once: compare them with the level as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values that keep the chance of any false discovery, in the order given.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6 (1979) 65-70.
    Raises ValueError for what is no p-value.
    """
    given = _checked(p_values)
    order = np.argsort(given, kind="stable")
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)))
    return tuple(adjusted.tolist())


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values that keep the expected share of false discoveries, in the order given.

    Source: Y. Benjamini and Y. Hochberg, Controlling the false discovery rate, JRSS B 57 (1995) 289-300; for tests that
    are independent or positively dependent. Raises ValueError for what is no p-value.
    """
    from scipy.stats import false_discovery_control

    given = _checked(p_values)
    return tuple(false_discovery_control(given).tolist()) if len(given) else ()


def _checked(p_values: Sequence[float]) -> np.ndarray:
    given = np.asarray(p_values, dtype=np.float64)
    if not bool(np.all((given >= 0) & (given <= 1))):
        raise ValueError(f"p-values lie in 0 to 1: {list(p_values)}")
    return given
