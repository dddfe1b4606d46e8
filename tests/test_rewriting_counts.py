"""What a perturbation really changed is counted beside the rate that the config asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation.rewriting.apply import apply
from curation.rewriting.perturbations import PERTURBATIONS
from curation.rewriting.steps import join_steps
from registry.rewriting_counts import realised_rate, told_beside
from registry.rewriting_schema import PerturbationName
from tests.rewriting_case import no_model
from tests.stages import make_context, row

COUNTS = (1, 2, 3, 10)
"""So many steps have the rows; a further one has none and is given up."""


@pytest.mark.parametrize(
    ("kind", "rate", "changed"),
    [
        # At least one step, and none of one alone; halves go to the even number.
        ("skip", 0.1, 0 + 1 + 1 + 1),
        ("skip", 0.5, 0 + 1 + 2 + 5),
        ("skip", 1.0, 0 + 1 + 2 + 9),
        ("shuffle", 0.1, 0 + 2 + 2 + 2),
        ("shuffle", 1.0, 0 + 2 + 3 + 10),
        ("add_irrelevant", 0.5, 1 + 1 + 2 + 5),
    ],
)
def test_what_was_changed_of_all_steps_is_the_realised_rate(
    tmp_path: Path, kind: PerturbationName, rate: float, changed: int
) -> None:
    reasoning = [join_steps([f"Title {number}.{step}\nContent." for step in range(number)]) for number in COUNTS]
    rows = [row(number, reasoning=text) for number, text in enumerate([*reasoning, "No steps at all."])]
    steps = [(kind, PERTURBATIONS[kind](rate, 0))]
    (count,) = apply(rows, steps, no_model, make_context(tmp_path / "run", tmp_path)).counts
    assert count["realised"] == {"unit": "steps", "there": 16, "changed": changed, "rate": changed / 16}
    assert told_beside(count) == [f"{changed} changes to 16 steps ({changed / 16:.1%})"]


@pytest.mark.parametrize("odd", [{}, {"realised": 3}, {"realised": {"rate": "x"}}, {"contradicts_answer": "many"}])
def test_what_is_no_count_says_nothing(odd: dict[str, Any]) -> None:
    assert told_beside(odd) == []
    assert realised_rate(odd) is None
