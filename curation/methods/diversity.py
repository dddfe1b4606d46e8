"""Rows from all over the embedding space, after the selection of med-s1 (Caleb Winston et al.).

First the rows that are most unlike all others, then rounds over clusters of similar rows, so that a kind of question
counts once however often it occurs.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from curation.ledger import Removals
from curation.methods.pool import NOT_DRAWN, Clusters, Pool
from registry.curation_schema import DiverseRows

if TYPE_CHECKING:
    import numpy as np

_ITERATIONS: Final = 20  # of Lloyd's algorithm; thirty more lower the inertia of 25k rows by less than 0.01 %
_DECIMALS: Final = 5  # of distances: what is closer is float noise, and a tie


def clustered(embeddings: np.ndarray, count: int, seed: int) -> Clusters:
    """Put the rows into `count` clusters by k-means (k-means++, Lloyd, one start), in one thread.

    More threads would add up each cluster's centre in the order in which they end. Where there are no more distinct
    rows than clusters, equal rows are a cluster.
    """
    import numpy as np
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    of_row: dict[bytes, int] = {}
    labels = np.array([of_row.setdefault(row.tobytes(), len(of_row)) for row in embeddings])
    if len(of_row) <= count:
        return Clusters(labels, np.zeros(len(labels), dtype=np.float32))
    with threadpool_limits(1):
        found = KMeans(count, n_init=1, max_iter=_ITERATIONS, random_state=seed % 2**32).fit(embeddings)
        distances = np.linalg.norm(embeddings - found.cluster_centers_[found.labels_], axis=1)
    return Clusters(found.labels_, np.round(distances, _DECIMALS))


def clusters_wanted(config: DiverseRows) -> int:
    """How many clusters the config asks for: `cluster_percentage` of `n_samples`, at least one."""
    return max(1, round(config.n_samples * config.cluster_percentage / 100))


def outliers_wanted(config: DiverseRows) -> int:
    """How many outliers the config asks for: `outlier_percentage` of `n_samples`."""
    return round(config.n_samples * config.outlier_percentage / 100)


def draw_diverse(pool: Pool, config: DiverseRows) -> Removals:
    """Choose `n_samples` rows: the outliers, then one row of each cluster in turn until there are enough.

    Outliers are the rows that are farthest from their own centre, ties by id. A cluster gives its rows in the order of
    `intra_group_ranking`; one that has none left is passed over.
    """
    assert pool.clusters is not None
    ids = [entry.row.id for entry in pool.entries]
    distances = pool.clusters.distances
    wanted = min(config.n_samples, len(ids))
    farthest = sorted(range(len(ids)), key=lambda row: (-distances[row], row))
    taken = set(farthest[: min(outliers_wanted(config), wanted)])
    groups: dict[int, list[int]] = defaultdict(list)
    for row in _ranked(pool, config):
        if row not in taken:
            groups[int(pool.clusters.labels[row])].append(row)
    taken.update(islice(_rounds([groups[label] for label in sorted(groups)]), wanted - len(taken)))
    return {row_id: NOT_DRAWN for row, row_id in enumerate(ids) if row not in taken}


def _ranked(pool: Pool, config: DiverseRows) -> Sequence[int]:
    """All rows in the order in which their clusters give them."""
    rows = list(range(len(pool.entries)))
    if config.intra_group_ranking == "cot-length":
        return sorted(rows, key=lambda row: (-pool.entries[row].reasoning_tokens, row))
    random.Random(config.seed).shuffle(rows)
    return rows


def _rounds(groups: Sequence[Sequence[int]]) -> Iterator[int]:
    """The first of each group, then the second of each that has one, and so on."""
    for rank in range(max(map(len, groups), default=0)):
        for group in groups:
            if rank < len(group):
                yield group[rank]
