"""What a curation's result says of the rows that it chose, in this project's words or in those of the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plotting.runs import Run
from registry.curation_schema import in_filter_order
from registry.errors import MissingError
from registry.original.case import mappings, number, numbers_in

Counts = Mapping[str, int]
QUANTILES = ("min", "p25", "median", "p75", "p95", "max")


@dataclass(frozen=True)
class Curated:
    """The numbers of rows; what a result does not say is empty or null.

    `funnel` has the rows that came in as `total`, then those that each filter left as `after_...`, in their order;
    `reasons` why each removed rows, by the same names. `specialties` are those of the chosen rows, and `lengths` the
    `QUANTILES` of the tokens of their reasoning.
    """

    funnel: Counts
    reasons: Mapping[str, Counts]
    specialties: Counts
    lengths: Mapping[str, float]
    n_train: int | None


def curated_of(run: Run) -> Curated:
    """Read the result; `MissingError` without one, or where its numbers are in a file that is not here."""
    if run.completed("curation") is None:
        if run.config is not None and run.config.curation is None:
            raise MissingError(f"{run.experiment}: has no curation")
        raise MissingError(f"{run.experiment}: has no curation result; run `meds1 run {run.experiment}`")
    body = run.metrics("curation")
    if "funnel" not in body:
        return _of_original(run)
    why: Mapping[str, Any] = next((inner for _, inner in mappings(body, "reasons")), {})
    lengths, n_train = _numbers(body.get("reasoning_tokens")), number(body.get("n_train"))
    return Curated(
        funnel=in_filter_order(_counts(body["funnel"])),
        reasons={f"after_{name}": _counts(found) for name, found in why.items()},
        specialties=_counts(body.get("specialties")),
        lengths={name: lengths[name] for name in QUANTILES if name in lengths},
        n_train=None if n_train is None else int(n_train),
    )


def read_all(runs: Sequence[Run]) -> tuple[list[tuple[Run, Curated]], dict[str, MissingError]]:
    """Those that have a curation with numbers, and why the others have none; last those that are to have none."""
    found, lacking = [], {}
    for run in sorted(runs, key=lambda run: run.config is not None and run.config.curation is None):
        try:
            found.append((run, curated_of(run)))
        except MissingError as error:
            lacking[run.experiment] = error
    return found, lacking


def _of_original(run: Run) -> Curated:
    """`total_examples`, `selected_examples` and `specialty_distribution`, of the entry itself or of its stats file."""
    entry = run.completed("curation") or {}
    body: Mapping[str, Any] = next((inner for _, inner in mappings(entry, "metrics", "stats")), {})
    if not body and entry.get("stats_file"):
        path = run.needed("curation", "stats_file")
        try:
            body = numbers_in(str(path))
        except ValueError as error:
            raise MissingError(f"{run.experiment}: curation: {path}: {error}") from None
    total, selected = (number(body.get(f"{word}_examples")) for word in ("total", "selected"))
    if total is None or selected is None:
        remedy = f"run `meds1 run {run.experiment} --stage curation --force`"
        raise MissingError(f"{run.experiment}: its curation result has no counts of rows; {remedy}")
    return Curated(
        funnel={"total": int(total), "after_selection": int(selected)},
        reasons={"after_selection": _counts(body.get("filter_reasons"))},
        specialties=_counts(body.get("specialty_distribution")),
        lengths={},
        n_train=int(selected),
    )


def _numbers(body: Any) -> dict[str, float]:
    """The numbers of an object by name; what is none is left out."""
    found = {str(name): number(value) for name, value in body.items()} if isinstance(body, Mapping) else {}
    return {name: value for name, value in found.items() if value is not None}


def _counts(body: Any) -> dict[str, int]:
    return {name: int(value) for name, value in _numbers(body).items()}
