"""The engine for work that can wait: requests go to the vendor as batch jobs, at half the price and within a day.

What is under way stands in a folder of the run (`inference.batch_records`), so that a process which is stopped or
killed pays nothing twice: the next attempt finds the jobs at the vendor and waits for them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from inference.batch_records import Record, clear, new_record, records, write
from inference.batch_service import BatchService, JobState, Passing, Unanswered
from inference.engine import EngineSpec, Gate, Generation, Known, Request, Sampling
from inference.samples import failure
from inference.served_wire import Task, tasks
from registry.errors import Meds1Error, StageFailure, UsageError
from registry.fields import EngineName
from registry.stopping import StopFlag

log = logging.getLogger(__name__)
T = TypeVar("T")

_TICK_S = 0.5
_SAY_S = 30.0
_LONGEST_WAIT_S = 60.0
# Waits of 1, 2, 4 … 60 s: an outage of 25 minutes costs nothing.
_TRIES = 30
_TURNS = 3
_LACKING = Unanswered("the batch ended without an answer", again=True)


@dataclass(frozen=True, slots=True)
class _Harvest:
    """What a job brought: generations, the ids to send again and those refused for good, and what ends the stage."""

    generations: list[Generation] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    ends: list[Meds1Error] = field(default_factory=list)


class BatchEngine:
    """An opened engine; made by `open_batch`. One process at a time may use a folder."""

    def __init__(self, service: BatchService, folder: Path) -> None:
        self.name: EngineName = service.name
        self._service = service
        self._folder = folder
        self._counts: dict[str, JobState] = {}
        self._said = 0.0

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        stop: StopFlag | None = None,
        known: Known | None = None,
        gate: Gate | None = None,
    ) -> Iterator[Generation]:
        """See `inference.engine.Engine.generate`; raises `UsageError` for an answer in several rounds.

        No gate is asked for single requests: whether a batch may be paid for is known before all of it is sent.
        Raises `MissingError` when key or model are not there, `StageFailure` for a job that failed or was cancelled.
        """
        in_rounds = sampling.stop_text is not None or sampling.turn_tokens is not None
        if in_rounds or any(request.continuation for request in requests):
            raise UsageError(f"{self._service} cannot go on with an answer that has begun; use vllm or transformers")
        wanted = {_custom_id(task): task for task in tasks(requests, sampling)}
        if len(wanted) != sum(len(request.indices(sampling)) for request in requests):
            raise ValueError("two requests share an id")
        if known is not None:
            yield from _known(wanted, known)
        yield from self._answers(wanted, stop or StopFlag())

    def close(self) -> None:
        """See `inference.engine.Engine.close`; jobs go on at the vendor."""
        self._service.close()

    def _answers(self, wanted: dict[str, Task], stop: StopFlag) -> Iterator[Generation]:
        under_way = self._resumed(wanted, stop)
        covered = {custom_id for record in under_way for custom_id in record.ids}
        under_way += self._sent([custom_id for custom_id in wanted if custom_id not in covered], 1, wanted, stop)
        held_back: list[Record] = []
        alone: set[str] = set()
        while under_way:
            record, state = self._first_ended(under_way, stop)
            under_way.remove(record)
            if state.phase == "full" and record.tag not in alone:
                clear(self._folder, record)
                held_back.append(record)
                if not under_way:  # those that took the room have ended since: a batch that is alone must fit
                    waited = held_back.pop(0)
                    under_way += self._sent(waited.ids, waited.turn, wanted, stop)
                    alone.update(one.tag for one in under_way)
                continue
            harvest = self._harvest(record, state, wanted, stop)
            yield from harvest.generations
            if not harvest.ends:
                under_way += self._sent(harvest.again, record.turn + 1, wanted, stop)
            clear(self._folder, record, harvest.refused)  # refused again by a later attempt without another job
            for error in harvest.ends:
                raise error
            for waited in held_back:
                under_way += self._sent(waited.ids, waited.turn, wanted, stop)
            held_back.clear()

    def _resumed(self, wanted: Mapping[str, Task], stop: StopFlag) -> list[Record]:
        """The batches of earlier attempts that cover wanted requests, each with those that no later turn has."""
        covered: set[str] = set()
        found = []
        for record in records(self._folder):
            mine = [custom_id for custom_id in record.ids if custom_id in wanted]
            ids = tuple(custom_id for custom_id in mine if custom_id not in covered)
            covered.update(ids)
            if ids:
                found.append(self._created(replace(record, ids=ids), wanted, stop, sent=True))
            elif mine:
                clear(self._folder, record)
        return found

    def _sent(self, ids: Sequence[str], turn: int, wanted: Mapping[str, Task], stop: StopFlag) -> list[Record]:
        sent = []
        for part in self._parts(ids, wanted):
            stop.check("the batches were not all sent")
            record = new_record(part, turn)
            write(self._folder, record)
            sent.append(self._created(record, wanted, stop, sent=False))
        return sent

    def _parts(self, ids: Sequence[str], wanted: Mapping[str, Task]) -> Iterator[list[str]]:
        """The ids in as many parts as the vendor's limits ask for."""
        part: list[str] = []
        size = 0
        for custom_id in ids:
            more = len(self._service.line(custom_id, wanted[custom_id]))
            if part and (len(part) == self._service.most_requests or size + more > self._service.most_bytes):
                yield part
                part, size = [], 0
            part.append(custom_id)
            size += more
        if part:
            yield part

    def _created(self, record: Record, wanted: Mapping[str, Task], stop: StopFlag, sent: bool) -> Record:
        """The record with the id of its job, which may be there already if it was `sent` before."""
        if record.job is not None:
            log.info("%s: batch %s of an earlier attempt is waited for", self._service, record.job)
            return record

        def create() -> str:
            nonlocal sent
            known = self._service.find(record.tag, record.created) if sent else None
            sent = True
            return known or self._service.submit(record.tag, [self._service.line(i, wanted[i]) for i in record.ids])

        created = replace(record, job=self._patiently(create, stop))
        write(self._folder, created)
        log.info("%s: batch %s of %d requests is under way", self._service, created.job, len(created.ids))
        return created

    def _first_ended(self, under_way: Sequence[Record], stop: StopFlag) -> tuple[Record, JobState]:
        """The first batch that is found to run no more. Jobs are looked at less often as they get older."""
        due = {record.tag: 0.0 for record in under_way}
        while True:
            record = min(under_way, key=lambda one: due[one.tag])
            self._sleep(due[record.tag] - time.monotonic(), stop)
            state = self._counts[record.tag] = self._patiently(partial(self._service.look, str(record.job)), stop)
            self._say(under_way)
            if state.phase != "running":
                return record, state
            age = time.time() - record.created
            due[record.tag] = time.monotonic() + min(max(1.0, age / 10), _LONGEST_WAIT_S)

    def _harvest(self, record: Record, state: JobState, wanted: Mapping[str, Task], stop: StopFlag) -> _Harvest:
        mine = {custom_id: wanted[custom_id] for custom_id in record.ids}
        results = self._patiently(lambda: dict(self._service.results(str(record.job), mine)), stop)
        harvest = _Harvest()
        last_turn = state.phase == "ended" and record.turn == _TURNS
        for custom_id, task in mine.items():
            result = results.get(custom_id, _LACKING)
            if isinstance(result, Generation):
                harvest.generations.append(result)
            elif result.ends is not None:
                harvest.ends[:] = [result.ends]
            elif result.again and not last_turn:
                harvest.again.append(custom_id)
            else:
                harvest.generations.append(failure(task.request, task.index, 0, result.text))
                if not result.again:
                    harvest.refused.append(custom_id)
        if state.phase != "ended" and harvest.again and not harvest.ends:
            rest = f"{len(harvest.again)} requests without an answer are sent again when the stage is run again"
            harvest.ends.append(StageFailure(f"{self._service}: batch {record.job} failed: {state.text}; {rest}"))
        return harvest

    def _patiently(self, call: Callable[[], T], stop: StopFlag) -> T:
        """What `call` returns, tried again while its fault passes."""
        for tried in range(_TRIES):
            try:
                return call()
            except Passing as fault:
                last = fault
                log.info("%s: %s; tried again", self._service, fault)
                self._sleep(fault.wait or min(2.0**tried, _LONGEST_WAIT_S), stop)
        raise StageFailure(
            f"{self._service}: {_TRIES} calls in a row failed, the last with {last}; what was sent goes on there: "
            "run the stage again when the server works"
        )

    def _sleep(self, seconds: float, stop: StopFlag) -> None:
        end = time.monotonic() + seconds
        while True:
            stop.check(f"left while batches go on at {self._service}: the next attempt waits for them")
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _TICK_S))

    def _say(self, under_way: Sequence[Record]) -> None:
        """Tell the vendor's counts now and then, on stderr as every engine's progress."""
        states = [self._counts.get(record.tag, JobState("running")) for record in under_way]
        now, running = time.monotonic(), any(state.phase == "running" for state in states)
        if running and self._said and now - self._said < _SAY_S:
            return
        self._said = now
        done, total = sum(state.done for state in states), sum(len(record.ids) for record in under_way)
        batches = "1 batch" if len(under_way) == 1 else f"{len(under_way)} batches"
        line = f"{self.name}: {done:,} of {total:,} answers in {batches} at {self._service}"
        print(line, file=sys.stderr, flush=True)


def open_batch(spec: EngineSpec) -> BatchEngine:
    """Open the vendor's batch API for `spec.model`; nothing is sent before a generation is asked for.

    Raises `UsageError` for a model that no vendor serves, `MissingError` without a key.
    """
    assert spec.batch is not None
    if spec.name == "openai":
        from inference.batch_openai import open_openai_batch

        return BatchEngine(open_openai_batch(spec), spec.batch)
    if spec.name == "vertex":
        from inference.batch_vertex import open_vertex_batch

        return BatchEngine(open_vertex_batch(spec), spec.batch)
    raise UsageError(f"the engine {spec.name} has no batch API; remove batch, or use openai or vertex")


def _known(wanted: dict[str, Task], known: Known) -> Iterator[Generation]:
    """Take out of `wanted` what is known already."""
    for custom_id, task in list(wanted.items()):
        found = known(task.request, task.index)
        if isinstance(found, Generation):
            del wanted[custom_id]
            yield found


def _custom_id(task: Task) -> str:
    """The same for the same request, whichever attempt sends it."""
    asked = [task.request.id, task.index, list(task.request.messages), task.request.schema]
    how = {name: value for name, value in asdict(task.sampling).items() if name != "n"}
    return hashlib.sha256(json.dumps([*asked, how], sort_keys=True).encode()).hexdigest()[:32]
