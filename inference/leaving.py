"""How a round of calls is left before its end: nothing more is sent, and what is on its way may come in for a while.

Those calls are paid for, whether somebody waits for their answers or not.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from registry.errors import Meds1Error, StageStopped
from registry.stopping import StopFlag

if TYPE_CHECKING:
    from anyio import CancelScope

log = logging.getLogger(__name__)
T = TypeVar("T")

# Slurm kills 30 s after its SIGTERM where nobody has set KillWait: what comes in has to be kept and recorded by then.
GRACE_S = 20.0
_TICK_S = 0.5


class Leaving:
    """One round. All but the making of it happens in the thread of the round's event loop."""

    def __init__(self) -> None:
        self._round: CancelScope | None = None
        self._sent: set[CancelScope] = set()
        self._left = False

    async def all_of(self, work: Callable[[], Awaitable[None]], workers: int) -> None:
        """Have `work` done by so many `workers`; the first one that fails leaves the round, and its error is raised."""
        import anyio

        async def working() -> None:
            try:
                await work()
            except Meds1Error:
                self.leave(GRACE_S)
                raise

        try:
            with anyio.CancelScope() as self._round:
                if self._left:
                    self._round.cancel()
                async with anyio.create_task_group() as group:
                    for _ in range(workers):
                        group.start_soon(working)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def finished(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call`, which sends a request, returns; it is not left before its time is up."""
        import anyio
        from anyio.lowlevel import checkpoint_if_cancelled

        await checkpoint_if_cancelled()  # a wait that had just ended is not told that the round is left
        with anyio.CancelScope() as scope:
            self._sent.add(scope)
            try:
                return await call()
            finally:
                self._sent.discard(scope)
        await checkpoint_if_cancelled()  # the time is up, and the round is left
        raise AssertionError("a call is left only with its round")

    def leave(self, seconds: float) -> None:
        """Send nothing more, and wait at most so many `seconds` for what is on its way; the shortest time counts."""
        import anyio

        if self._sent and not self._left and seconds:
            log.info("no more is sent; calls on their way are waited for, %.0f s at most: %d", seconds, len(self._sent))
        self._left = True
        for scope in self._sent:
            scope.shield = True
            scope.deadline = min(scope.deadline, anyio.current_time() + seconds)
        if self._round is not None:
            self._round.cancel()


def streamed(work: Callable[[Callable[[T], None]], Awaitable[None]], left: Leaving, stop: StopFlag) -> Iterator[T]:
    """Yield what `work` hands over, as it comes, and raise what it raises; after a stop, what is on its way too.

    Its event loop has a thread of its own, because a notebook already runs one in this thread.
    """
    from anyio.from_thread import start_blocking_portal

    outcomes: SimpleQueue[T | None] = SimpleQueue()
    with start_blocking_portal() as portal:
        running = portal.start_task_soon(work, outcomes.put)
        running.add_done_callback(lambda _: outcomes.put(None))
        try:
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
            except (StageStopped, KeyboardInterrupt):
                portal.call(left.leave, GRACE_S)
                while (outcome := outcomes.get()) is not None:
                    yield outcome
                raise
        finally:
            portal.call(left.leave, 0.0)
        running.result()
