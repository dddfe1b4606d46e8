"""How far a computation over many texts has come, on stderr; one that is done in a moment says nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

Batch = Sequence[str]
LOG_SECONDS = 30.0


def track(batches: Sequence[Batch], label: str) -> Iterator[Batch]:
    """Pass `batches` through while showing how many of their texts are done: a bar on a terminal, else lines."""
    return _bar(batches, label) if sys.stderr.isatty() else _lines(batches, label)


def _bar(batches: Sequence[Batch], label: str) -> Iterator[Batch]:
    from tqdm import tqdm  # type: ignore[import-untyped]

    with tqdm(total=sum(map(len, batches)), desc=label, unit="text", file=sys.stderr, delay=1) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))


def _lines(batches: Sequence[Batch], label: str) -> Iterator[Batch]:
    total, done = sum(map(len, batches)), 0
    began = said = time.monotonic()
    for batch in batches:
        yield batch
        done += len(batch)
        now = time.monotonic()
        if now - said >= LOG_SECONDS:
            said, passed = now, now - began
            left = timedelta(seconds=round(passed / done * (total - done)))
            spent = timedelta(seconds=round(passed))
            print(f"{label}: {done:,} of {total:,} texts in {spent}, {left} left", file=sys.stderr, flush=True)
