"""Several copies of a model that share one queue of samples, each in a process of its own on GPUs of its own.

vLLM 0.32 has no data parallelism within one offline process, and its way over several splits the requests before they
start. Here each copy is given as many samples as it works on at a time, the longest first, and the next one when one
is done, so none waits while another has work left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from inference.engine import EngineSpec
from inference.samples import Sample
from inference.vllm_core import Outcome
from registry.errors import StageFailure, UsageError
from registry.stopping import StopFlag

_ROOT = Path(__file__).resolve().parents[1]
_AHEAD = 16  # samples that wait at a copy, so that it does not wait for us
_LOOK_SECONDS, _CLOSE_SECONDS = 1.0, 30.0


class Workers:
    """Opened copies; made by `open_workers`."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        self._workers = workers
        self._numbers = count()

    def run(self, samples: Sequence[Sample], stop: StopFlag) -> Iterator[tuple[Sample, Outcome]]:
        """See `inference.vllm_engine.Copies.run`. Raises `StageFailure` when a copy's process has died."""
        waiting = deque(samples)
        running: dict[int, tuple[_Worker, Sample]] = {}
        try:
            while waiting or running:
                stop.check("generation left off")
                self._hand_out(waiting, running)
                for worker in _with_mail(self._workers):
                    for number, outcome in worker.receive():
                        if number in running:  # else it was given up with an earlier call
                            worker.load -= 1
                            yield running.pop(number)[1], outcome
        finally:
            self._give_up(running)

    def _hand_out(self, waiting: deque[Sample], running: dict[int, tuple[_Worker, Sample]]) -> None:
        orders: dict[int, list[tuple[int, Sample]]] = {place: [] for place in range(len(self._workers))}
        while waiting:
            place = min(orders, key=lambda place: self._workers[place].load)
            worker = self._workers[place]
            if worker.load >= worker.capacity + _AHEAD:
                break
            number, sample = next(self._numbers), waiting.popleft()
            worker.load += 1
            running[number] = (worker, sample)
            orders[place].append((number, sample))
        for place, order in orders.items():
            if order:
                self._workers[place].send(order)

    def _give_up(self, running: dict[int, tuple[_Worker, Sample]]) -> None:
        for worker in {worker for worker, _ in running.values()}:
            worker.load = 0
            with contextlib.suppress(StageFailure):  # one that has died has nothing left to do
                worker.send("abort")

    def close(self) -> None:
        """Give all memory back: every process is gone afterwards."""
        for worker in self._workers:
            with contextlib.suppress(StageFailure):
                worker.send("close")
        for worker in self._workers:
            worker.end(_CLOSE_SECONDS)
            worker.pipe.close()


class _Worker:
    """One copy's process, its pipe, and what it writes to stderr. `load` is how many samples it has."""

    def __init__(self, name: str, devices: str) -> None:
        self.name = name
        self.capacity = self.load = 0
        self.pipe: Connection[Any, Any]
        self.pipe, theirs = Pipe()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it is read when the process has died
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        visible = {"CUDA_VISIBLE_DEVICES": devices} if devices else {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "inference.vllm_worker", str(theirs.fileno())],
                env={**os.environ, **visible, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def send(self, message: Any) -> None:
        """Raises `StageFailure` when the process has died."""
        try:
            self.pipe.send(message)
        except ConnectionError:
            raise self.death() from None

    def receive(self) -> Any:
        """The next message. Raises `StageFailure` when the process has died."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            raise self.death() from None

    def has_died(self) -> bool:
        return self._process.poll() is not None

    def death(self) -> StageFailure:
        self.end(_LOOK_SECONDS)
        size = os.fstat(self._said.fileno()).st_size
        said = os.pread(self._said.fileno(), 4000, max(size - 4000, 0)).decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
        return StageFailure(
            f"{self.name} ended with code {self._process.returncode}: {last}; run the stage again to ask for the rest"
        )

    def end(self, patience: float) -> None:
        """Wait so many seconds, then end the process; its own children go with it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _with_mail(workers: Sequence[_Worker]) -> Iterator[_Worker]:
    """The workers that have sent something, waiting a moment for one."""
    ready = wait([worker.pipe for worker in workers], _LOOK_SECONDS)
    for worker in workers:
        if worker.pipe in ready:
            yield worker
        elif worker.has_died():  # a child of its own may hold the pipe open
            raise worker.death()


def copies_of(spec: EngineSpec, gpus: int) -> int:
    """How many copies to open where so many GPUs are visible; on a CPU as many as are asked for, else one.

    Raises `UsageError` when they do not fit.
    """
    copies = spec.data_parallel or max(gpus // spec.tensor_parallel, 1)
    needed = copies * spec.tensor_parallel
    if needed > gpus and (gpus or spec.tensor_parallel > 1):
        raise UsageError(
            f"data_parallel {copies} times tensor_parallel {spec.tensor_parallel} needs {needed} GPUs, {gpus} are "
            "visible here; lower them, or ask Slurm for the GPUs"
        )
    return copies


def devices_of(copies: int, tensor_parallel: int, gpus: int) -> list[str]:
    """What each copy is to see, as `CUDA_VISIBLE_DEVICES` says it; "" on a CPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(str(gpu) for gpu in range(gpus))
    devices = visible.split(",")[:gpus]
    return [",".join(devices[n * tensor_parallel : (n + 1) * tensor_parallel]) for n in range(copies)]


def open_workers(spec: EngineSpec, stop_ids: frozenset[int], copies: int, gpus: int) -> Workers:
    """Open so many copies at once. Raises `StageFailure`, with every process ended, when one cannot be opened."""
    with contextlib.ExitStack() as unless_opened:
        workers: list[_Worker] = []
        for number, devices in enumerate(devices_of(copies, spec.tensor_parallel, gpus), start=1):
            on = f"GPU {devices}" if devices else "the CPU"
            workers.append(_Worker(f"copy {number} of {copies} of the model, on {on},", devices))
            unless_opened.callback(workers[-1].end, 0.0)
        for worker in workers:
            worker.send((spec, stop_ids))
        for worker in workers:
            reply = worker.receive()
            if isinstance(reply, str):
                raise StageFailure(reply)
            worker.capacity = reply
        unless_opened.pop_all()
    return Workers(workers)
