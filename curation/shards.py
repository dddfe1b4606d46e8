"""A large data set in shards: what is slow is computed by many jobs, each for a range of rows, into the shared caches.

A shard leaves nothing but what it computed, by content: token counts, the base model's answers and embeddings. The
merge is the ordinary run, which finds all of it there: that is why its outputs are those of a run without shards, byte
for byte, and why a shard that is missing, killed or done twice costs only time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import takewhile
from typing import Final

from curation.calls import check_calls
from curation.ledger import kept
from curation.measures import embedded
from curation.pipeline import ROW_BY_ROW, Course, Step, opened, rows_of, take
from registry.curation_schema import CurationConfig
from registry.rewriting_schema import Role
from registry.stage import StageContext

log = logging.getLogger(__name__)
_ASKS: Final[Mapping[str, Role]] = {"difficulty": "difficulty_judge", "labels": "labels"}
"""Steps that ask a model which may be asked by batch, and what for."""


def prepare(context: StageContext, index: int, count: int) -> None:
    """Compute for shard `index` (from 0) of `count` what the merge needs of its rows; nothing if it has none.

    Shards are ranges of equal size, but for one row, in the order of the ids. A row that its quality, a benchmark or
    the base model's answers remove is not embedded; duplicates are found by the merge alone, and it sends the batches.
    Raises what the run raises, but not for a shard of which nothing is left.
    """
    if not 0 <= index < count:
        raise ValueError(f"there is no shard {index} of {count}")
    check_calls(context)
    rows = rows_of(context)
    shard = rows[len(rows) * index // count : len(rows) * (index + 1) // count]
    log.info("shard %d of %d: %d of %d rows", index + 1, count, len(shard), len(rows))
    course = Course(context, opened(context, shard), whole=False)
    take(course, _steps(course.curation))
    context.stop.check("curation had not come to the embeddings")
    if entries := kept(course.ledger):
        embedded(entries, context, course.answers)


def _steps(curation: CurationConfig) -> dict[str, Step]:
    """What a shard does: everything before the first step that asks by batch.

    A batch is the vendor's work, which more jobs would not speed up. Those of several shards would lie in one folder,
    and nobody could hold `max_cost` against the sum of what is under way.
    """
    batched = {step for step, role in _ASKS.items() if role in curation.calls and curation.calls[role].batch}
    return dict(takewhile(lambda item: item[0] not in batched, ROW_BY_ROW.items()))
