"""The progress of generation, the same for every engine: answers done, tokens per second, what is spent, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from inference.engine import Generation
from registry.progress import Progress


def track(
    generations: Iterable[Generation], total: int, label: str, spent: Callable[[], str] | None = None
) -> Iterator[Generation]:
    """Pass `generations` through while showing how many of `total` are done, and what `spent` says."""
    tokens = 0
    with Progress(total, label, "answer") as progress:
        for generation in generations:
            tokens += generation.completion_tokens
            progress.advance()
            told = [f"{tokens / progress.seconds:,.0f} tokens/s", spent() if spent is not None else ""]
            progress.tell(", ".join(filter(None, told)), now=progress.done == total)
            yield generation
