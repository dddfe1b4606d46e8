"""The progress bar of generation, the same for every engine: answers done, and tokens per second, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from inference.engine import Generation

# A log file keeps every update as a line of its own: seldom is enough there.
_TERMINAL_SECONDS, _LOG_SECONDS = 0.5, 30.0


def track(generations: Iterable[Generation], total: int, label: str) -> Iterator[Generation]:
    """Pass `generations` through while showing how many of `total` are done."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    interval = _TERMINAL_SECONDS if sys.stderr.isatty() else _LOG_SECONDS
    tokens = 0
    with tqdm(total=total, desc=label, unit="answer", file=sys.stderr, mininterval=interval) as bar:
        for generation in generations:
            tokens += generation.completion_tokens
            elapsed = bar.format_dict["elapsed"]
            if elapsed > 0:
                bar.set_postfix_str(f"{tokens / elapsed:,.0f} tokens/s", refresh=False)
            bar.update()
            yield generation
