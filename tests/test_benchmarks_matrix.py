"""The matrix of experiments in a short form: all complete, and counts that add up or are said not to."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rewriting import matrix
from registry.rewriting_schema import STYLE_NAMES

FEW = ("1-sentence", "none", "nejmcr-qa + nejmcr-reason", "answer 0.5 + restore")


def quiet(text: str) -> None:
    """Nobody looks on."""


def test_the_matrix_has_every_style_lists_of_them_and_every_perturbation() -> None:
    names = matrix.experiments()
    assert set(STYLE_NAMES) <= names.keys()
    assert len(names) == len(STYLE_NAMES) + 6 + 5 * 3 * 2


@pytest.mark.parametrize("names", [FEW, pytest.param(tuple(matrix.experiments()), marks=pytest.mark.full)])
def test_experiments_of_the_matrix_complete_with_counts_that_add_up(names: tuple[str, ...], tmp_path: Path) -> None:
    chosen = {name: matrix.experiments()[name] for name in names}
    report = matrix.matrix(tmp_path, chosen, 6, quiet)
    assert report.sound
    found = report.data["experiments"]
    assert all(each["funnel"]["after_rewriting"] > 0 for each in found.values())
    assert (found["none"]["calls"], found["1-sentence"]["calls"] > 0) == (0, True)


def test_a_row_that_no_count_knows_of_is_not_sound() -> None:
    count = {
        "name": "step",
        "rows": 4,
        "accepted": 2,
        "repaired": 1,
        "unchanged": 0,
        "given_up": 1,
        "reasons": {"x": 1},
    }
    metrics = {
        "funnel": {"after_selection": 4, "after_rewriting": 3},
        "rewriting": [count],
        "reasons": {"rewriting": {"step: given up: x": 1}},
        "n_train": 2,
        "n_validation": 1,
    }
    assert matrix.adds_up(metrics)
    assert not matrix.adds_up({**metrics, "n_train": 3})
    assert not matrix.adds_up({**metrics, "reasons": {}})
    assert not matrix.adds_up({**metrics, "rewriting": [{**count, "accepted": 3}]})
