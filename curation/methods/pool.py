"""What a method draws from: the rows that passed the filters, with what was measured of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from curation.ledger import Entry, Ledger

if TYPE_CHECKING:
    import numpy as np

NOT_DRAWN: Final = "not drawn"
UNLABELLED: Final = "unlabelled"


@dataclass(frozen=True)
class Clusters:
    """The cluster of each entry, from 0, and its distance from the cluster's centre, both of shape (entries,)."""

    labels: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class Pool:
    """`entries` in the order of their ids; the arrays are null where no method asked for them.

    `embeddings` are those of the entries' `column`, of shape (entries, dimension), and `queries` those of the query
    set, (queries, dimension), all of length 1 (or 0 where a text holds nothing to embed). `novelty` is 1 minus the
    cosine similarity of each entry's right answer and the base model's, of shape (entries,), and not a number where
    the model gave no answer. `metrics` and `warnings` say of all this what the stage's metrics are to hold.
    """

    entries: Ledger
    embeddings: np.ndarray | None = None
    queries: np.ndarray | None = None
    novelty: np.ndarray | None = None
    clusters: Clusters | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def pool_of(entries: Ledger) -> Pool:
    """A pool without measures, in the order of the ids."""
    return Pool(tuple(sorted(entries, key=lambda entry: entry.row.id)))


def specialty_of(entry: Entry) -> str:
    """The specialty that a row counts to; rows without one are one of their own."""
    return entry.row.specialty or UNLABELLED
