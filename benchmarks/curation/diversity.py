"""What choosing diverse rows costs: k-means and the rounds, on as many vectors as the real set has rows.

The vectors are made up: kinds of question that overlap, of very different sizes, which k-means does not part at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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
CLUSTERS, LIMIT = 100, 10.0  # what the limit in seconds is meant for
SHORT, LONG = (1_000,), (1_000, 5_000)


def measure_diversity(full: bool, say: Say) -> Report:
    """Time the choice of 1,000 rows (full: 5,000 too); a tenth of that are the clusters."""
    return report(ROWS, LONG if full else SHORT, say)


def report(rows: int, numbers: Sequence[int], say: Say) -> Report:
    """The times of choosing each of `numbers` of `rows`; sound when that many are chosen."""
    template = row(0)
    entries = open_ledger([replace(template, id=f"{number:05}") for number in range(rows)], [500] * rows)
    embeddings = made_up_vectors(rows)
    data, lines = [], []
    for wanted in numbers:
        config = DiverseRows(method="embedding-diversity", n_samples=wanted, embedding_model="made-up")
        clusters = clusters_wanted(config)
        say(f"diversity: {clusters} clusters of {rows} rows")
        began = time.perf_counter()
        pool = replace(pool_of(entries), clusters=clustered(embeddings, clusters, config.seed))
        parted = time.perf_counter() - began
        chosen = rows - len(draw_diverse(pool, config))
        seconds = time.perf_counter() - began
        data.append({"clusters": clusters, "wanted": wanted, "chosen": chosen, "k_means": parted, "seconds": seconds})
        verdict = f"{'met' if seconds <= LIMIT else 'MISSED'} (at most {LIMIT:.0f} s)" if clusters == CLUSTERS else ""
        lines.append([str(clusters), str(chosen), f"{parted:.1f}", f"{seconds:.1f}", verdict])
    grid = Grid(["clusters", "rows chosen", "k-means, s", "all, s", ""], lines, right=(0, 1, 2, 3))
    sound = all(each["chosen"] == each["wanted"] for each in data)
    return Report(data={"rows": rows, "dimension": DIMENSION, "choices": data}, lines=(grid,), sound=sound)


def made_up_vectors(rows: int) -> np.ndarray:
    """Vectors of length 1 around `KINDS` centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(KINDS, DIMENSION)).astype(np.float32)
    kinds = rng.choice(KINDS, size=rows, p=rng.dirichlet(np.ones(KINDS)))
    vectors = centres[kinds] + rng.normal(size=(rows, DIMENSION)).astype(np.float32)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
