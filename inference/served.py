"""The engine for a model behind a server: many requests at a time, as many in a minute as it allows.

Faults that pass (rate limits, 5xx, lost connections, answers that are none) are tried again; a request without an
answer after that is an "error" and costs only itself. What every request would meet ends the stage with one line. How
requests and faults look is the `Transport`'s affair.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from inference.engine import Gate, Generation, Known, Request, Sampling, ServedModel
from inference.leaving import Leaving, streamed
from inference.progress import track
from inference.samples import failure
from inference.served_faults import Fault
from inference.served_wire import Task, tasks
from registry.errors import StageFailure, UsageError
from registry.fields import EngineName
from registry.stopping import StopFlag

if TYPE_CHECKING:
    from anyio import CapacityLimiter

log = logging.getLogger(__name__)

CONNECT_S = 30.0
_ELSEWHERE_S = 0.1
_SAY_S = 5.0
_GATE_S = 0.1
_QUEUE_S, _TOKEN_S = 600.0, 0.1
# Tries of one request: 10 span more than a minute; rate limits are no fault, and get ten minutes or more.
# What came and cannot be read is perhaps paid each time.
_TRIES = {"refused": 1, "unreadable": 3, "passing": 10, "limited": 30}
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 30.0
_DEAD_AFTER = 20
_ALL_WAIT_AFTER = 3
_WORKERS_PER_PLACE = 4

Ask = Callable[[Task, bool], Awaitable[Generation | Fault]]
"""Send one request and read the answer. The flag says whether the server has answered anything before.

Raises `MissingError`, `UsageError` or `StageFailure` for what every other request would meet too.
"""


class Transport(Protocol):
    """One vendor's client for one model; as a string it is `model at host`."""

    @property
    def model(self) -> ServedModel:
        """The model and how much of it may be asked at a time."""
        ...

    def connected(self, patience: float) -> AbstractAsyncContextManager[Ask]:
        """Connections for one event loop, on which an answer may take `patience` seconds. They make no retries."""
        ...


@dataclass(frozen=True, slots=True)
class _Outcome:
    """`healthy` says that the server works, with an answer or with fault found in this one request.

    Null: it was not asked, because the answer was known.
    """

    generation: Generation
    healthy: bool | None


_Hand = Callable[[_Outcome], None]


@dataclass(frozen=True, slots=True)
class _Round:
    """One call of `generate`."""

    known: Known | None
    gate: Gate | None
    leaving: Leaving = field(default_factory=Leaving)


class ServedEngine:
    """An opened engine. Connections live as long as a call of `generate`."""

    def __init__(self, name: EngineName, transport: Transport) -> None:
        self.name: EngineName = name
        self._transport = transport
        self._heard = False
        self._limited = 0
        self._not_before = self._next_turn = self._say_at = 0.0
        self._unsaid = 0
        # Evenly spaced: a minute's worth in a burst and the next one behind it would be twice the limit in one minute.
        # Kept here and not in aiolimiter's bucket, which belongs to one event loop (there is a new one for every call),
        # and whose turn is lost when, once it has come, the answer is known and nothing is sent.
        limit = transport.model.requests_per_minute
        self._spacing = 60.0 / limit if limit else 0.0
        log.info("%s engine: %s, up to %d requests at a time", name, transport, transport.model.concurrency)

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        stop: StopFlag | None = None,
        known: Known | None = None,
        gate: Gate | None = None,
    ) -> Iterator[Generation]:
        """See `inference.engine.Engine.generate`; raises `UsageError` for an answer in several rounds.

        Raises `MissingError` when server, key or model are not there, `StageFailure` when the server has died.
        """
        if len({request.id for request in requests}) != len(requests):
            raise ValueError("two requests share an id")
        in_rounds = sampling.stop_text is not None or sampling.turn_tokens is not None
        if in_rounds or any(request.continuation for request in requests):
            raise UsageError(
                f"{self._transport} cannot go on with an answer that has begun; "
                "a thinking budget needs the engine vllm or transformers"
            )
        asked = tasks(requests, sampling)
        if known is not None:
            # Processes with the same work then begin at different ends, and find each other's answers.
            random.shuffle(asked)
        one = _Round(known, gate)
        outcomes: Iterator[_Outcome] = streamed(
            lambda hand: self._ask_all(asked, hand, one), one.leaving, stop or StopFlag()
        )
        yield from track(self._while_alive(outcomes), len(asked), self.name, gate.told if gate else None)

    def _while_alive(self, outcomes: Iterator[_Outcome]) -> Iterator[Generation]:
        """Hold failures back until the server shows life, so that a dead server's are not taken for answers."""
        held: list[Generation] = []
        for outcome in outcomes:
            if outcome.healthy is None:
                yield outcome.generation
                continue
            if outcome.healthy:
                yield from held
                held.clear()
                yield outcome.generation
                continue
            held.append(outcome.generation)
            if len(held) == _DEAD_AFTER:
                raise StageFailure(
                    f"{self._transport}: {_DEAD_AFTER} requests in a row failed, the last with {held[-1].error}; "
                    "run the stage again when the server works: they will be asked again"
                )
        yield from held

    async def _ask_all(self, asked: list[Task], hand: _Hand, one: _Round) -> None:
        import anyio

        # A server may queue a request before it begins, and then writes 10 tokens per second at the least.
        patience = _QUEUE_S + _TOKEN_S * max((task.sampling.max_tokens for task in asked), default=0)
        pending = deque(asked)
        put_off, gate = 0, one.gate

        # A request that waits for its next try leaves its place to another one.
        places = anyio.CapacityLimiter(self._transport.model.concurrency)

        async def work() -> None:
            nonlocal put_off
            while pending:
                task = pending.popleft()
                await _admitted(task, gate)
                outcome = await self._answer(finished, task, one, places)
                if outcome is None:
                    if gate is not None:
                        gate.withdraws(task.request, task.index)
                    pending.append(task)
                    put_off += 1
                    if put_off >= len(pending):  # all that is left is asked elsewhere
                        await anyio.sleep(random.uniform(0.5, 1.5) * _ELSEWHERE_S)  # two may wait for each other
                    continue
                put_off = 0
                try:
                    if gate is not None:
                        gate.settles(outcome.generation)
                finally:  # it is paid, and kept, where a limit cannot be held or its cost not be noted
                    hand(outcome)

        async with self._transport.connected(patience) as ask:

            async def finished(task: Task, heard: bool) -> Generation | Fault:
                return await one.leaving.finished(lambda: ask(task, heard))

            workers = min(_WORKERS_PER_PLACE * self._transport.model.concurrency, len(asked))
            await one.leaving.all_of(work, workers)

    async def _answer(self, ask: Ask, task: Task, one: _Round, places: CapacityLimiter) -> _Outcome | None:
        """Ask until there is an answer or no try is left; null where another process is asking."""
        import anyio

        tries: Counter[str] = Counter()
        while True:
            async with places:
                await self._turn()
                found = one.known(task.request, task.index) if one.known is not None and not tries else None
                if found == "elsewhere":
                    return None
                if found is not None:
                    return _Outcome(found, healthy=None)
                self._next_turn = time.monotonic() + self._spacing
                got = await ask(task, self._heard)
            if isinstance(got, Generation):
                self._heard, self._limited = True, 0
                return _Outcome(got, healthy=True)
            if got.kind == "unknown":
                continue
            tries[got.kind] += 1
            if one.gate is not None and got.kind == "unreadable":
                one.gate.wastes(_wasted(task, got))
            if tries[got.kind] == _TRIES[got.kind]:
                if got.gone:
                    raise StageFailure(f"{self._transport} is gone: {got.text}; run the stage again when it is back")
                return _Outcome(failure(task.request, task.index, 0, got.text), got.healthy)
            await anyio.sleep(self._pause(got, tries[got.kind]))
            if got.kind == "unreadable":
                await _admitted(task, one.gate)

    async def _turn(self) -> None:
        """Wait while the server wants no request; not all come back in the same moment.

        The turn is taken by setting `_next_turn` before anything else is awaited.
        """
        import anyio

        while True:
            now = time.monotonic()
            held, spaced = self._not_before - now, self._next_turn - now
            if held <= 0 and spaced <= 0:
                return
            await anyio.sleep(max(held * random.uniform(1.0, 1.25), spaced))

    def _pause(self, fault: Fault, tried: int) -> float:
        """Seconds that this request waits; a wait that the server asked for holds all others back too."""
        grown = min(_FIRST_WAIT_S * 2 ** (tried - 1), _LONGEST_WAIT_S) * random.uniform(0.75, 1.0)
        wait = fault.wait or grown
        self._unsaid += 1
        if time.monotonic() >= self._say_at:
            log.info("%s: %s; the next try is in %.1f s (faults: %d)", self._transport, fault.text, wait, self._unsaid)
            self._say_at, self._unsaid = time.monotonic() + _SAY_S, 0
        self._limited += fault.kind == "limited"
        # One refusal now and then is no reason to stand still; several without an answer in between are.
        if not fault.wait and self._limited < _ALL_WAIT_AFTER:
            return wait
        self._not_before = max(self._not_before, time.monotonic() + wait)
        return 0.0

    def close(self) -> None:
        """See `inference.engine.Engine.close`; nothing is open between calls."""


async def _admitted(task: Task, gate: Gate | None) -> None:
    """Wait until the request may be paid for."""
    import anyio

    while gate is not None and not gate.admits(task.request, task.index):
        await anyio.sleep(_GATE_S)


def _wasted(task: Task, fault: Fault) -> Generation:
    prompt, answer = fault.tokens
    return replace(failure(task.request, task.index, prompt, fault.text), completion_tokens=answer)
