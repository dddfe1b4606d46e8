"""Questions that a rewriting has put in the place of the rows' own: decontamination has seen none of them.

They are checked as those were, before any later rewriting is paid for; one of a benchmark is given up with its row. Two
of them made of one case are different questions; what asks which rows belong together goes by the loaded question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from curation.decontamination import contamination
from curation.ledger import open_ledger
from curation.rewriting.outcome import AskRows, Outcome, Rewriting
from data.load import load_rows
from data.rows import Row
from registry.effective import EffectiveConfig
from registry.rewriting_schema import StyleName

ASKING_ANEW: Final[frozenset[StyleName]] = frozenset(("nejmcr-qa",))
"""The styles that replace questions."""
CHECK: Final = "decontamination"


def with_check(rewritings: Sequence[tuple[str, Rewriting]], config: EffectiveConfig) -> Iterator[tuple[str, Rewriting]]:
    """The rewritings, and behind each that replaces questions the check, where the config has a decontamination."""
    for name, rewriting in rewritings:
        yield name, rewriting
        if name in ASKING_ANEW and config.curation is not None and config.curation.decontamination is not None:
            yield CHECK, _check(config)


def by_case(rewriting: Rewriting, cases: Mapping[str, str]) -> Rewriting:
    """A rewriting that takes the rows for repeats of each other by the question that they were loaded with.

    `cases` are the ids of these questions by row id. The rewritten rows have the question id that they came with.
    """

    def rewrite(rows: Sequence[Row], ask: AskRows) -> list[Outcome]:
        outcomes = rewriting([replace(row, question_id=cases[row.id]) for row in rows], ask)
        return [
            outcome if outcome.row is None else replace(outcome, row=replace(outcome.row, question_id=row.question_id))
            for row, outcome in zip(rows, outcomes, strict=True)
        ]

    return rewrite


def _check(config: EffectiveConfig) -> Rewriting:
    """Asks nothing; of a row that is given up the new question is what was refused."""
    curation = config.curation
    assert curation is not None
    assert curation.decontamination is not None
    settings = curation.decontamination

    def check(rows: Sequence[Row], _ask: AskRows) -> list[Outcome]:
        benchmarks = {key: load_rows(key, entry) for key, entry in config.benchmarks.items()}
        found = contamination(open_ledger(rows, [0] * len(rows)), benchmarks, settings).removals
        return [
            Outcome(None, "given up", found[row.id], row.question) if row.id in found else Outcome(row, "unchanged")
            for row in rows
        ]

    return check
