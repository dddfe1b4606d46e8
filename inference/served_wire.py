"""What the wire formats of all served models share: the tasks, their seeds, and where hidden thinking stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import ValidationError, from_json

from inference.engine import Request, Sampling
from inference.samples import sample_seed


@dataclass(frozen=True, slots=True)
class Task:
    """One answer to ask for."""

    request: Request
    index: int
    sampling: Sampling

    @property
    def seed(self) -> int | None:
        """31 bits, because some servers keep it in 32; a greedy answer needs none."""
        if self.sampling.temperature == 0:
            return None
        return sample_seed(self.sampling.seed, self.request.id, self.index) >> 31


def tasks(requests: Sequence[Request], sampling: Sampling) -> list[Task]:
    """Return the answers to ask for, those with the longest messages first."""
    ordered = sorted(
        requests, key=lambda request: (-sum(len(turn["content"]) for turn in request.messages), request.id)
    )
    return [Task(request, index, sampling) for request in ordered for index in request.indices(sampling)]


def held_tokens(
    content: str | bytes, answers: str, usage: str, count: Callable[[object], tuple[int, int]]
) -> tuple[int, int] | None:
    """The tokens of prompt and answer in a response that cannot be read, as far as it says; null: it is no answer.

    `answers` and `usage` are the vendor's names of the two fields; `count` makes of the second the two numbers, or
    raises pydantic's `ValidationError`.
    """
    held = _held_answer(content, answers, usage)
    if held is None:
        return None
    try:
        return count(held.get(usage) or {})
    except ValidationError:
        return 0, 0


def _held_answer(content: str | bytes, answers: str, usage: str) -> dict[str, Any] | None:
    """The JSON of a response that cannot be read, where it may be an answer that is paid; {} of one that is cut short.

    Null where there is none: the page of a proxy, an error, and whatever has neither the field `answers` nor `usage`.
    """
    try:
        held = from_json(content)
    except ValueError:
        return {} if content.lstrip()[:1] in ("{", b"{") else None
    return held if isinstance(held, dict) and (held.get(answers) or held.get(usage)) else None


def with_thinking(thinking: str | None, answer: str, cut: bool) -> str:
    """Hidden thinking before its answer, between the tags `<think>` and `</think>`; not closed where it was `cut`."""
    if not thinking:
        return answer
    opened = f"<think>\n{thinking.strip()}"
    return opened if cut and not answer else f"{opened}\n</think>\n\n{answer}"
