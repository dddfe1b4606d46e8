"""Tables and figures that compare experiments. Reads the registry only; needs no GPU, no model and no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas


def frame(path: Path | str | None = None, config: Path | str | None = None) -> pandas.DataFrame:
    """The scores of a registry as a tidy frame: one row per experiment, benchmark and metric.

    `path` is the `results.json`, `config` the `config.json`; both are found as `meds1` finds them. Columns: experiment,
    label, group, benchmark, metric, budget, value, low, high, n, questions, status, stale, limit, flags, then the
    fields of the effective config by dotted path (`curation.method`), missing where a stage does not apply. Shares lie
    between 0 and 1. `n` counts answers, `questions` the different questions that they answer. `budget` is missing in
    the rows of a benchmark's own numbers; those of each budget of thinking have it.

    `attrs["left_out"]` says by name why an experiment has no row. Raises `registry.errors.Meds1Error` for a registry or
    catalog that cannot be read.
    """
    from plotting import tidy

    return tidy.frame(path, config)
