"""Rows whose right answer is least like what the base model answers, after the selection of med-s1 (Winston et al.)."""

from __future__ import annotations

from typing import Final

from curation.ledger import Removals
from curation.methods.pool import Pool
from registry.curation_schema import NovelRows

LESS_NOVEL: Final = "other rows' answers are less like the base model's"
NO_ANSWER: Final = "the base model gave no answer to compare with"


def draw_novel(pool: Pool, config: NovelRows) -> Removals:
    """Choose the `n_samples` rows of the highest novelty, ties by id; never one that the base model did not answer."""
    import numpy as np

    assert pool.novelty is not None
    answered = np.flatnonzero(~np.isnan(pool.novelty))
    chosen = set(answered[np.argsort(-pool.novelty[answered], kind="stable")[: config.n_samples]].tolist())
    reasons = np.where(np.isnan(pool.novelty), NO_ANSWER, LESS_NOVEL)
    return {entry.row.id: str(reasons[index]) for index, entry in enumerate(pool.entries) if index not in chosen}
