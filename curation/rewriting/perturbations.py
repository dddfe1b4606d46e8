"""The perturbations by name: damage done to stepwise reasoning at a rate, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from curation.rewriting.outcome import AskRows, Outcome, Rewriting
from curation.rewriting.perturbations_answer import wrong_answer
from curation.rewriting.perturbations_collapse import collapse_consecutive
from curation.rewriting.perturbations_plain import add_irrelevant, shuffle, skip
from data.rows import Row
from registry.rewriting_schema import PerturbationName

Perturb = Callable[[Sequence[Row], float, int], list[Outcome]]
PerturbByModel = Callable[[Sequence[Row], AskRows, float, int], list[Outcome]]


def _plain(perturb: Perturb) -> Callable[[float, int], Rewriting]:
    return lambda rate, seed: lambda rows, _: perturb(rows, rate, seed)


def _by_model(perturb: PerturbByModel) -> Callable[[float, int], Rewriting]:
    return lambda rate, seed: lambda rows, ask: perturb(rows, ask, rate, seed)


PERTURBATIONS: dict[PerturbationName, Callable[[float, int], Rewriting]] = {
    "collapse_consecutive": _by_model(collapse_consecutive),
    "skip": _plain(skip),
    "shuffle": _plain(shuffle),
    "add_irrelevant": _plain(add_irrelevant),
    "answer": _by_model(wrong_answer),
}
"""Name -> what makes the rewriting of a rate in (0, 1] and a seed."""
