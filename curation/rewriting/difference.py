"""What a rewriting changed, word by word: the runs of words that stayed, went and came, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["same", "removed", "added"]
LEAST_SAME: Final = 3
"""Fewer equal words than these between two changes are a part of the change: texts share many an "of the"."""
CONTEXT: Final = 12
"""Words around a change that are shown of what stayed."""
LONGEST_CHANGE: Final = 120
"""Words of a change that are shown: half of them from its start, half from its end."""
MOST_SHOWN: Final = 800
"""Words of a text after which no further run is begun."""
_WORD: Final = re.compile(r"\S+\s*")


@dataclass(frozen=True, slots=True)
class Run:
    """Words one after the other, each with the white space that follows it."""

    kind: Kind
    words: Sequence[str]


def word_difference(before: str, after: str) -> list[Run]:
    """The runs of two texts; those that stayed and that came are the words of `after`, in its white space.

    What went stands before what came in its place. Two texts of 8,000 words take some hundredths of a second.
    """
    from rapidfuzz.distance import LCSseq

    old, new = _WORD.findall(before), _WORD.findall(after)
    opcodes = LCSseq.opcodes([word.rstrip() for word in old], [word.rstrip() for word in new])
    changes = ((op.tag == "equal", old[op.src_start : op.src_end], new[op.dest_start : op.dest_end]) for op in opcodes)
    return list(_runs(changes))


def _runs(changes: Iterable[tuple[bool, list[str], list[str]]]) -> Iterator[Run]:
    """Join neighbouring changes, and those with a few equal words between them."""
    gone, come, between = list[str](), list[str](), list[tuple[list[str], list[str]]]()
    for equal, old, new in changes:
        if equal and len(new) < LEAST_SAME and (gone or come):
            between.append((old, new))
        elif equal:
            yield from _change(gone, come)
            yield from (Run("same", words) for _, words in between)
            yield Run("same", new)
            gone, come, between = [], [], []
        else:
            for old_words, new_words in (*between, (old, new)):
                gone.extend(old_words)
                come.extend(new_words)
            between = []
    yield from _change(gone, come)
    yield from (Run("same", words) for _, words in between)


def _change(gone: list[str], come: list[str]) -> Iterator[Run]:
    if gone:
        yield Run("removed", gone)
    if come:
        yield Run("added", come)


def shortened(runs: Sequence[Run]) -> Iterator[tuple[Kind, str]]:
    """The text of each run, of a long one its ends, and how many words are left out."""
    shown = 0
    for place, run in enumerate(runs):
        if shown > MOST_SHOWN:
            yield "same", f"[… {sum(len(each.words) for each in runs[place:]):,} more words …]"
            return
        if run.kind == "same" and len(run.words) > 2 * CONTEXT:
            start = CONTEXT if place else 0
            end = CONTEXT if place < len(runs) - 1 else 0
        else:
            start = end = LONGEST_CHANGE // 2
        shown += min(len(run.words), start + end)
        yield run.kind, _ends(run.words, start, end)


def _ends(words: Sequence[str], start: int, end: int) -> str:
    left_out = len(words) - start - end
    if left_out <= 1:
        return "".join(words)
    told = f"[… {left_out:,} words …] "
    return f"{''.join(words[:start])}{told}{''.join(words[len(words) - end :])}"
