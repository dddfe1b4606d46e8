"""The progress of generation, the same for every engine, on stderr: answers done, tokens per second, time left.

On a terminal it is a bar; anywhere else it is a line now and then, since a bar leaves nothing readable in a log.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from inference.engine import Generation

LOG_SECONDS = 30.0


def track(
    generations: Iterable[Generation], total: int, label: str, spent: Callable[[], str] | None = None
) -> Iterator[Generation]:
    """Pass `generations` through while showing how many of `total` are done, and what `spent` says."""
    shown = _bar if sys.stderr.isatty() else _lines
    return shown(generations, total, label, spent or (lambda: ""))


def _bar(generations: Iterable[Generation], total: int, label: str, spent: Callable[[], str]) -> Iterator[Generation]:
    from tqdm import tqdm  # type: ignore[import-untyped]

    tokens = 0
    with tqdm(total=total, desc=label, unit="answer", file=sys.stderr, mininterval=0.5) as bar:
        for generation in generations:
            tokens += generation.completion_tokens
            elapsed = bar.format_dict["elapsed"]
            if elapsed > 0:
                bar.set_postfix_str(_and(f"{tokens / elapsed:,.0f} tokens/s", spent()), refresh=False)
            bar.update()
            yield generation


def _lines(generations: Iterable[Generation], total: int, label: str, spent: Callable[[], str]) -> Iterator[Generation]:
    tokens = 0
    began = said = time.monotonic()
    for done, generation in enumerate(generations, start=1):
        tokens += generation.completion_tokens
        now = time.monotonic()
        if done == total or now - said >= LOG_SECONDS:
            said, passed = now, now - began
            left = "" if done == total else f", {_clock(passed / done * (total - done))} left"
            rate = _and(f"{tokens / max(passed, 1e-3):,.0f} tokens/s", spent())
            print(
                f"{label}: {done:,} of {total:,} answers in {_clock(passed)}, {rate}{left}", file=sys.stderr, flush=True
            )
        yield generation


def _and(text: str, more: str) -> str:
    return f"{text}, {more}" if more else text


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
