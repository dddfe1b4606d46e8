"""`meds1 submit --wait`: until every submitted attempt has ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm  # type: ignore[import-untyped]

from registry.history import Header
from registry.reading import View
from registry.records import TERMINAL
from registry.store import Registry
from slurm.asking import Queue, recent_queue
from slurm.chains import Submitted
from slurm.lines import last_of

_POLL_SECONDS = 5.0


def wait_for(registry: Registry, submitted: Sequence[Submitted]) -> list[Submitted]:
    """Wait until the attempts have ended, with a progress bar on stderr; returns those that did not complete.

    An interrupt ends the waiting and not the jobs.
    """
    left, failed = list(submitted), []
    with tqdm(total=len(left), desc="jobs ended", unit="job", file=sys.stderr) as bar:
        while True:
            view = registry.read()
            queue = recent_queue(registry, view)
            view = registry.read()  # what has ended since the queue was asked has left its record by now
            ended = [_has_ended(last_of(view, one.job), queue) for one in left]
            failed += [one for one, over in zip(left, ended, strict=True) if over and not _has_completed(view, one)]
            left = [one for one, over in zip(left, ended, strict=True) if not over]
            bar.update(sum(ended))
            if failed:
                bar.set_postfix(failed=len(failed))
            if not left:
                return failed
            time.sleep(_POLL_SECONDS)


def _has_completed(view: View, one: Submitted) -> bool:
    last = last_of(view, one.job)
    return last is not None and last.event == "completed"


def _has_ended(last: Header | None, queue: Queue) -> bool:
    return last is not None and (last.event in TERMINAL or queue.is_gone(last))
