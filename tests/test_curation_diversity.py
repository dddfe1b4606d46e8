"""Selection of diverse rows: the clusters are k-means', the rounds are those of a plain computation."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.ledger import open_ledger
from curation.methods import METHODS
from curation.methods.diversity import clustered
from curation.methods.pool import NOT_DRAWN, Clusters, Pool, pool_of
from curation.stage import UNCHECKED, run
from registry.catalog import DatasetEntry
from registry.curation_schema import DiverseRows
from registry.stage import StageOutput
from tests.stages import make_context, record, row, write_jsonl
from tests.tiny import make_tiny_model


def config_of(**fields: Any) -> DiverseRows:
    return DiverseRows(method="embedding-diversity", embedding_model="hashing", **fields)


def blobs(count: int, of_each: int, spread: float = 0.01, dimension: int = 16) -> np.ndarray:
    """`of_each` points around each of `count` far corners, in a random order."""
    rng = np.random.default_rng(3)
    corners = np.repeat(np.eye(dimension)[:count], of_each, axis=0)
    points = rng.permutation(corners + rng.normal(scale=spread, size=corners.shape)).astype(np.float32)
    return points


def pool_with(labels: list[int], distances: list[float], tokens: list[int]) -> Pool:
    pool = pool_of(open_ledger([row(number) for number in range(len(labels))], [1] * len(labels)))
    entries = tuple(replace(entry, reasoning_tokens=count) for entry, count in zip(pool.entries, tokens, strict=True))
    return replace(pool, entries=entries, clusters=Clusters(np.array(labels), np.array(distances)))


def chosen(pool: Pool, config: DiverseRows) -> set[int]:
    """The places of the rows that are not left out."""
    left_out = METHODS["embedding-diversity"](pool, config)
    assert set(left_out.values()) <= {NOT_DRAWN}
    return {index for index, entry in enumerate(pool.entries) if entry.row.id not in left_out}


def one_by_one(labels: list[int], distances: list[float], tokens: list[int], wanted: int, outliers: int) -> set[int]:
    """The definition for cot-length, taking one row after the other."""
    rows = set(range(len(labels)))
    taken: list[int] = []
    while len(taken) < min(outliers, wanted, len(labels)):
        taken.append(min(rows - set(taken), key=lambda row: (-distances[row], row)))
    while len(taken) < min(wanted, len(labels)):
        for label in sorted(set(labels)):
            left = [row for row in rows - set(taken) if labels[row] == label]
            if left and len(taken) < wanted:
                taken.append(min(left, key=lambda row: (-tokens[row], row)))
    return set(taken)


@pytest.mark.parametrize("wanted", [1, 7, 20, 39, 60])
@pytest.mark.parametrize("percentage", [0, 15, 100])
def test_outliers_first_then_even_rounds(wanted: int, percentage: int) -> None:
    rng = random.Random(wanted)
    labels = [min(rng.randrange(9), 5) for _ in range(40)]
    distances = [rng.randrange(8) / 8 for _ in labels]  # with ties
    tokens = [rng.randrange(100, 110) for _ in labels]
    config = config_of(n_samples=wanted, outlier_percentage=percentage, intra_group_ranking="cot-length")
    expected = one_by_one(labels, distances, tokens, wanted, round(wanted * percentage / 100))
    assert chosen(pool_with(labels, distances, tokens), config) == expected


def test_within_a_cluster_rows_are_drawn_by_the_seed_and_clusters_stay_even() -> None:
    labels = [0] * 30 + [1] * 30 + [2] * 2
    pool = pool_with(labels, [0.0] * 62, [10] * 62)
    drawn = [chosen(pool, config_of(n_samples=22, outlier_percentage=0, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    for rows in drawn:
        assert [sum(labels[index] == label for index in rows) for label in range(3)] == [10, 10, 2]


def test_far_groups_are_the_clusters() -> None:
    points = blobs(6, 20)
    found = clustered(points, 6, seed=1)
    groups = defaultdict(set)
    for corner, label in zip(points.argmax(axis=1), found.labels, strict=True):
        groups[int(corner)].add(int(label))
    assert sorted(label for labels in groups.values() for label in labels) == list(range(6))


def test_a_distance_is_that_to_the_mean_of_the_own_cluster_which_is_the_nearest() -> None:
    points = blobs(8, 30, spread=0.4)
    found = clustered(points, 10, seed=5)
    means = np.stack([points[found.labels == label].mean(axis=0) for label in range(10)])
    to_means = np.linalg.norm(points[:, None] - means[None], axis=2)
    np.testing.assert_array_equal(to_means.argmin(axis=1), found.labels)
    np.testing.assert_allclose(found.distances, to_means.min(axis=1), atol=1e-4)


def test_no_more_distinct_rows_than_clusters_are_clusters_themselves() -> None:
    points = np.repeat(blobs(4, 1), 5, axis=0)
    found = clustered(points, 9, seed=1)
    assert len(set(found.labels)) == 4
    assert all(len(set(found.labels[start : start + 5])) == 1 for start in range(0, 20, 5))
    assert not found.distances.any()
    assert len(set(clustered(points, 4, seed=1).labels)) == 4
    assert len(set(clustered(points, 3, seed=1).labels)) <= 3


def test_equal_bytes_on_one_thread_and_on_two() -> None:
    from threadpoolctl import threadpool_limits

    points = np.random.default_rng(0).normal(size=(4000, 32)).astype(np.float32)
    found = []
    for threads in (1, 2, 2):
        with threadpool_limits(threads):
            clusters = clustered(points, 20, seed=-7)
        found.append((clusters.labels.tobytes(), clusters.distances.tobytes()))
    assert found[0] == found[1] == found[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), hidden=16, layers=1)


KINDS = {"renal": 20, "dermal": 3, "dental": 3}
RECORDS = [
    record(at, question=f"{kind} case {at}?", reasoning=f"The {kind} findings suggest {kind} disease {at % 2}")
    for kind, count in KINDS.items()
    for at in range(count)
]


def curated(folder: Path, model: Path, records: list[dict[str, Any]], **fields: Any) -> StageOutput:
    folder.mkdir()
    data = DatasetEntry(file_path=str(write_jsonl(folder / "rows.jsonl", records)))
    curation = {"method": "embedding-diversity", "n_samples": 6, "embedding_model": "hashing", "outlier_percentage": 0}
    return run(make_context(folder / "run", model, train=data, curation={**curation, **fields}))


def test_a_config_chooses_from_every_kind_of_reasoning_whatever_the_order_of_the_rows(
    tmp_path: Path, model: Path
) -> None:
    import pandas as pd

    first = curated(tmp_path / "a", model, RECORDS, cluster_percentage=50.0)
    table = pd.read_parquet(first.artifacts["curated_path"])
    assert table["question"].str.split().str[0].value_counts().to_dict() == dict.fromkeys(KINDS, 2)
    assert (first.metrics["selection"]["clusters"], first.metrics["selection"]["outliers"]) == (3, 0)
    assert 0.1 < first.metrics["selection"]["inertia"] < 10
    assert first.metrics["warnings"] == [UNCHECKED]
    second = curated(tmp_path / "b", model, RECORDS[::-1], cluster_percentage=50.0)
    assert second.artifacts["curated_path"].read_bytes() == first.artifacts["curated_path"].read_bytes()


def test_fewer_distinct_rows_than_clusters_is_a_warning(tmp_path: Path, model: Path) -> None:
    output = curated(tmp_path / "a", model, RECORDS, n_samples=20, cluster_percentage=100.0, outlier_percentage=10)
    assert output.metrics["selection"] == {"clusters": 6, "outliers": 2, "inertia": 0.0}
    assert output.metrics["warnings"] == ["only 6 clusters could be made of the 26 rows; 20 were asked for", UNCHECKED]
    assert output.metrics["funnel"]["after_selection"] == 20
