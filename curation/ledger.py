"""The ledger of a curation: every input row, and for each row that was left out the filter and the reason.

Nothing is ever dropped from a ledger. A filter is a function from the entries that are still kept to the reasons for
those that it removes; `remove` writes these down. An entry is removed at most once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from data.rows import Row
from registry.curation_schema import FILTER_STAGES, FilterStage
from registry.errors import StageFailure

Removals = Mapping[str, str]
"""Row id -> why the row is removed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One input row. `pass_rate` is the base model's, null where the difficulty filter did not judge the row.

    `before` is the entry as it was before its row was rewritten, null where nothing has changed the row; `perturbed`
    whether a perturbation changed it, null without one.
    """

    row: Row
    reasoning_tokens: int
    pass_rate: float | None = None
    stage: FilterStage | None = None
    reason: str | None = None
    before: Entry | None = None
    perturbed: bool | None = None

    @property
    def kept(self) -> bool:
        return self.stage is None

    @property
    def loaded(self) -> Entry:
        """The entry with the row and the length that were loaded."""
        return self.before or self


Ledger = tuple[Entry, ...]


def open_ledger(rows: Sequence[Row], reasoning_tokens: Sequence[int]) -> Ledger:
    """Enter every row as kept. Row ids must be unique."""
    ledger = tuple(Entry(row, tokens) for row, tokens in zip(rows, reasoning_tokens, strict=True))
    if len({entry.row.id for entry in ledger}) != len(ledger):
        raise ValueError("row ids must be unique")
    return ledger


def kept(ledger: Ledger) -> Ledger:
    """The entries that no filter has removed, in input order."""
    return tuple(entry for entry in ledger if entry.kept)


def remove(ledger: Ledger, stage: FilterStage, removals: Removals) -> Ledger:
    """Write down what a filter removed. Every id in `removals` must be that of a kept entry."""
    unknown = set(removals) - {entry.row.id for entry in kept(ledger)}
    if unknown:
        raise ValueError(f"{stage} removes rows that are not kept: {sorted(unknown)[:3]}")
    return tuple(
        replace(entry, stage=stage, reason=removals[entry.row.id]) if entry.row.id in removals else entry
        for entry in ledger
    )


def with_specialties(ledger: Ledger, specialties: Mapping[str, str | None]) -> Ledger:
    """Put labels (by row id) in the place of what the rows had."""
    return tuple(
        replace(entry, row=replace(entry.row, specialty=specialties[entry.row.id]))
        if entry.row.id in specialties
        else entry
        for entry in ledger
    )


def with_pass_rates(ledger: Ledger, pass_rates: Mapping[str, float]) -> Ledger:
    """Note the base model's pass rate of each judged row (by row id)."""
    return tuple(
        replace(entry, pass_rate=pass_rates[entry.row.id]) if entry.row.id in pass_rates else entry for entry in ledger
    )


def with_rewritten(
    ledger: Ledger, rows: Mapping[str, Row], reasoning_tokens: Mapping[str, int], perturbed: Mapping[str, bool]
) -> Ledger:
    """Put rewritten rows, how long their reasoning is and whether it was perturbed in the place of the loaded ones."""
    return tuple(
        replace(
            entry,
            row=new,
            reasoning_tokens=reasoning_tokens[new.id],
            before=entry,
            perturbed=perturbed.get(new.id),
        )
        if (new := rows.get(entry.row.id))
        else entry
        for entry in ledger
    )


def funnel(ledger: Ledger, stages: Sequence[FilterStage]) -> dict[str, int]:
    """Rows in, and rows left after each of the `stages` that ran, in their order.

    The counts are built from the removals; that they end at the number of kept rows is checked.
    """
    counts = {"total": len(ledger)}
    left = len(ledger)
    removed = Counter(entry.stage for entry in ledger)
    for stage in stages:
        left -= removed[stage]
        counts[f"after_{stage}"] = left
    if left != len(kept(ledger)):
        raise ValueError(f"the funnel does not add up: {left} rows left, {len(kept(ledger))} kept")
    return counts


def reasons(ledger: Ledger) -> dict[str, dict[str, int]]:
    """How many rows each reason removed, per filter, the most frequent first."""
    counts: dict[FilterStage, Counter[str]] = {stage: Counter() for stage in FILTER_STAGES}
    for entry in ledger:
        if entry.stage is not None and entry.reason is not None:
            counts[entry.stage][entry.reason] += 1
    return {stage: dict(sorted(c.items(), key=lambda item: (-item[1], item[0]))) for stage, c in counts.items() if c}


def require_rows(ledger: Ledger, experiment: str, dataset: str) -> None:
    """Raise `StageFailure` when nothing is kept, naming the filter that removed the last rows and its reasons."""
    if kept(ledger):
        return
    last = [stage for stage in FILTER_STAGES if any(entry.stage == stage for entry in ledger)][-1]
    named = ", ".join(f"{reason} ({count})" for reason, count in reasons(ledger)[last].items())
    before = sum(entry.stage == last for entry in ledger)
    raise StageFailure(
        f"{experiment}: the {last} filter removed all of the {before} rows of {dataset} that reached it: {named}; "
        f"relax {'its parameters' if last == 'selection' else f'curation.{last}'} or use another dataset"
    )
