"""The rewritings of a config, applied to rows one after the other, with a count of what became of them.

A row that one of them gives up is seen by none after it, and keeps the text that it had at first.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curation.calls import Model, called
from curation.outputs import write_lines
from curation.rewriting.new_questions import by_case, with_check
from curation.rewriting.outcome import AskRows, Extent, Outcome, Rewriting, Status
from curation.rewriting.perturbations import PERTURBATIONS
from curation.rewriting.restore import with_restoration
from curation.rewriting.styles import STYLES
from data.rows import Row
from inference.dialogue import Query, Reply
from registry.curation_schema import CurationConfig
from registry.errors import StageFailure
from registry.rewriting_counts import CONTRADICTING, REALISED
from registry.stage import StageContext

log = logging.getLogger(__name__)
GIVEN_UP: Final = "rewriting_given_up.jsonl"
TOLERATED: Final = 0.1
"""Share of the rows that a rewriting may give up without a warning."""
CLASSES: Final = 12
"""Most classes of complaints that a rewriting's rows are counted by; the rarer ones are one together."""
_LONGEST_CLASS = 120
_OTHERS = "another complaint"
_QUOTED = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)|“[^”]*”|`[^`]*`")
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*(?:(?:, | and |, and )\d+(?:[.,]\d+)*)*")
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s|\n")
_COUNTED: Final[Mapping[Status, str]] = {
    "accepted": "accepted",
    "repaired": "repaired",
    "unchanged": "unchanged",
    "given up": "given_up",
}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What rewritings made of rows: the new ones and why others were given up, by row id, and the count of each.

    `given_up` has for each of those the rewriting, the whole complaint and the answer that did not pass; `perturbed`
    says of each row that a perturbation left whether it changed it.
    """

    rows: dict[str, Row]
    removals: dict[str, str]
    counts: list[dict[str, Any]]
    given_up: list[dict[str, str | None]]
    perturbed: dict[str, bool]

    @property
    def warnings(self) -> list[str]:
        """A line for each rewriting that gave up many rows."""
        return [
            f"{count['name']} gave up {count['given_up']:,} of {count['rows']:,} rows; {_most_often(count)}"
            for count in self.counts
            if count["given_up"] > TOLERATED * count["rows"]
        ]


def rewritings_of(curation: CurationConfig) -> list[tuple[str, Rewriting]]:
    """The rewritings of a config by name, in their order: styles, perturbation, restoration."""
    found: list[tuple[str, Rewriting]] = [(style, STYLES[style]) for style in curation.styles]
    if curation.perturbation is not None:
        kind, rate = curation.perturbation.type, curation.perturbation.rate
        damage, mend = with_restoration(PERTURBATIONS[kind](rate, curation.seed))
        found += [(kind, damage), ("restore", mend)] if curation.restore else [(kind, damage)]
    return found


def rewritten(rows: Sequence[Row], context: StageContext) -> Rewritten:
    """Rewrite rows as the config says. The model is opened for the first question and serves all rewritings.

    Raises `StageFailure` when nothing is left, and what asking the model raises.
    """
    curation = context.config.curation
    assert curation is not None
    cases = {row.id: row.question_id for row in rows}
    rewritings = [
        (name, by_case(rewriting, cases) if name in PERTURBATIONS else rewriting)
        for name, rewriting in rewritings_of(curation)
    ]
    with ExitStack() as opened:
        models: list[Model] = []

        def ask(queries: Sequence[Query[Row]]) -> list[Reply[Row]]:
            if not models:
                models.append(opened.enter_context(called(context, "rewriter")))
            return models[0].ask(queries)

        return apply(rows, list(with_check(rewritings, context.config)), ask, context)


def apply(
    rows: Sequence[Row], rewritings: Sequence[tuple[str, Rewriting]], ask: AskRows, context: StageContext
) -> Rewritten:
    """Apply rewritings to rows; between two of them the stage is left when a stop was asked for."""
    left, removals, counts = list(rows), dict[str, str](), list[dict[str, Any]]()
    lost, perturbed = list[dict[str, str | None]](), dict[str, bool]()
    for name, rewrite in rewritings:
        context.stop.check(f"{name} had not begun")
        log.info("%s: %s rows", name, f"{len(left):,}")
        outcomes = rewrite(left, ask)
        classes = _classes(outcomes)
        count = _count(name, outcomes, classes)
        counts.append(count)
        log.info("%s: %s", name, ", ".join(f"{count[field]:,} {status}" for status, field in _COUNTED.items()))
        new = []
        for before, outcome, kind in zip(left, outcomes, classes, strict=True):
            if outcome.row is None:
                removals[before.id] = f"{name}: given up: {kind}"
                lost.append({"id": before.id, "rewriting": name, "reason": outcome.reason, "answer": outcome.refused})
            else:
                assert outcome.row.id == before.id, f"{name} has put rows in another order"
                new.append(outcome.row)
                if outcome.extent is not None:
                    perturbed[before.id] = outcome.status != "unchanged"
        left = new
        if not left:
            raise StageFailure(
                f"{context.config.experiment}: {name} gave up all of the {count['rows']:,} rows; {_most_often(count)}; "
                f"{_remedy(outcomes)}"
            )
    return Rewritten({row.id: row for row in left}, removals, counts, lost, perturbed)


def write_given_up(given_up: Sequence[Mapping[str, str | None]], run_dir: Path) -> Path:
    """Write what the model answered where no answer passed, a line for each row: why, can be read there."""
    return write_lines(given_up, run_dir / GIVEN_UP, "replace")


def complaint_class(reason: str) -> str:
    """What a complaint says of any row: its first sentence, without numbers and quotations."""
    sentence = _END_OF_SENTENCE.split(reason.strip(), maxsplit=1)[0].rstrip(".!")
    plain = _NUMBERS.sub("N", _QUOTED.sub("…", sentence))
    return plain if len(plain) <= _LONGEST_CLASS else f"{plain[: _LONGEST_CLASS - 1]}…"


def _classes(outcomes: Sequence[Outcome]) -> list[str | None]:
    """The class of each given-up row's complaint; null for the others."""
    found = [None if outcome.row is not None else complaint_class(outcome.reason or "") for outcome in outcomes]
    counts = Counter(kind for kind in found if kind is not None)
    ordered = sorted(counts, key=lambda kind: (-counts[kind], kind))
    rare = set(ordered[CLASSES - 1 :]) if len(ordered) > CLASSES else set()
    return [_OTHERS if kind in rare else kind for kind in found]


def _count(name: str, outcomes: Sequence[Outcome], classes: Sequence[str | None]) -> dict[str, Any]:
    statuses = Counter(outcome.status for outcome in outcomes)
    reasons = Counter(kind for kind in classes if kind is not None)
    looked_at = [outcome.contradicts for outcome in outcomes if outcome.contradicts is not None]
    return {
        "name": name,
        "rows": len(outcomes),
        **{field: statuses[status] for status, field in _COUNTED.items()},
        **({CONTRADICTING: sum(looked_at)} if looked_at else {}),
        **_realised([outcome.extent for outcome in outcomes if outcome.extent is not None]),
        "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    }


def _realised(extents: Sequence[Extent]) -> dict[str, Any]:
    """What a perturbation did to the rows that it left, all together; nothing for what is none."""
    if not extents:
        return {}
    there, changed = sum(each.there for each in extents), sum(each.changed for each in extents)
    rate = changed / there if there else 0.0
    return {REALISED: {"unit": extents[0].unit, "there": there, "changed": changed, "rate": rate}}


def _remedy(outcomes: Sequence[Outcome]) -> str:
    """What to do where all rows were given up; more retries are of no use where the model was not even asked."""
    if any(outcome.refused is not None for outcome in outcomes):
        return "give another curation.rewriter, or give this one more retries or max_tokens"
    return "no model was asked about them: use another dataset, or another curation.extract"


def _most_often(count: dict[str, Any]) -> str:
    kind, rows = next(iter(count["reasons"].items()))
    return f"most often ({rows:,}): {kind}"
