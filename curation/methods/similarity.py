"""Rows most similar to given questions, after the selection of med-s1 (Caleb Winston et al.): the queries in turns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from curation.ledger import Removals
from curation.methods.pool import Pool
from registry.curation_schema import SimilarRows

if TYPE_CHECKING:
    import numpy as np

OTHERS_NEARER: Final = "other rows are more similar to the queries"
_AT_ONCE: Final = 32  # queries whose similarities to all rows are in memory together
_DECIMALS: Final = 6  # what is closer is a tie; computed in double precision, so that noise decides nothing


def draw_similar(pool: Pool, config: SimilarRows) -> Removals:
    """Choose `n_samples` rows: each query in turn takes the row left that is most similar to it by cosine.

    Ties go to the lower id. The queries' order, which decides who chooses first, is that of `pool.queries`.
    """
    import numpy as np

    assert pool.embeddings is not None
    assert pool.queries is not None
    left = np.ones(len(pool.entries), dtype=bool)
    left[take_turns(pool.embeddings, pool.queries, min(config.n_samples, len(left)))] = False
    return {entry.row.id: OTHERS_NEARER for entry, out in zip(pool.entries, left, strict=True) if out}


def take_turns(rows: np.ndarray, queries: np.ndarray, wanted: int) -> list[int]:
    """The indices of `wanted` of the `rows` in the order in which the `queries` take them.

    Of each query only its nearest rows are kept, so that memory grows with the rows and the queries, not with their
    product. Where others have taken all of these, they are looked for again, together with those of the next queries.
    """
    import numpy as np

    rows, queries = rows.astype(np.float64), queries[:wanted].astype(np.float64)
    left = np.ones(len(rows), dtype=bool)
    depth = _AT_ONCE + 2 * wanted // max(len(queries), 1)
    nearest: list[Iterator[int]] = [iter(()) for _ in queries]
    taken: list[int] = []
    for turn in range(wanted):
        query = turn % len(queries)
        row = next((row for row in nearest[query] if left[row]), None)
        if row is None:
            following = [(query + ahead) % len(queries) for ahead in range(min(_AT_ONCE, len(queries)))]
            for place, found in zip(following, _nearest(rows, queries[following], left, depth), strict=True):
                nearest[place] = iter(found)
            row = next(nearest[query])
        left[row] = False
        taken.append(row)
    return taken


def closest(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The similarity of each row to the query that is nearest to it, of shape (rows,)."""
    import numpy as np

    rows, queries = rows.astype(np.float64), queries.astype(np.float64)
    best = np.full(len(rows), -1.0)
    for start in range(0, len(queries), 8 * _AT_ONCE):
        np.maximum(best, (rows @ queries[start : start + 8 * _AT_ONCE].T).max(axis=1), out=best)
    return np.round(best, _DECIMALS)


def _nearest(rows: np.ndarray, queries: np.ndarray, left: np.ndarray, depth: int) -> list[list[int]]:
    """For each query the `depth` rows left that are nearest to it, the nearest first, ties in the rows' order."""
    import numpy as np

    depth = min(depth, int(left.sum()))
    found = []
    for similarities in np.round(queries @ rows.T, _DECIMALS):
        similarities[~left] = -np.inf
        least = np.partition(similarities, -depth)[-depth]
        candidates = np.flatnonzero(similarities >= least)
        best = candidates[np.argsort(-similarities[candidates], kind="stable")[:depth]]
        found.append(best.tolist())
    return found
