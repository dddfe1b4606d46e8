"""Budget forcing: how long a model thinks is set from outside.

Source: Muennighoff et al., "s1: Simple test-time scaling" (2025). A thinking that ends before its budget goes on with
"Wait", so many times; one that reaches it is closed, and the final answer is asked for in the model's own turn. Each
step is a round of requests that go on with the turn so far, so it runs on any engine that can, and a resume finds the
rounds that are done in the journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inference.engine import Generation, Request, Sampling
from inference.formats import ChatFormat
from inference.journal import Asking
from registry.errors import UsageError
from registry.fields import API_ENGINES

GO_ON = "\nWait"
FINAL_ANSWER = "Final answer:"
_TORN = "\ufffd"  # what stands for a character of which not all bytes were generated


@dataclass(frozen=True, slots=True)
class ThinkingLimit:
    """At most `budget_tokens` of thinking; one that ends before that is made to go on `waits` times."""

    budget_tokens: int
    waits: int = 0


@dataclass(frozen=True, slots=True)
class _Turn:
    """One assistant's turn as it stands. `ended` says that it thinks no more; `failed` is a round without outcome."""

    request: Request
    index: int
    text: str
    ended: bool = False
    cut: bool = False
    prompt_tokens: int = 0
    thinking_tokens: int = 0
    failed: Generation | None = None


def answer_within(
    asking: Asking, requests: Sequence[Request], sampling: Sampling, chat_format: ChatFormat, limit: ThinkingLimit
) -> list[Generation]:
    """Return the answers in the order of `requests`, each request's in the order of their indices.

    `text` is the whole turn, with its marks and what was forced. `completion_tokens` and `reasoning_tokens` (those of
    the thinking) count what the model generated, not what was forced, and `prompt_tokens` the first round's prompt;
    `finish_reason` is that of the answer, which has up to `sampling.max_tokens`. A request's schema binds the answer
    alone. While it thinks, a turn never holds more than the budget's tokens, what is forced (an opening mark that the
    chat template has not written, each "Wait") included.

    Raises `UsageError` for a format without marks, for an engine that cannot go on with a turn, and for a budget that
    leaves no room in `max_length`; else what `Asking.ask` raises.
    """
    _check(asking, sampling, chat_format, limit)
    turns = [_Turn(r, index, chat_format.opening) for r in requests for index in r.indices(sampling)]
    budget = limit.budget_tokens
    thinking = replace(sampling, max_tokens=budget, turn_tokens=budget, stop_text=chat_format.closing.strip())
    for number in range(limit.waits + 1):
        turns = _think(asking, turns, thinking, number)
    turns = [_closed(turn, chat_format) for turn in turns]
    answers = iter(asking.ask([_request(turn, "answer", turn.text) for turn in turns if not turn.failed], sampling))
    return [_whole(turn, turn.failed or next(answers)) for turn in turns]


def _check(asking: Asking, sampling: Sampling, chat_format: ChatFormat, limit: ThinkingLimit) -> None:
    spec = asking.spec
    if not chat_format.opening:
        raise UsageError(
            f"a budget of thinking needs marks around the thinking, and the format {chat_format.name} has none; "
            "give the catalog's model entry a `format`"
        )
    if spec.name in API_ENGINES:
        raise UsageError("a server cannot go on with a turn, so it can hold no budget of thinking; use vllm")
    if limit.budget_tokens + sampling.max_tokens >= spec.max_length:
        raise UsageError(
            f"budget_tokens {limit.budget_tokens} and max_tokens {sampling.max_tokens} leave no room for a prompt in "
            f"max_length {spec.max_length}; lower one of them, or raise max_length in the catalog's model entry"
        )


def _think(asking: Asking, turns: Sequence[_Turn], sampling: Sampling, number: int) -> list[_Turn]:
    """One round of thinking for the turns that have not ended; all rounds but the first begin with "Wait"."""
    begin = GO_ON if number else ""
    asked = [
        replace(_request(turn, f"thinking {number}", turn.text + begin), schema=None)
        for turn in turns
        if not turn.ended
    ]
    thoughts = iter(asking.ask(asked, sampling))
    return [turn if turn.ended else _longer(turn, begin, next(thoughts)) for turn in turns]


def _request(turn: _Turn, round_: str, held: str) -> Request:
    # The round is part of the id, so that each has a random stream of its own.
    id_ = f"{turn.request.id}/{turn.index}/{round_}"
    return replace(turn.request, id=id_, continuation=held, n=1, answered=frozenset())


def _longer(turn: _Turn, begin: str, thought: Generation) -> _Turn:
    """The turn after a round of thinking."""
    error, cut = thought.finish_reason == "error", thought.finish_reason == "length"
    # Where there was room for nothing, "Wait" was too much already.
    added = begin + thought.text if thought.completion_tokens else ""
    return replace(
        turn,
        text=(turn.text + added).rstrip(),
        ended=error or cut,
        cut=cut,
        prompt_tokens=turn.prompt_tokens or thought.prompt_tokens,
        thinking_tokens=turn.thinking_tokens + thought.completion_tokens,
        failed=thought if error else None,
    )


def _closed(turn: _Turn, chat_format: ChatFormat) -> _Turn:
    thinking = turn.text.rstrip(_TORN).rstrip() if turn.cut else turn.text
    return replace(turn, text=thinking + chat_format.closing + (FINAL_ANSWER if turn.cut else ""))


def _whole(turn: _Turn, answer: Generation) -> Generation:
    """The whole turn as one generation."""
    failed = answer.finish_reason == "error"
    return Generation(
        id=turn.request.id,
        index=turn.index,
        text="" if failed else turn.text + answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=turn.prompt_tokens,
        completion_tokens=turn.thinking_tokens + answer.completion_tokens,
        error=answer.error,
        reasoning_tokens=turn.thinking_tokens,
        thinking_cut=turn.cut,
    )
