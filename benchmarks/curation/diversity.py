"""What choosing diverse rows costs: k-means and the rounds, on as many vectors as the real set has rows.

The vectors are made up: kinds of question that overlap, of very different sizes, which k-means does not part at once.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from benchmarks.parts import Report, Say
from curation.ledger import open_ledger
from curation.methods.diversity import clustered, clusters_wanted, draw_diverse
from curation.methods.pool import pool_of
from registry.console import Grid
from registry.curation_schema import DiverseRows
from tests.stages import row

ROWS, DIMENSION, KINDS = 25_371, 768, 300
LIMIT = 10.0
SHORT, LONG = (1_000,), (1_000, 5_000)


def measure_diversity(full: bool, say: Say) -> Report:
    """Time the choice of 1,000 rows (full: 5,000 too); a tenth of that are the clusters."""
    template = row(0)
    entries = open_ledger([replace(template, id=f"{number:05}") for number in range(ROWS)], [500] * ROWS)
    pool = replace(pool_of(entries), embeddings=made_up_vectors())
    assert pool.embeddings is not None
    data, lines = [], []
    for wanted in LONG if full else SHORT:
        config = DiverseRows(method="embedding-diversity", n_samples=wanted, embedding_model="made-up")
        clusters = clusters_wanted(config)
        say(f"diversity: {clusters} clusters of {ROWS} rows")
        began = time.perf_counter()
        measured = replace(pool, clusters=clustered(pool.embeddings, clusters, config.seed))
        parted = time.perf_counter()
        chosen = ROWS - len(draw_diverse(measured, config))
        seconds = time.perf_counter() - began
        limit = LIMIT if clusters == 100 else None
        data.append({"clusters": clusters, "chosen": chosen, "k_means": parted - began, "seconds": seconds})
        verdict = "" if limit is None else f"{'met' if seconds <= limit else 'MISSED'} (at most {limit:.0f})"
        lines.append([str(clusters), str(chosen), f"{parted - began:.1f}", f"{seconds:.1f}", verdict])
    grid = Grid(["clusters", "rows chosen", "k-means, s", "all, s", ""], lines, right=(0, 1, 2, 3))
    return Report(data={"rows": ROWS, "dimension": DIMENSION, "choices": data}, lines=(grid,))


def made_up_vectors() -> np.ndarray:
    """`ROWS` vectors of length 1 around `KINDS` centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(KINDS, DIMENSION)).astype(np.float32)
    kinds = rng.choice(KINDS, size=ROWS, p=rng.dirichlet(np.ones(KINDS)))
    vectors = centres[kinds] + rng.normal(size=(ROWS, DIMENSION)).astype(np.float32)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
