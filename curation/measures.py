"""What a method needs to know of the rows beyond their texts: embeddings, and how novel their answers are."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from curation.difficulty import Answers
from curation.embeddings import embed
from curation.ledger import Ledger
from curation.methods.diversity import clustered, clusters_wanted, outliers_wanted
from curation.methods.pool import Pool, pool_of
from curation.methods.similarity import closest
from data.load import load_rows
from data.rows import Row
from registry.curation_schema import DiverseRows, NovelRows, SimilarRows
from registry.errors import UsageError
from registry.stage import StageContext

if TYPE_CHECKING:
    import numpy as np

_DECIMALS: Final = 6  # of novelty: what is closer is float noise, and a tie


def measured(entries: Ledger, context: StageContext, answers: Answers | None) -> Pool:
    """The pool of `entries` with the measures that the config's method asks for; `answers` are the base model's."""
    pool, config = embedded(entries, context, answers), context.config.curation
    if isinstance(config, DiverseRows):
        return _with_clusters(pool, config)
    if isinstance(config, SimilarRows):
        return _with_similarities(pool, config)
    if isinstance(config, NovelRows):
        assert pool.novelty is not None
        return replace(pool, metrics={"novelty": _range(pool.novelty)})
    return pool


def embedded(entries: Ledger, context: StageContext, answers: Answers | None) -> Pool:
    """The pool with all that a model has to embed, and nothing that is computed over all rows together."""
    pool, config = pool_of(entries), context.config.curation
    if isinstance(config, SimilarRows | DiverseRows):
        texts: list[str] = [getattr(entry.row, config.column) for entry in pool.entries]
        pool = replace(pool, embeddings=embed(texts, context))
    if isinstance(config, SimilarRows):
        return replace(pool, queries=embed(_queries(context, config), context))
    if isinstance(config, NovelRows):
        assert answers is not None, "novelty-answer always has a difficulty filter"
        return replace(pool, novelty=_novelty(pool.entries, context, answers))
    return pool


def _queries(context: StageContext, config: SimilarRows) -> list[str]:
    """The distinct questions of the query set, in an order that the seed decides."""
    assert context.config.query_dataset is not None
    rows = load_rows(config.queries, context.config.query_dataset)
    questions = sorted({row.question for row in rows if row.question})
    if not questions:
        raise UsageError(f"data set '{config.queries}': no row has a question, so there is nothing to be similar to")
    random.Random(f"queries {config.seed}").shuffle(questions)
    return questions


def right_answer(row: Row) -> str:
    """The text of the right answer alone: a letter, or a phrase around it, would make all answers similar."""
    return row.gold.text if row.gold else row.answer


def _novelty(entries: Ledger, context: StageContext, answers: Answers) -> np.ndarray:
    """1 minus the similarity of the right answer and the base model's first one, not a number where that is empty."""
    import numpy as np

    given = [answers[entry.row.id][0].text.strip() for entry in entries]
    right = embed([right_answer(entry.row) for entry in entries], context)
    similarity = np.einsum("ij,ij->i", embed(given, context), right, dtype=np.float64)
    return np.where([bool(text) for text in given], np.round(1 - similarity, _DECIMALS), np.nan)


def _with_clusters(pool: Pool, config: DiverseRows) -> Pool:
    import numpy as np

    assert pool.embeddings is not None
    wanted = clusters_wanted(config)
    clusters = clustered(pool.embeddings, wanted, config.seed)
    count = len(np.unique(clusters.labels))
    few = (f"only {count} clusters could be made of the {len(pool.entries)} rows; {wanted} were asked for",)
    metrics = {
        "clusters": count,
        "outliers": min(outliers_wanted(config), config.n_samples, len(pool.entries)),
        "inertia": float(np.sum(clusters.distances.astype(np.float64) ** 2)),
    }
    return replace(pool, clusters=clusters, metrics=metrics, warnings=few if count < wanted else ())


def _with_similarities(pool: Pool, config: SimilarRows) -> Pool:
    assert pool.embeddings is not None
    assert pool.queries is not None
    similarity = _range(closest(pool.embeddings, pool.queries))
    metrics: dict[str, Any] = {"queries": len(pool.queries), "similarity": similarity}
    if not config.eval_queries:
        return replace(pool, metrics=metrics)
    warning = (
        f"the queries ({config.queries}) may be those of a benchmark: scores on it are no measure of generalisation"
    )
    return replace(pool, metrics={**metrics, "eval_queries": True}, warnings=(warning,))


def _range(values: np.ndarray) -> dict[str, float | None]:
    import numpy as np

    known = values[~np.isnan(values)]
    if not len(known):
        return {"min": None, "median": None, "max": None}
    return {"min": float(known.min()), "median": float(np.median(known)), "max": float(known.max())}
