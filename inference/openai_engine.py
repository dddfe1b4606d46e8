"""The engine for a model behind an OpenAI-compatible server: chat completions, many at a time.

Faults that pass (rate limits, 5xx, lost connections, answers that are none) are tried again; a request without an
answer after that is an "error" and costs only itself. What every request would meet ends the stage with one line. No
default of the environment decides which server is asked.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from inference.engine import ApiModel, EngineSpec, Generation, Known, Request, Sampling
from inference.openai_faults import NO_KEY, Fault, Server, end_if_gone, understand
from inference.openai_wire import Task, body, read, tasks
from inference.progress import track
from inference.samples import failure
from registry.errors import MissingError, StageFailure, UsageError
from registry.fields import EngineName
from registry.stopping import StopFlag

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

_OPENAI = "https://api.openai.com/v1"
_TICK_S = 0.5
_CONNECT_S, _QUEUE_S, _TOKEN_S = 30.0, 600.0, 0.1
# Tries of one request: 8 span more than a minute; rate limits are no fault, and get ten minutes or more.
_TRIES = {"refused": 1, "passing": 8, "limited": 30}
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
_DEAD_AFTER = 20


@dataclass(frozen=True, slots=True)
class _Outcome:
    """`healthy` says that the server works, with an answer or with fault found in this one request."""

    generation: Generation
    healthy: bool


_Hand = Callable[[_Outcome], None]


class OpenAIEngine:
    """An opened engine; made by `open_openai`. Connections live as long as a call of `generate`."""

    name: EngineName = "openai"

    def __init__(self, server: Server) -> None:
        self._server = server
        self._unknown: set[str] = set()
        self._heard = False
        self._not_before = 0.0

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        stop: StopFlag | None = None,
        known: Known | None = None,
    ) -> Iterator[Generation]:
        """See `inference.engine.Engine.generate`; raises `UsageError` for an answer in several rounds.

        Raises `MissingError` when server, key or model are not there, `StageFailure` when the server has died.
        """
        if len({request.id for request in requests}) != len(requests):
            raise ValueError("two requests share an id")
        in_rounds = sampling.stop_text is not None or sampling.turn_tokens is not None
        if in_rounds or any(request.continuation for request in requests):
            raise UsageError(
                f"{self._server} cannot go on with an answer that has begun; "
                "a thinking budget needs the engine vllm or transformers"
            )
        asked = tasks(requests, sampling)
        if known is not None:
            # Processes with the same work then begin at different ends, and find each other's answers.
            random.shuffle(asked)
        outcomes = _streamed(lambda hand: self._ask_all(asked, hand, known), stop or StopFlag())
        yield from track(self._while_alive(outcomes), len(asked), self.name)

    def _while_alive(self, outcomes: Iterator[_Outcome]) -> Iterator[Generation]:
        """Hold failures back until the server shows life, so that a dead server's are not taken for answers."""
        held: list[Generation] = []
        for outcome in outcomes:
            if outcome.healthy:
                yield from held
                held.clear()
                yield outcome.generation
                continue
            held.append(outcome.generation)
            if len(held) == _DEAD_AFTER:
                raise StageFailure(
                    f"{self._server}: {_DEAD_AFTER} requests in a row failed, the last with {held[-1].error}; "
                    "run the stage again when the server works: they will be asked again"
                )
        yield from held

    async def _ask_all(self, asked: list[Task], hand: _Hand, known: Known | None) -> None:
        import anyio
        from openai import AsyncOpenAI, Timeout

        model = self._server.model
        # A server may queue a request before it begins, and then writes 10 tokens per second at the least.
        patience = _QUEUE_S + _TOKEN_S * max((task.sampling.max_tokens for task in asked), default=0)
        pending = iter(asked)

        async def work() -> None:
            for task in pending:
                hand(await self._ask(client, task, known))

        async with AsyncOpenAI(
            api_key=self._server.key,
            base_url=model.base_url or _OPENAI,
            max_retries=0,
            timeout=Timeout(patience, connect=_CONNECT_S),
        ) as client:
            try:
                async with anyio.create_task_group() as group:
                    for _ in range(min(model.concurrency, len(asked))):
                        group.start_soon(work)
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _ask(self, client: AsyncOpenAI, task: Task, known: Known | None) -> _Outcome:
        """Ask until there is an answer or no try is left."""
        import anyio
        import httpx2
        from openai import APIError

        tries: Counter[str] = Counter()
        while True:
            await self._turn()
            if known is not None and not tries and (found := known(task.request, task.index)):
                return _Outcome(found, healthy=True)
            sent = body(task, self._server.model, self._unknown)
            try:
                response = await client.post("/chat/completions", cast_to=httpx2.Response, body=sent)
                generation = read(task, response.content)
            except (APIError, ValueError) as error:
                fault = understand(error, self._server, sent, self._heard)
                if fault.kind == "unknown":
                    self._do_without(fault)
                    continue
                tries[fault.kind] += 1
                if tries[fault.kind] == _TRIES[fault.kind]:
                    end_if_gone(error, self._server, fault)
                    return _Outcome(failure(task.request, task.index, 0, fault.text), fault.healthy)
            else:
                self._heard = True
                return _Outcome(generation, healthy=True)
            await anyio.sleep(self._pause(fault, tries[fault.kind]))

    async def _turn(self) -> None:
        """Wait while the server wants no request; not all come back in the same moment."""
        import anyio

        while (wait := self._not_before - time.monotonic()) > 0:
            await anyio.sleep(wait * random.uniform(1.0, 1.25))

    def _pause(self, fault: Fault, tried: int) -> float:
        """Seconds that this request waits; a wait that the server asked for holds all others back too."""
        grown = min(_FIRST_WAIT_S * 2 ** (tried - 1), _LONGEST_WAIT_S) * random.uniform(0.75, 1.0)
        wait = fault.wait or grown
        log.info("%s: %s; the next try is in %.1f s", self._server, fault.text, wait)
        if not fault.wait and fault.kind != "limited":
            return wait
        self._not_before = max(self._not_before, time.monotonic() + wait)
        return 0.0

    def _do_without(self, fault: Fault) -> None:
        if fault.field not in self._unknown:
            self._unknown.add(fault.field)
            instead = "max_tokens is sent instead" if fault.field == "max_completion_tokens" else "none is sent"
            log.warning("%s does not know %s; %s (%s)", self._server, fault.field, instead, fault.text)

    def close(self) -> None:
        """See `inference.engine.Engine.close`; nothing is open between calls."""


def open_openai(spec: EngineSpec) -> OpenAIEngine:
    """Prepare to ask the server of `spec.model`; nothing is sent yet. Raises what `server_of` raises."""
    server = server_of(spec)
    log.info("openai engine: %s, up to %d requests at a time", server, server.model.concurrency)
    return OpenAIEngine(server)


def server_of(spec: EngineSpec) -> Server:
    """The server of `spec.model` and the key for it.

    Raises `UsageError` for a model that is a folder and for a `base_url` that is none, `MissingError` without a key.
    """
    model = spec.model
    if not isinstance(model, ApiModel):
        raise UsageError(f"the openai engine asks a server, and {model} is a folder; use the engine vllm")
    address = urlsplit(model.base_url or _OPENAI)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise UsageError(f"{model.name}: base_url {model.base_url} is no address such as http://localhost:8000/v1")
    # The client refuses an empty key, and a server of one's own asks for none. Hosted ones are never plain http.
    key = os.environ.get(model.api_key_env, "").strip() or (NO_KEY if address.scheme == "http" else "")
    if not key:
        raise MissingError(
            f"the environment variable {model.api_key_env} is not set: it holds the key for {model.name} "
            f"at {address.hostname}; set it in config.local.sh"
        )
    return Server(model, key)


def _streamed(work: Callable[[_Hand], Awaitable[None]], stop: StopFlag) -> Iterator[_Outcome]:
    """Yield what `work` hands over, as it comes, and raise what it raises.

    Its event loop has a thread of its own, because a notebook already runs one in this thread.
    """
    from anyio.from_thread import start_blocking_portal

    outcomes: SimpleQueue[_Outcome | None] = SimpleQueue()
    with start_blocking_portal() as portal:
        running = portal.start_task_soon(work, outcomes.put)
        running.add_done_callback(lambda _: outcomes.put(None))
        try:
            while True:
                stop.check("generation left off")
                try:
                    outcome = outcomes.get(timeout=_TICK_S)
                except Empty:
                    continue
                if outcome is None:
                    break
                yield outcome
        finally:
            running.cancel()
        running.result()
