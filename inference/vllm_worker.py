"""The process of one copy of a model among several: samples come in on a pipe, outcomes go back as they finish.

`python -m inference.vllm_worker FD`; started by `inference.data_parallel`. It runs in a process group of its own and
ends with it, whatever it is doing, when the other end of the pipe is closed: nothing outlives the stage.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Literal

from inference.engine import EngineSpec
from inference.samples import Sample
from inference.vllm_core import Outcome, open_core
from registry.errors import StageFailure

Order = list[tuple[int, Sample]] | Literal["abort", "close"]
Opening = tuple[EngineSpec, frozenset[int]]
"""The first message: what to open, and the ids that end a turn. The reply is the copy's capacity, or what is wrong."""
Outcomes = list[tuple[int, Outcome]]


def main() -> None:
    """Serve the pipe of the command line until it is closed."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the stage, which gets it too, decides what is to be done
    connection: Connection[Outcomes | int | str, Opening | Order] = Connection(int(sys.argv[1]))
    orders: SimpleQueue[Order] = SimpleQueue()
    opening = connection.recv()
    assert isinstance(opening, tuple)
    Thread(target=_receive, args=(connection, orders), daemon=True).start()
    try:
        _serve(connection, opening, orders)
    except StageFailure as failure:
        connection.send(str(failure))


def _receive(connection: Connection, orders: SimpleQueue[Order]) -> None:
    while True:
        try:
            orders.put(connection.recv())
        except (EOFError, ConnectionError):
            os.killpg(0, signal.SIGKILL)


def _serve(connection: Connection, opening: Opening, orders: SimpleQueue[Order]) -> None:
    core = open_core(*opening)
    connection.send(core.capacity)
    while True:
        finished: Outcomes = []
        while not (core.busy or finished) or not orders.empty():
            order = orders.get()
            if order == "close":
                core.shut_down()
                os._exit(0)  # tidying up, as an interpreter does at its end, takes vLLM seconds
            if order == "abort":
                core.abort()
            else:
                refusals = [(number, core.add(number, sample)) for number, sample in order]
                finished += [(number, why) for number, why in refusals if why is not None]
        if core.busy:
            finished += core.step()
        if finished:
            connection.send(finished)


if __name__ == "__main__":
    main()
