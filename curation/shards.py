"""A large data set in shards: what is slow is computed by many jobs, each for a range of rows, into the shared caches.

A shard leaves nothing but what it computed, by content: token counts, the base model's answers and embeddings. The
merge is the ordinary run, which finds all of it there: that is why its outputs are those of a run without shards, byte
for byte, and why a shard that is missing, killed or done twice costs only time.
"""

from __future__ import annotations

import logging

from curation.calls import check_calls
from curation.ledger import kept
from curation.measures import embedded
from curation.pipeline import ROW_BY_ROW, Course, opened, rows_of, take
from registry.stage import StageContext

log = logging.getLogger(__name__)


def prepare(context: StageContext, index: int, count: int) -> None:
    """Compute for shard `index` (from 0) of `count` what the merge needs of its rows; nothing if it has none.

    Shards are ranges of equal size, but for one row, in the order of the ids. A row that its quality, a benchmark or
    the base model's answers remove is not embedded; duplicates are found by the merge alone. Raises what the run
    raises, but not for a shard of which nothing is left.
    """
    if not 0 <= index < count:
        raise ValueError(f"there is no shard {index} of {count}")
    check_calls(context)
    rows = rows_of(context)
    shard = rows[len(rows) * index // count : len(rows) * (index + 1) // count]
    log.info("shard %d of %d: %d of %d rows", index + 1, count, len(shard), len(rows))
    course = Course(context, opened(context, shard), whole=False)
    take(course, ROW_BY_ROW)
    context.stop.check("curation had not come to the embeddings")
    if entries := kept(course.ledger):
        embedded(entries, context, course.answers)
